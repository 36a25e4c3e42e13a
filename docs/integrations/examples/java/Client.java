import io.spiffe.provider.SpiffeSslContextFactory;
import io.spiffe.provider.SpiffeSslContextFactory.SslContextOptions;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.svid.x509svid.X509Svid;
import io.spiffe.workloadapi.DefaultX509Source;
import io.spiffe.workloadapi.DefaultX509Source.X509SourceOptions;
import java.net.URL;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.time.Instant;
import java.util.Set;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;

/**
 * Calls a service with mTLS under an X.509-SVID, and again once the SVID was renewed.
 *
 * <p>usage: Client URL OWN_ID PEER_ID, with SPIFFE_ENDPOINT_SOCKET
 */
public class Client {
    private static final Duration TIMEOUT = Duration.ofSeconds(10);
    private static final Duration RENEWAL_TIMEOUT = Duration.ofSeconds(60);
    private static final Duration PAUSE = Duration.ofMillis(100);

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        SpiffeId own = SpiffeId.parse(arguments[1]);
        SpiffeId peer = SpiffeId.parse(arguments[2]);
        X509SourceOptions options = X509SourceOptions.builder()
                .initTimeout(TIMEOUT)
                .svidPicker(svids -> svids.stream()
                        .filter(svid -> svid.getSpiffeId().equals(own)).findFirst().orElseThrow())
                .build();
        try (DefaultX509Source source = DefaultX509Source.newSource(options)) {
            X509Svid first = source.getX509Svid();
            System.out.printf("holds %s, %s%n", own, describe(first));
            call(source, url, peer);
            System.out.printf("renewed: %s%n", describe(awaitRenewal(source, first)));
            call(source, url, peer);
        }
        System.exit(0); // The library's threads go on.
    }

    private static X509Svid awaitRenewal(DefaultX509Source source, X509Svid old) throws Exception {
        Instant late = Instant.now().plus(RENEWAL_TIMEOUT);
        while (Instant.now().isBefore(late)) {
            X509Svid svid = source.getX509Svid();
            if (!svid.getLeaf().getSerialNumber().equals(old.getLeaf().getSerialNumber())) {
                return svid;
            }
            Thread.sleep(PAUSE.toMillis());
        }
        throw new IllegalStateException("not renewed within " + RENEWAL_TIMEOUT);
    }

    private static void call(DefaultX509Source source, String url, SpiffeId peer) throws Exception {
        // A context of its own for each connection: no session of an earlier one is resumed.
        SSLContext tls = SpiffeSslContextFactory.getSslContext(SslContextOptions.builder()
                .sslProtocol("TLSv1.3")
                .x509Source(source)
                .acceptedSpiffeIdsSupplier(() -> Set.of(peer))
                .build());
        HttpsURLConnection connection = (HttpsURLConnection) new URL(url).openConnection();
        connection.setSSLSocketFactory(tls.getSocketFactory());
        // The trust manager of the context has checked the SPIFFE ID: there is no name of a host.
        connection.setHostnameVerifier((host, session) -> true);
        connection.setConnectTimeout((int) TIMEOUT.toMillis());
        connection.setReadTimeout((int) TIMEOUT.toMillis());
        try (var body = connection.getInputStream()) {
            System.out.printf("%s answers: %s%n", peer, new String(body.readAllBytes()).strip());
        }
        connection.disconnect();
    }

    private static String describe(X509Svid svid) {
        X509Certificate leaf = svid.getLeaf();
        return String.format("serial %x, until %s", leaf.getSerialNumber(), leaf.getNotAfter().toInstant());
    }
}
