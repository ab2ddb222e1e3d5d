import http.client, json, os, pathlib, threading
from urllib import parse, request

from report import report_invalid_token

class WeChat:
    """Calls WeChat with the access_token of the mounted file."""

    def __init__(self, name, folder="/etc/wechat", url="https://api.weixin.qq.com"):
        self.name, self.file, self.url = name, pathlib.Path(folder) / "access_token", url
        self.lock, self.reported = threading.Lock(), None

    def call(self, path, body=None):
        """Returns WeChat's answer to GET path, or to POST path with a body that becomes JSON."""
        token = self.token()
        answer = self.send(path, body, token)
        if answer.get("errcode") in (40001, 40014, 42001):
            newer = self.token()
            if newer != token:
                return self.send(path, body, newer)
            self.report(token)
        return answer

    def token(self):
        return self.file.read_text().strip()  # each time: it changes while the program runs

    def report(self, token):
        if not self.lock.acquire(blocking=False):
            return  # another call reports
        try:
            if self.reported != token:  # once
                report_invalid_token(self.name, token)
                self.reported = token
        finally:
            self.lock.release()

    def send(self, path, body, token):
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        url = self.url + path + ("&" if "?" in path else "?") + parse.urlencode({"access_token": token})
        try:
            ask = request.Request(url, data, {"Content-Type": "application/json"})
            with request.urlopen(ask, timeout=10) as answer:
                return json.load(answer)
        except (OSError, ValueError, http.client.HTTPException) as e:  # some quote the URL, with the token in it
            reason = getattr(e, "code", getattr(e, "reason", type(e).__name__))
            raise RuntimeError(f"WeChat says: {reason}") from None

if __name__ == "__main__":  # makes one call for each line on stdin, with the line as the body, if there is one
    import sys
    wechat = WeChat(os.environ["WECHATTOKEN"], os.getenv("WECHAT_FOLDER", "/etc/wechat"),
                    os.getenv("WECHAT_URL", "https://api.weixin.qq.com"))
    try:
        for line in sys.stdin:
            print(json.dumps(wechat.call("/cgi-bin/getcallbackip", json.loads(line) if line.strip() else None)), flush=True)
    except (OSError, RuntimeError) as e:
        sys.exit(str(e))
