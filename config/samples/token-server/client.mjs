import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:https"; // the built-in fetch takes no authority of one's own
import { text } from "node:stream/consumers";

const { TOKEN_SERVER, WECHATTOKEN, CREDENTIAL_FILE, CA_FILE, WECHAT_URL = "https://api.weixin.qq.com" } = process.env;
let token, fresh = 0, expires = 0, turn = Promise.resolve(); // fresh: until when to use the token without asking

// Returns WeChat's answer to GET path; when WeChat refuses the token, the answer with the next one.
export const call = async (path) => {
  const used = await accessToken();
  const answer = await get(path, used);
  return [40001, 40014, 42001].includes(answer.errcode) ? get(path, await accessToken(used)) : answer;
};

// Returns the token to use now, and reports the one that WeChat refused. Calls take turns, so that one asks for all.
const accessToken = (refused) => {
  const mine = turn.then(() => (token === refused || performance.now() >= fresh) && ask(refused)).then(() => token);
  turn = mine.catch(() => {});
  return mine;
};

const ask = async (refused) => {
  const asked = performance.now();
  const [namespace, name] = WECHATTOKEN.split("/");
  const url = `${TOKEN_SERVER}/v1/namespaces/${namespace}/wechattokens/${name}/${refused ? "invalid?wait=30s" : "token"}`;
  const credential = readFileSync(CREDENTIAL_FILE, "utf8").replace(/\s/g, ""); // each time: it gets replaced
  const options = {
    method: refused ? "POST" : "GET", ca: readFileSync(CA_FILE), signal: AbortSignal.timeout(refused ? 40_000 : 6_000),
    headers: { Authorization: `Bearer ${credential}`, "Content-Type": "application/json" },
  };
  const report = refused && JSON.stringify({ fingerprint: createHash("sha256").update(refused).digest("hex").slice(0, 16) });
  const { status, headers, said } = await new Promise((resolve) => {
    const nothing = (e) => resolve({ status: "nothing", said: e.message });
    request(url, options, (answer) => text(answer).then((said) =>
      resolve({ status: answer.statusCode, headers: answer.headers, said }), nothing)).on("error", nothing).end(report);
  });
  if (status === 202) return ask();
  if (status === 200) {
    const answer = JSON.parse(said);
    token = answer.access_token;
    fresh = asked + 1000 * /max-age=(\d+)/.exec(headers["cache-control"])[1];
    expires = asked + 1000 * answer.expires_in;
  } else if ((["nothing", 429].includes(status) || status >= 500) && performance.now() < expires) {
    fresh = performance.now() + 5000; // the token that is there is good
  } else throw new Error(`The token server says: ${status} ${said}`);
};

const get = async (path, token) => {
  const url = new URL(WECHAT_URL + path); // that of an error has no token in it
  url.searchParams.set("access_token", token);
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`WeChat says: ${answer.status}`);
  return answer.json();
};

if (import.meta.url === `file://${process.argv[1]}`) { // makes one call for each line on stdin
  const { createInterface } = await import("node:readline");
  try {
    for await (const _ of createInterface({ input: process.stdin })) console.log(JSON.stringify(await call("/cgi-bin/getcallbackip")));
  } catch (e) {
    console.error(e.message, e.cause?.message ?? "");
    process.exit(1);
  }
}
