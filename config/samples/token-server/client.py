import hashlib, http.client, json, os, pathlib, re, ssl, threading, time
from urllib import error, parse, request

class WeChat:
    """Calls WeChat with the access_token that the token server has."""

    def __init__(self):
        self.lock, self.token, self.fresh, self.expires = threading.Lock(), None, 0, 0

    def call(self, path):
        """Returns the answer to GET path; for a token that WeChat refuses, that with the next one."""
        token = self.access_token()
        answer = self.get(path, token)
        if answer.get("errcode") in (40001, 40014, 42001):
            answer = self.get(path, self.access_token(refused=token))
        return answer

    def access_token(self, refused=None):
        """Returns the token to use now, and reports the one that WeChat refused."""
        with self.lock:
            if self.token == refused or time.monotonic() >= self.fresh:
                self.ask(refused)
            return self.token

    def ask(self, refused):
        asked = time.monotonic()
        namespace, name = os.environ["WECHATTOKEN"].split("/")
        url = f"{os.environ['TOKEN_SERVER']}/v1/namespaces/{namespace}/wechattokens/{name}/"
        read = lambda file: pathlib.Path(os.environ[file]).read_text()  # each time: they get replaced
        credential = "".join(read("CREDENTIAL_FILE").split())
        headers = {"Authorization": "Bearer " + credential, "Content-Type": "application/json"}
        ask = request.Request(url + "token", headers=headers)
        if refused:
            report = {"fingerprint": hashlib.sha256(refused.encode()).hexdigest()[:16]}
            ask = request.Request(url + "invalid?wait=30s", json.dumps(report).encode(), headers)
        trust = ssl.create_default_context(cadata=read("CA_FILE"))
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as Python before 3.13: many authorities lack key identifiers
        try:
            with request.urlopen(ask, timeout=40 if refused else 6, context=trust) as answer:
                if answer.status == 202:
                    return self.ask(None)
                said, max_age = json.load(answer), re.search(r"max-age=(\d+)", answer.headers["Cache-Control"])
            self.token = said["access_token"]
            self.fresh, self.expires = asked + int(max_age[1]), asked + said["expires_in"]
        except (OSError, http.client.HTTPException) as e:
            refusal = isinstance(e, error.HTTPError)
            if refusal and e.code != 429 and e.code < 500 or time.monotonic() >= self.expires:
                reason = f"says: {e.code} {e.read().decode()}" if refusal else f"does not answer: {e}"
                raise RuntimeError("The token server " + reason) from None
            self.fresh = time.monotonic() + 5  # the token that is there is good

    @staticmethod
    def get(path, token):
        try:
            url = os.getenv("WECHAT_URL", "https://api.weixin.qq.com") + path + ("&" if "?" in path else "?")
            with request.urlopen(url + parse.urlencode({"access_token": token}), timeout=10) as answer:
                return json.load(answer)
        except (OSError, ValueError, http.client.HTTPException) as e:  # some quote the URL, with the token in it
            reason = getattr(e, "code", getattr(e, "reason", type(e).__name__))
            raise RuntimeError(f"WeChat says: {reason}") from None

if __name__ == "__main__":  # makes one call for each line on stdin
    import sys
    wechat = WeChat()
    try:
        for _ in sys.stdin:
            print(json.dumps(wechat.call("/cgi-bin/getcallbackip")), flush=True)
    except (OSError, RuntimeError) as e:
        sys.exit(str(e))
