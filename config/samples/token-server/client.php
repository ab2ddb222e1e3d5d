<?php
declare(strict_types=1);

/** Calls WeChat with the access_token that the token server has. */
final class WeChat
{
    /** Returns the answer to GET $path; when WeChat refuses the token, the answer with the next one. */
    public static function call(string $path): array
    {
        $token = self::accessToken();
        $answer = self::get($path, $token);
        if (in_array($answer['errcode'] ?? 0, [40001, 40014, 42001], true)) {
            $answer = self::get($path, self::accessToken(refused: $token));
        }
        return $answer;
    }

    /** Returns the token to use now, and reports the one that WeChat refused. A file keeps it from request to request. */
    private static function accessToken(#[\SensitiveParameter] ?string $refused = null): string
    {
        $cache = getenv('CACHE_FILE'); // in a folder that only the web server writes to
        $known = json_decode((string) @file_get_contents($cache), true) ?? ['token' => null, 'fresh' => 0, 'expires' => 0];
        if ($known['token'] === $refused || time() >= $known['fresh']) {
            $known = self::ask($known, $refused);
            $new = tempnam(dirname($cache), 'token'); // only its owner can read it
            file_put_contents($new, json_encode($known));
            if (!@rename($new, $cache)) {
                @unlink($new); // it may be in another folder
                throw new RuntimeException("Cannot write $cache");
            }
        }
        return $known['token'];
    }

    private static function ask(#[\SensitiveParameter] array $known, #[\SensitiveParameter] ?string $refused): array
    {
        $asked = time();
        [$namespace, $name] = explode('/', getenv('WECHATTOKEN'));
        $url = getenv('TOKEN_SERVER') . "/v1/namespaces/$namespace/wechattokens/$name/";
        $credential = preg_replace('/\s/', '', file_get_contents(getenv('CREDENTIAL_FILE'))); // each time: it gets replaced
        $options = [
            CURLOPT_HTTPHEADER => ["Authorization: Bearer $credential", 'Content-Type: application/json'],
            CURLOPT_PROTOCOLS => CURLPROTO_HTTPS, CURLOPT_CAINFO => getenv('CA_FILE'), CURLOPT_TIMEOUT => $refused === null ? 6 : 40,
        ];
        if ($refused !== null) {
            $report = json_encode(['fingerprint' => substr(hash('sha256', $refused), 0, 16)]);
            $options[CURLOPT_POSTFIELDS] = $report;
        }
        [$status, $head, $said] = self::curl($url . ($refused === null ? 'token' : 'invalid?wait=30s'), $options);
        if ($status === 202) {
            return self::ask($known, null);
        }
        if ($status === 200 && preg_match('/max-age=(\d+)/', $head, $maxAge)) {
            $body = json_decode($said, true, flags: JSON_THROW_ON_ERROR);
            return ['token' => $body['access_token'], 'fresh' => $asked + $maxAge[1], 'expires' => $asked + $body['expires_in']];
        }
        if ((in_array($status, [0, 429], true) || $status >= 500) && time() < $known['expires']) {
            return ['fresh' => time() + 5] + $known; // the token that is there is good
        }
        throw new RuntimeException("The token server says: $status $said");
    }

    private static function get(string $path, #[\SensitiveParameter] string $token): array
    {
        $query = (str_contains($path, '?') ? '&' : '?') . http_build_query(['access_token' => $token]);
        $url = (getenv('WECHAT_URL') ?: 'https://api.weixin.qq.com') . $path . $query;
        [$status, , $said] = self::curl($url, [CURLOPT_TIMEOUT => 10]);
        if ($status !== 200) {
            throw new RuntimeException('WeChat says: ' . ($status ?: $said)); // a proxy's page may quote the URL
        }
        return json_decode($said, true, flags: JSON_THROW_ON_ERROR);
    }

    /** Returns status, header and body; the status 0 and the reason when nobody answers. */
    private static function curl(#[\SensitiveParameter] string $url, #[\SensitiveParameter] array $options): array
    {
        $curl = curl_init($url);
        $head = '';
        curl_setopt_array($curl, $options + [
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_HEADERFUNCTION => function ($_, string $line) use (&$head): int {
                $head .= $line;
                return strlen($line);
            },
        ]);
        $said = curl_exec($curl);
        return $said === false ? [0, '', curl_error($curl)] : [curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $head, $said];
    }
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) { // makes one call for each line on stdin
    try {
        while (fgets(STDIN) !== false) {
            echo json_encode(WeChat::call('/cgi-bin/getcallbackip')), "\n";
        }
    } catch (JsonException | RuntimeException $e) {
        fwrite(STDERR, $e->getMessage() . "\n");
        exit(1);
    }
}
