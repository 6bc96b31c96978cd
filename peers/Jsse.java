import java.io.ByteArrayInputStream;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** A TLS server of the Java platform: PORT CERTIFICATE KEY CLIENT-CA VERSION required|optional|nothing. */
class Jsse {
    public static void main(String[] arguments) throws Exception {
        char[] none = new char[0];
        CertificateFactory x509 = CertificateFactory.getInstance("X.509");
        Certificate[] chain = x509.generateCertificates(new ByteArrayInputStream(Files.readAllBytes(Path.of(arguments[1]))))
            .toArray(new Certificate[0]);
        KeyStore own = KeyStore.getInstance("PKCS12");
        own.load(null, none);
        own.setKeyEntry("server", key(Files.readString(Path.of(arguments[2])), chain[0].getPublicKey().getAlgorithm()), none, chain);
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, none);
        trusted.setCertificateEntry("ca", x509.generateCertificate(new ByteArrayInputStream(Files.readAllBytes(Path.of(arguments[3])))));
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(own, none);
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        int port = Integer.parseInt(arguments[0]);
        SSLServerSocket server = (SSLServerSocket) context.getServerSocketFactory()
            .createServerSocket(port, 16, InetAddress.getByName("127.0.0.1"));
        server.setEnabledProtocols(new String[] {arguments[4]});
        server.setNeedClientAuth(arguments[5].equals("required"));
        if (arguments[5].equals("optional")) {
            server.setWantClientAuth(true);
        }
        while (true) {
            try (SSLSocket client = (SSLSocket) server.accept()) {
                client.setSoTimeout(30_000);
                client.startHandshake();
                while (client.getInputStream().read() >= 0) {
                    // Until the client ends it.
                }
            } catch (Exception error) {
                System.err.println(error);
            }
        }
    }

    private static PrivateKey key(String pem, String algorithm) throws Exception {
        String body = pem.replaceAll("-----[^-]*-----", "").replaceAll("\\s", "");
        return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(body)));
    }
}
