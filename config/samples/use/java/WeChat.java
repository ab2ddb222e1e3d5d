package com.example.shop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.time.Duration;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Pattern;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.stereotype.Component;

/** Calls WeChat with the access_token of the mounted file. */
@Component
public class WeChat {
    private static final Pattern INVALID = Pattern.compile("\"errcode\" *: *(40001|40014|42001)\\b");

    private final HttpClient http = HttpClient.newHttpClient();
    private final String name;
    private final Path file;
    private final String url;
    private final ReentrantLock reporting = new ReentrantLock();
    private String reported = "";

    public WeChat(@Value("${wechattoken}") String name, @Value("${wechat.folder:/etc/wechat}") String folder,
            @Value("${wechat.url:https://api.weixin.qq.com}") String url) {
        this.name = name;
        this.file = Path.of(folder, "access_token");
        this.url = url;
    }

    /** Returns WeChat's answer to GET path, or to POST path with a body in JSON. */
    public String call(String path, String body) throws IOException, InterruptedException, GeneralSecurityException {
        String token = token();
        String answer = send(path, body, token);
        if (INVALID.matcher(answer).find()) {
            String newer = token();
            if (!newer.equals(token)) {
                return send(path, body, newer);
            }
            report(token);
        }
        return answer;
    }

    private String token() throws IOException {
        return Files.readString(file).trim(); // each time: it changes while the program runs
    }

    private void report(String token) throws IOException, InterruptedException, GeneralSecurityException {
        if (!reporting.tryLock()) {
            return; // another call reports
        }
        try {
            if (!token.equals(reported)) { // once
                InvalidToken.report(name, token);
                reported = token;
            }
        } finally {
            reporting.unlock();
        }
    }

    private String send(String path, String body, String token) throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(url + path)).timeout(Duration.ofSeconds(10)); // an exception quotes this URL
        String query = (path.contains("?") ? "&" : "?") + "access_token=" + URLEncoder.encode(token, UTF_8);
        request.uri(URI.create(url + path + query));
        if (!body.isEmpty()) {
            request.header("Content-Type", "application/json").POST(BodyPublishers.ofString(body));
        }
        var answer = http.send(request.build(), BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException("WeChat says: " + answer.statusCode());
        }
        return answer.body();
    }
}
