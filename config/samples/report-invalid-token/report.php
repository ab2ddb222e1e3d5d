<?php
declare(strict_types=1);

/** Reports to the WeChatToken called $name that WeChat refused $token. */
function reportInvalidToken(string $name, #[\SensitiveParameter] string $token): void
{
    $folder = getenv('SERVICEACCOUNT_DIR') ?: '/var/run/secrets/kubernetes.io/serviceaccount';
    $read = function (string $file) use ($folder): string { // each time: Kubernetes replaces them
        $text = @file_get_contents("$folder/$file");
        return $text === false ? throw new RuntimeException("cannot read $folder/$file") : trim($text);
    };
    $host = getenv('KUBERNETES_SERVICE_HOST');
    $host = str_contains($host, ':') ? "[$host]" : $host;
    $report = substr(hash('sha256', $token), 0, 16) . '@' . gmdate('Y-m-d\TH:i:s\Z');
    $curl = curl_init("https://$host:" . getenv('KUBERNETES_SERVICE_PORT')
        . "/apis/wechattoken.io/v1alpha1/namespaces/{$read('namespace')}/wechattokens/$name");
    curl_setopt_array($curl, [
        CURLOPT_CUSTOMREQUEST => 'PATCH', CURLOPT_CAINFO => "$folder/ca.crt", CURLOPT_NOPROXY => '*',
        CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 10, CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_1_1,
        CURLOPT_HTTPHEADER => ["Authorization: Bearer {$read('token')}", 'Content-Type: application/merge-patch+json'],
        CURLOPT_POSTFIELDS => json_encode(['metadata' => ['annotations' => ['wechattoken.io/invalid-token' => $report]]]),
    ]);
    $said = curl_exec($curl);
    $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    if ($status !== 200) {
        throw new RuntimeException("The report failed: $status " . ($said === false ? curl_error($curl) : $said));
    }
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) { // php report.php NAME-OF-THE-WECHATTOKEN <FILE-WITH-THE-TOKEN
    try {
        reportInvalidToken($argv[1], trim(stream_get_contents(STDIN)));
    } catch (RuntimeException $e) {
        fwrite(STDERR, $e->getMessage() . "\n");
        exit(1);
    }
}
