import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:https"; // the built-in fetch takes no authority of one's own
import { text } from "node:stream/consumers";

// Reports to the WeChatToken called name that WeChat refused token.
export const reportInvalidToken = (name, token) => new Promise((resolve, reject) => {
  const dir = process.env.SERVICEACCOUNT_DIR ?? "/var/run/secrets/kubernetes.io/serviceaccount";
  const read = (file) => readFileSync(`${dir}/${file}`, "utf8").trim(); // each time: Kubernetes replaces them
  const fingerprint = createHash("sha256").update(token).digest("hex").slice(0, 16);
  const report = { "wechattoken.io/invalid-token": `${fingerprint}@${new Date().toISOString()}` };
  request({
    method: "PATCH", host: process.env.KUBERNETES_SERVICE_HOST, port: process.env.KUBERNETES_SERVICE_PORT,
    path: `/apis/wechattoken.io/v1alpha1/namespaces/${read("namespace")}/wechattokens/${name}`,
    headers: { Authorization: `Bearer ${read("token")}`, "Content-Type": "application/merge-patch+json" },
    ca: read("ca.crt"), signal: AbortSignal.timeout(10_000),
  }, (answer) => text(answer).then((said) => answer.statusCode === 200 ? resolve()
    : reject(new Error(`The report failed: ${answer.statusCode} ${said}`)), reject)).on("error", reject)
    .end(JSON.stringify({ metadata: { annotations: report } }));
});

if (import.meta.url === `file://${process.argv[1]}`) { // node report.mjs NAME-OF-THE-WECHATTOKEN <FILE-WITH-THE-TOKEN
  reportInvalidToken(process.argv[2], readFileSync(0, "utf8").trim()).catch((e) => {
    console.error(e.message);
    process.exitCode = 1;
  });
}
