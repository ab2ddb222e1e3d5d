using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Shop;

/// <summary>Calls WeChat with the access_token of the mounted file. A program needs one of it: AddSingleton.</summary>
public sealed class WeChat(string name, string folder = "/etc/wechat", string url = "https://api.weixin.qq.com")
{
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private readonly HttpClient http = new() { Timeout = TimeSpan.FromSeconds(10) };
    private readonly SemaphoreSlim turn = new(1);
    private string? reported;

    /// <summary>Returns WeChat's answer to GET path, or to POST path with a body that becomes JSON.</summary>
    public async Task<JsonNode> CallAsync(string path, object? body = null)
    {
        var token = await TokenAsync();
        var answer = await SendAsync(path, body, token);
        if ((int?)answer["errcode"] is 40001 or 40014 or 42001)
        {
            var newer = await TokenAsync();
            if (newer != token) return await SendAsync(path, body, newer);
            await ReportAsync(token);
        }
        return answer;
    }

    /// <summary>Reads the file each time: it changes while the program runs.</summary>
    public async Task<string> TokenAsync() => (await File.ReadAllTextAsync(Path.Combine(folder, "access_token"))).Trim();

    private async Task ReportAsync(string token)
    {
        if (!await turn.WaitAsync(0)) return; // another call reports
        try
        {
            if (reported == token) return; // once
            await InvalidToken.ReportAsync(name, token);
            reported = token;
        }
        finally { turn.Release(); }
    }

    private async Task<JsonNode> SendAsync(string path, object? body, string token)
    {
        var query = (path.Contains('?') ? "&" : "?") + "access_token=" + Uri.EscapeDataString(token);
        using var request = new HttpRequestMessage(body is null ? HttpMethod.Get : HttpMethod.Post, url + path + query);
        if (body is not null) // no JsonContent: it sends chunks, without Content-Length
            request.Content = new StringContent(JsonSerializer.Serialize(body, Plain), Encoding.UTF8, "application/json");
        using var answer = await http.SendAsync(request);
        if (!answer.IsSuccessStatusCode) throw new HttpRequestException($"WeChat says: {(int)answer.StatusCode}");
        return JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;
    }
}
