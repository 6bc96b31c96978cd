//! Hostile peers and transports: the worst result is an error, always before the deadline.

use std::io;
use std::time::{Duration, Instant};

use nssight_fixtures::authority::{Identity, Spec, Usage};
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::nssdb::DbFormat;
use nssight_nss::{ErrorCode, Session, TlsOptions};
use nssight_session::Transport;
use openssl::x509::extension::{BasicConstraints, SubjectKeyIdentifier};
use openssl::x509::{X509, X509NameBuilder};

use crate::client::{Client, TLS_1_2, TLS_1_3};
use crate::tools::{Database, NICKNAME, PKI, usual};

fn endpoint(change: impl FnOnce(&mut Options)) -> Endpoint {
    let mut options = Options::new(&PKI.server, &PKI.ca);
    change(&mut options);
    Endpoint::start(options).expect("an endpoint")
}

/// Unsigned certificates, of which only the subjects are sent.
fn names(count: usize, organisation: impl Fn(usize) -> Option<String>) -> Vec<X509> {
    let certificate = |index: usize| {
        let mut name = X509NameBuilder::new()?;
        if let Some(organisation) = organisation(index) {
            name.append_entry_by_text("O", &organisation)?;
        }
        let mut builder = X509::builder()?;
        builder.set_subject_name(&name.build())?;
        Ok::<X509, openssl::error::ErrorStack>(builder.build())
    };
    (0..count).map(|index| certificate(index).expect("a name")).collect()
}

/// The list of names is 64 KiB at most (RFC 5246, 7.4.4 and RFC 8446, 4.2.4).
#[test]
fn thousands_of_acceptable_authorities_are_listed() {
    let database = Database::built(DbFormat::Sql, usual);
    let full = endpoint(|options| options.advertised = Some(names(3400, |index| Some(format!("{index:04}")))));
    let empty = endpoint(|options| options.advertised = Some(names(10_000, |_| None)));
    let (nss, _slot) = database.unlocked();
    for versions in [TLS_1_2, TLS_1_3] {
        for (peer, count, last) in [(&full, 3400, "O=3399"), (&empty, 10_000, "(unreadable name)")] {
            let start = Instant::now();
            let mut client = Client::connect(&nss, peer.port(), versions, Some(NICKNAME));
            client.tls.handshake().unwrap_or_else(|error| panic!("{versions:x?}: {error}"));
            let listed = client.tls.facts().asked_for_certificate.expect("it asks");
            assert_eq!(listed.len(), count);
            assert_eq!(listed.last().map(|name| name.text.as_str()), Some(last));
            assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        }
    }
}

#[test]
fn an_enormous_chain_is_judged_in_time() {
    // Each issues the next: 25 deep, where the older verifier stops at 20.
    let mut issuer = PKI.ca.clone();
    for index in 0..25 {
        issuer = issuer.issue(&Spec::new(&format!("level {index}"), Usage::Authority)).expect("a CA");
    }
    let deep = issuer.issue(&Spec::new("deep", Usage::Server).names(&["localhost"])).expect("a certificate");
    // Many certificates that do not belong to the chain.
    let crowd: Vec<X509> = (0..150).map(|_| PKI.stranger.certificate.clone()).collect();
    let crowded = Identity { chain: crowd, ..PKI.server.clone() };
    // Two CAs that have certified each other.
    let (left, right) = (Identity::authority("left"), Identity::authority("right"));
    let (left, right) = (left.expect("a CA"), right.expect("a CA"));
    let cross = |name: &str, issuer: &Identity, key: &Identity| {
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        let mut subject = X509NameBuilder::new()?;
        subject.append_entry_by_text("CN", name)?;
        builder.set_subject_name(&subject.build())?;
        let mut other = X509NameBuilder::new()?;
        other.append_entry_by_text("CN", if name == "round" { "about" } else { "round" })?;
        builder.set_issuer_name(&other.build())?;
        builder.set_not_before(PKI.ca.certificate.not_before())?;
        builder.set_not_after(PKI.ca.certificate.not_after())?;
        builder.set_pubkey(&key.key)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
        builder.append_extension(identifier)?;
        builder.sign(&issuer.key, openssl::hash::MessageDigest::sha256())?;
        Ok::<X509, openssl::error::ErrorStack>(builder.build())
    };
    let round = cross("round", &right, &left).expect("a certificate");
    let about = cross("about", &left, &right).expect("a certificate");
    let rounder = Identity { certificate: round.clone(), key: left.key.clone(), chain: Vec::new() };
    let circular = rounder.issue(&Spec::new("circular", Usage::Server).names(&["localhost"])).expect("a certificate");
    let circular = Identity { chain: vec![round, about], ..circular };

    let database = Database::built(DbFormat::Sql, usual);
    let (nss, _slot) = database.unlocked();
    let endless = nssight_nss::library::verifies_by_pkix();
    for (identity, length, good) in [(&deep, 26, endless), (&crowded, 151, true), (&circular, 3, false)] {
        let peer = endpoint(|options| options.identity = identity.clone());
        for versions in [TLS_1_2, TLS_1_3] {
            let start = Instant::now();
            let mut client = Client::connect(&nss, peer.port(), versions, Some(NICKNAME));
            let result = client.tls.handshake();
            assert_eq!(result.is_ok(), good, "{length}: {result:?}");
            let facts = client.tls.facts();
            assert_eq!(facts.peer_chain.len(), length);
            assert_eq!(facts.objections.is_empty(), good, "{:?}", facts.objections);
            assert!(facts.objections.len() <= 100, "{}", facts.objections.len());
            assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        }
    }
}

#[test]
fn a_flood_of_alerts_is_cut_off() {
    let database = Database::built(DbFormat::Sql, usual);
    // Warnings in the clear, "user cancelled" (RFC 5246, 7.2.2), and then silence.
    let flood = [21, 3, 3, 0, 2, 1, 90].repeat(5000);
    let peer = endpoint(|options| options.behaviour = Behaviour::Answer(flood, Leave::Close));
    let nss = database.open();
    let mut client = Client::connect(&nss, peer.port(), TLS_1_2, None);
    client.tls.handshake().expect_err("no handshake comes of it");
    let alerts = client.tls.facts().alerts;
    assert_eq!(alerts.iter().filter(|alert| !alert.sent).count(), 100, "all seen, the first hundred kept");
}

#[test]
fn a_flight_cut_anywhere_is_an_end_of_file() {
    let database = Database::built(DbFormat::Sql, usual);
    let (nss, _slot) = database.unlocked();
    for versions in [TLS_1_2, TLS_1_3] {
        for cut in (1..1200).step_by(61) {
            let peer = endpoint(|options| options.behaviour = Behaviour::CutFlight(cut, Leave::Close));
            let mut client = Client::connect(&nss, peer.port(), versions, Some(NICKNAME));
            let error = client.tls.handshake().expect_err("it is cut");
            assert_eq!(error.code, ErrorCode::PR_END_OF_FILE_ERROR, "after {cut} bytes: {error}");
            assert_eq!(client.traffic.borrow().received, cut);
        }
    }
}

/// A transport whose receiving side is a list of answers.
struct Scripted<F>(F);

impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Transport for Scripted<F> {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.0)(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn handshake(
    nss: &nssight_nss::Nss,
    recv: impl FnMut(&mut [u8]) -> io::Result<usize> + 'static,
) -> nssight_nss::NssError {
    let options = TlsOptions {
        host: "localhost",
        versions: (0x0303, 0x0304),
        client_auth: None,
        alpn: &[],
        authorities: Vec::new(),
    };
    let mut client = Session::client(nss, Box::new(Scripted(recv)), options).expect("a session is set up");
    client.handshake().expect_err("no handshake comes of it")
}

#[test]
fn a_failing_transport_causes_an_error_and_nothing_worse() {
    let database = Database::built(DbFormat::Sql, usual);
    let nss = database.open();
    let kinds = [
        (io::ErrorKind::TimedOut, ErrorCode::PR_IO_TIMEOUT_ERROR),
        (io::ErrorKind::WouldBlock, ErrorCode::PR_WOULD_BLOCK_ERROR),
        (io::ErrorKind::ConnectionReset, ErrorCode::PR_CONNECT_RESET_ERROR),
        (io::ErrorKind::BrokenPipe, ErrorCode::PR_CONNECT_RESET_ERROR),
        (io::ErrorKind::PermissionDenied, ErrorCode::PR_IO_ERROR),
    ];
    for (kind, code) in kinds {
        assert_eq!(handshake(&nss, move |_| Err(kind.into())).code, code, "{kind:?}");
    }
    assert_eq!(handshake(&nss, |_| panic!("on purpose")).code, ErrorCode::PR_IO_ERROR);
    // More bytes than the buffer holds.
    assert_eq!(handshake(&nss, |buffer| Ok(buffer.len() + 1)).code, ErrorCode::PR_IO_ERROR);
    let unset = handshake(&nss, |_| Err(io::Error::from_raw_os_error(110)));
    assert_eq!((unset.code, unset.os_error), (ErrorCode::PR_IO_TIMEOUT_ERROR, 110));
}

#[test]
fn noise_is_an_error() {
    let database = Database::built(DbFormat::Sql, usual);
    let nss = database.open();
    for seed in 1..200u64 {
        // xorshift64: the same noise on every run.
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut left = 40_000usize;
        handshake(&nss, move |buffer| {
            if left == 0 {
                return Ok(0);
            }
            let count = buffer.len().min(left);
            for byte in &mut buffer[..count] {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *byte = (state >> 32) as u8;
            }
            // Half of the runs look like handshake records.
            if seed % 2 == 0 && count == 5 {
                buffer[..3].copy_from_slice(&[22, 3, 3]);
            }
            left -= count;
            Ok(count)
        });
    }
}
