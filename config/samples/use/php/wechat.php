<?php
declare(strict_types=1);

require_once __DIR__ . '/report.php';

/** Calls WeChat with the access_token of the mounted file. */
final class WeChat
{
    public function __construct(
        private string $name, // of the WeChatToken
        private string $folder = '/etc/wechat',
        private string $url = 'https://api.weixin.qq.com',
    ) {}

    /** Returns WeChat's answer to GET $path, or to POST $path with a body that becomes JSON. */
    public function call(string $path, ?array $body = null): array
    {
        $token = $this->token();
        $answer = $this->send($path, $body, $token);
        if (in_array($answer['errcode'] ?? 0, [40001, 40014, 42001], true)) {
            $newer = $this->token();
            if ($newer !== $token) {
                return $this->send($path, $body, $newer);
            }
            $this->report($token);
        }
        return $answer;
    }

    /** Reads the file each time: it changes while the program runs. */
    private function token(): string
    {
        clearstatcache(true); // else PHP remembers for 2 minutes where the link leads
        $token = @file_get_contents("$this->folder/access_token");
        return $token === false ? throw new RuntimeException("cannot read $this->folder/access_token") : trim($token);
    }

    /** Reports a token once. PHP forgets everything at the end of a request, so a file remembers it. */
    private function report(#[\SensitiveParameter] string $token): void
    {
        $mark = sys_get_temp_dir() . '/wechat-reported-' . substr(hash('sha256', $token), 0, 16);
        if (!file_exists($mark)) {
            reportInvalidToken($this->name, $token);
            @touch($mark);
        }
    }

    private function send(string $path, ?array $body, #[\SensitiveParameter] string $token): array
    {
        $query = (str_contains($path, '?') ? '&' : '?') . http_build_query(['access_token' => $token]);
        $curl = curl_init($this->url . $path . $query);
        curl_setopt_array($curl, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 10]
            + ($body === null ? [] : [
                CURLOPT_POSTFIELDS => json_encode($body, JSON_UNESCAPED_UNICODE),
                CURLOPT_HTTPHEADER => ['Content-Type: application/json'],
            ]));
        $said = curl_exec($curl);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if ($said === false || $status !== 200) {
            throw new RuntimeException('WeChat says: ' . ($status ?: curl_error($curl))); // a proxy's page may quote the URL
        }
        return json_decode($said, true, flags: JSON_THROW_ON_ERROR);
    }
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) { // makes one call for each line on stdin, with the line as the body
    $weChat = new WeChat(getenv('WECHATTOKEN'), getenv('WECHAT_FOLDER') ?: '/etc/wechat',
        getenv('WECHAT_URL') ?: 'https://api.weixin.qq.com');
    try {
        while (($line = fgets(STDIN)) !== false) {
            echo json_encode($weChat->call('/cgi-bin/getcallbackip', json_decode($line, true))), "\n";
        }
    } catch (JsonException | RuntimeException $e) {
        fwrite(STDERR, $e->getMessage() . "\n");
        exit(1);
    }
}
