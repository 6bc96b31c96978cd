//! OpenSSL, with certificate, key and trusted CAs extracted from the database by the native reader.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use nssight_inventory::load::Loaded;
use nssight_nssdb::Database;
use nssight_probes::open_session;
use nssight_probes::target::TlsVersion;
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslVersion};
use openssl::x509::store::X509StoreBuilder;

use super::attempt::{Attempt, Job, Outcome, release_of};

type Failure = Box<dyn std::error::Error>;

pub(super) fn attempt(job: &Job<'_>) -> Attempt {
    let mut attempt = Attempt::new("openssl", false, "database read without NSS", "tried on the files");
    attempt.library = release_of(openssl::version::version());
    if let Err(error) = handshake(job, &mut attempt) {
        attempt.error = Some(error.to_string());
    }
    attempt.settle();
    attempt
}

fn handshake(job: &Job<'_>, attempt: &mut Attempt) -> Result<(), Failure> {
    let connector = connector(job)?;
    attempt.outcome = Outcome::FailedToConnect;
    let addresses: Vec<SocketAddr> = (job.host, job.port).to_socket_addrs()?.collect();
    let first = addresses.iter().find(|it| it.is_ipv4()).or(addresses.first()).ok_or("the name has no address")?;
    let stream = TcpStream::connect_timeout(first, job.target.timeout)?;
    attempt.connected = true;
    stream.set_read_timeout(Some(job.target.timeout))?;
    stream.set_write_timeout(Some(job.target.timeout))?;
    let mut session = match connector.connect(job.host, stream) {
        Ok(session) => session,
        Err(HandshakeError::Failure(failed) | HandshakeError::WouldBlock(failed)) => {
            let verified = failed.ssl().verify_result();
            let error = failed.error().to_string();
            return Err(match verified.as_raw() {
                0 => error.into(),
                _ => format!("{error} ({})", verified.error_string()).into(),
            });
        }
        Err(HandshakeError::SetupFailure(error)) => return Err(error.into()),
    };
    attempt.handshake = true;
    let suite = session.ssl().current_cipher().map_or("?", |cipher| cipher.standard_name().unwrap_or(cipher.name()));
    attempt.agreed = Some(format!("{}, {suite}", session.ssl().version_str().replace("TLSv", "TLS ")));
    let until = Instant::now() + job.listen;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        session.get_ref().set_read_timeout(Some(left))?;
        match session.read(&mut [0; 1024]) {
            // An orderly end of the session.
            Ok(0) => break,
            // Data that a server may send before it has verified our certificate (RFC 8446, 2).
            Ok(_) => {}
            // A server that accepted the client sends nothing.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => return Err(error.into()),
        }
    }
    session.get_ref().set_read_timeout(Some(Duration::from_millis(100)))?;
    let _ = session.shutdown();
    Ok(())
}

fn connector(job: &Job<'_>) -> Result<SslConnector, Failure> {
    let database = database(job)?;
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    let (low, high) = job.target.tls.value;
    builder.set_min_proto_version(Some(version(low)))?;
    builder.set_max_proto_version(Some(version(high)))?;
    let mut store = X509StoreBuilder::new()?;
    for authority in open_session::authorities(&database)? {
        store.add_cert(authority)?;
    }
    builder.set_cert_store(store.build());
    if let Some(nickname) = job.target.nickname() {
        let password = job.password.map(|it| it.as_slice()).unwrap_or_default();
        let identity = open_session::identity(&database, &nickname.value, password)?;
        builder.set_certificate(&identity.certificate)?;
        for issuer in identity.chain {
            builder.add_extra_chain_cert(issuer)?;
        }
        // OpenSSL wipes its copy when it frees it.
        builder.set_private_key(&identity.key)?;
        builder.check_private_key()?;
    }
    Ok(builder.build())
}

fn database(job: &Job<'_>) -> io::Result<Database> {
    Loaded::from(job.target.argument()).database.map_err(io::Error::other)
}

fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::Tls10 => SslVersion::TLS1,
        TlsVersion::Tls11 => SslVersion::TLS1_1,
        TlsVersion::Tls12 => SslVersion::TLS1_2,
        TlsVersion::Tls13 => SslVersion::TLS1_3,
    }
}
