import { readFileSync } from "node:fs";
import { reportInvalidToken } from "./report.mjs";

const { WECHATTOKEN, WECHAT_FOLDER = "/etc/wechat", WECHAT_URL = "https://api.weixin.qq.com" } = process.env;

// Returns WeChat's answer to GET path, or to POST path with a body that becomes JSON.
export const call = async (path, body) => {
  const token = accessToken();
  const answer = await send(path, body, token);
  if (![40001, 40014, 42001].includes(answer.errcode)) return answer;
  const newer = accessToken();
  if (newer !== token) return send(path, body, newer);
  await report(token);
  return answer;
};

// Reads the file each time: it changes while the program runs. It is in memory, so this blocks nothing.
const accessToken = () => readFileSync(`${WECHAT_FOLDER}/access_token`, "utf8").trim();

// Reports a token once, however many calls wait for that.
let reported = {};
const report = (token) => {
  if (reported.token !== token) {
    reported = { token, done: reportInvalidToken(WECHATTOKEN, token) };
    reported.done.catch(() => { reported = {}; });
  }
  return reported.done;
};

const send = async (path, body, token) => {
  const url = new URL(WECHAT_URL + path); // that of an error has no token in it
  url.searchParams.set("access_token", token);
  const post = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(url, { ...post, signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`WeChat says: ${answer.status}`);
  return answer.json();
};

if (import.meta.url === `file://${process.argv[1]}`) { // makes one call for each line on stdin, with the line as the body
  const { createInterface } = await import("node:readline");
  try {
    for await (const line of createInterface({ input: process.stdin })) {
      console.log(JSON.stringify(await call("/cgi-bin/getcallbackip", line && JSON.parse(line))));
    }
  } catch (e) {
    console.error(e.message, e.cause?.message ?? "");
    process.exit(1);
  }
}
