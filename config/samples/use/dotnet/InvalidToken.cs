using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Shop;

/// <summary>Reports to a WeChatToken that WeChat refused its token.</summary>
public static class InvalidToken
{
    private static readonly string Folder = Environment.GetEnvironmentVariable("SERVICEACCOUNT_DIR")
        ?? "/var/run/secrets/kubernetes.io/serviceaccount";

    /// <summary>Reports to the WeChatToken called name that WeChat refused token.</summary>
    public static async Task ReportAsync(string name, string token)
    {
        var fingerprint = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(token)))[..16].ToLowerInvariant();
        var report = $"{fingerprint}@{DateTime.UtcNow:s}Z";
        var host = Environment.GetEnvironmentVariable("KUBERNETES_SERVICE_HOST")!;
        host = host.Contains(':') ? $"[{host}]" : host;
        var url = $"https://{host}:{Environment.GetEnvironmentVariable("KUBERNETES_SERVICE_PORT")}"
            + $"/apis/wechattoken.io/v1alpha1/namespaces/{await ReadAsync("namespace")}/wechattokens/{name}";
        using var request = new HttpRequestMessage(HttpMethod.Patch, url);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", await ReadAsync("token"));
        request.Content = new StringContent(
            "{\"metadata\":{\"annotations\":{\"wechattoken.io/invalid-token\":\"" + report + "\"}}}",
            Encoding.UTF8, "application/merge-patch+json");

        var chain = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust };
        chain.RevocationMode = X509RevocationMode.NoCheck;
        chain.CustomTrustStore.ImportFromPem(await ReadAsync("ca.crt"));
        using var handler = new SocketsHttpHandler { UseProxy = false };
        handler.SslOptions.CertificateChainPolicy = chain;
        using var http = new HttpClient(handler) { Timeout = TimeSpan.FromSeconds(10) };
        using var answer = await http.SendAsync(request);
        var said = await answer.Content.ReadAsStringAsync();
        if (!answer.IsSuccessStatusCode) throw new HttpRequestException($"The report failed: {(int)answer.StatusCode} {said}");
    }

    // Each time: Kubernetes replaces them.
    private static async Task<string> ReadAsync(string file) => (await File.ReadAllTextAsync(Path.Combine(Folder, file))).Trim();
}
