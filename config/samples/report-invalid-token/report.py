import hashlib, json, os, pathlib, ssl, time
from urllib import error, request

def report_invalid_token(name, token):
    """Reports to the WeChatToken called name that WeChat refused token."""
    folder = pathlib.Path(os.getenv("SERVICEACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount"))
    read = lambda file: (folder / file).read_text().strip()  # each time: Kubernetes replaces them
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    fingerprint = hashlib.sha256(token.encode()).hexdigest()[:16]
    report = {"wechattoken.io/invalid-token": fingerprint + time.strftime("@%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    patch = request.Request(
        f"https://{host}:{port}/apis/wechattoken.io/v1alpha1/namespaces/{read('namespace')}/wechattokens/{name}",
        json.dumps({"metadata": {"annotations": report}}).encode(), method="PATCH",
        headers={"Authorization": "Bearer " + read("token"), "Content-Type": "application/merge-patch+json"})
    trust = ssl.create_default_context(cadata=read("ca.crt"))
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as Python before 3.13: the authority of EKS has no key identifiers
    https = request.HTTPSHandler(context=trust)
    try:
        request.build_opener(request.ProxyHandler({}), https).open(patch, timeout=10).close()
    except error.HTTPError as refusal:
        raise RuntimeError(f"The report failed: {refusal.code} {refusal.read().decode()}") from None

if __name__ == "__main__":  # python3 report.py NAME-OF-THE-WECHATTOKEN <FILE-WITH-THE-TOKEN
    import sys
    try:
        report_invalid_token(sys.argv[1], sys.stdin.read().strip())
    except (OSError, RuntimeError) as e:
        sys.exit(str(e))
