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
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Optional;
import java.util.Scanner;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Calls WeChat with the access_token that the token server has. */
public final class Client {
    private static final Pattern INVALID = Pattern.compile("\"errcode\": *(40001|40014|42001)\\b");

    private final HttpClient weChat = HttpClient.newHttpClient();
    private final HttpClient server = HttpClient.newBuilder().sslContext(trust(Path.of(System.getenv("CA_FILE")))).build();
    private String token = "";
    private long fresh = System.nanoTime(); // until when to use the token without asking
    private long expires = fresh;

    public Client() throws IOException, GeneralSecurityException {}

    /** Returns the answer to GET path; when WeChat refuses the token, the answer with the next one. */
    public String call(String path) throws IOException, InterruptedException {
        String used = accessToken("");
        String answer = get(path, used);
        return INVALID.matcher(answer).find() ? get(path, accessToken(used)) : answer;
    }

    /** Returns the token to use now, and reports the one that WeChat refused. */
    private synchronized String accessToken(String refused) throws IOException, InterruptedException {
        if (token.equals(refused) || System.nanoTime() - fresh >= 0) {
            ask(refused);
        }
        return token;
    }

    private void ask(String refused) throws IOException, InterruptedException {
        long asked = System.nanoTime();
        String[] names = System.getenv("WECHATTOKEN").split("/");
        String url = System.getenv("TOKEN_SERVER") + "/v1/namespaces/" + names[0] + "/wechattokens/" + names[1];
        // Each time: it gets replaced. An exception quotes a header with a character that may not be there.
        String credential = Files.readString(Path.of(System.getenv("CREDENTIAL_FILE"))).replaceAll("[^!-~]", "");
        var request = HttpRequest.newBuilder(URI.create(url + "/token"))
                .header("Authorization", "Bearer " + credential).timeout(Duration.ofSeconds(refused.isEmpty() ? 6 : 40));
        if (!refused.isEmpty()) {
            request.uri(URI.create(url + "/invalid?wait=30s")).header("Content-Type", "application/json")
                    .POST(BodyPublishers.ofString("{\"fingerprint\":\"" + fingerprint(refused) + "\"}"));
        }
        int status = 503;
        String said;
        String cacheControl = "";
        try {
            var answer = server.send(request.build(), BodyHandlers.ofString());
            status = answer.statusCode();
            said = status + " " + answer.body();
            cacheControl = answer.headers().firstValue("Cache-Control").orElse("");
        } catch (IOException e) {
            said = "nothing: " + e;
        }
        if (status == 200) {
            token = find("\"access_token\": *\"([^\"]+)\"", said);
            fresh = asked + 1_000_000_000 * Long.parseLong(find("max-age=(\\d+)", cacheControl));
            expires = asked + 1_000_000_000 * Long.parseLong(find("\"expires_in\": *(\\d+)", said));
        } else if (status == 202) {
            ask("");
        } else if ((status == 429 || status >= 500) && System.nanoTime() - expires < 0) {
            fresh = System.nanoTime() + 5_000_000_000L; // the token that is there is good
        } else {
            throw new IOException("The token server says: " + said);
        }
    }

    private String get(String path, String token) throws IOException, InterruptedException {
        String base = Optional.ofNullable(System.getenv("WECHAT_URL")).orElse("https://api.weixin.qq.com");
        var request = HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(10)); // an exception quotes this URL
        String query = (path.contains("?") ? "&" : "?") + "access_token=" + URLEncoder.encode(token, UTF_8);
        request.uri(URI.create(base + path + query));
        var answer = weChat.send(request.build(), BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException("WeChat says: " + answer.statusCode());
        }
        return answer.body();
    }

    private static String find(String pattern, String text) throws IOException {
        var found = Pattern.compile(pattern).matcher(text);
        if (!found.find()) {
            throw new IOException("The token server gives no " + pattern);
        }
        return found.group(1);
    }

    private static String fingerprint(String token) {
        try {
            byte[] sum = MessageDigest.getInstance("SHA-256").digest(token.getBytes(UTF_8));
            return HexFormat.of().formatHex(sum, 0, 8);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every Java has it
        }
    }

    private static SSLContext trust(Path authority) throws IOException, GeneralSecurityException {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var pem = Files.newInputStream(authority)) {
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

    /** Makes one call for each line on stdin. */
    public static void main(String[] args) throws InterruptedException {
        try (var lines = new Scanner(System.in)) {
            var client = new Client();
            while (lines.hasNextLine()) {
                lines.nextLine();
                System.out.println(client.call("/cgi-bin/getcallbackip"));
            }
        } catch (IOException | GeneralSecurityException e) {
            System.err.println(e);
            System.exit(1);
        }
    }
}
