package com.example.shop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.HexFormat;
import java.util.Optional;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Reports to a WeChatToken that WeChat refused its token. */
public final class InvalidToken {
    private static final Path FOLDER = Path.of(Optional.ofNullable(System.getenv("SERVICEACCOUNT_DIR"))
            .orElse("/var/run/secrets/kubernetes.io/serviceaccount"));

    private InvalidToken() {}

    /** Reports to the WeChatToken called name that WeChat refused token. */
    public static void report(String name, String token) throws IOException, InterruptedException, GeneralSecurityException {
        byte[] sum = MessageDigest.getInstance("SHA-256").digest(token.getBytes(UTF_8));
        String report = HexFormat.of().formatHex(sum, 0, 8) + "@" + Instant.now().truncatedTo(ChronoUnit.SECONDS);
        String host = System.getenv("KUBERNETES_SERVICE_HOST");
        URI uri = URI.create("https://" + (host.contains(":") ? "[" + host + "]" : host) + ":"
                + System.getenv("KUBERNETES_SERVICE_PORT")
                + "/apis/wechattoken.io/v1alpha1/namespaces/" + read("namespace") + "/wechattokens/" + name);
        var request = HttpRequest.newBuilder(uri).timeout(Duration.ofSeconds(10))
                .version(HttpClient.Version.HTTP_1_1) // with HTTP/2, Java loses refusals
                .header("Authorization", "Bearer " + read("token")).header("Content-Type", "application/merge-patch+json")
                .method("PATCH", BodyPublishers.ofString(
                        "{\"metadata\":{\"annotations\":{\"wechattoken.io/invalid-token\":\"" + report + "\"}}}"));
        var answer = HttpClient.newBuilder().proxy(HttpClient.Builder.NO_PROXY).sslContext(authority()).build()
                .send(request.build(), BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException("The report failed: " + answer.statusCode() + " " + answer.body());
        }
    }

    private static String read(String file) throws IOException { // each time: Kubernetes replaces them
        return Files.readString(FOLDER.resolve(file)).trim();
    }

    private static SSLContext authority() throws IOException, GeneralSecurityException {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var pem = Files.newInputStream(FOLDER.resolve("ca.crt"))) {
            for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                store.setCertificateEntry("ca-" + store.size(), certificate);
            }
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    /** Takes the name of the WeChatToken, and the token on stdin. */
    public static void main(String[] args) throws InterruptedException {
        try {
            report(args[0], new String(System.in.readAllBytes(), UTF_8).trim());
        } catch (IOException | GeneralSecurityException e) {
            System.err.println(e);
            System.exit(1);
        }
    }
}
