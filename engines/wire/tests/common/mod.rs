//! Real handshakes, by OpenSSL against itself through memory.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use nssight_wire::{Conversation, Direction, End, Event, RecordHeader, What};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    HandshakeError, MidHandshakeSslStream, Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode,
    SslVersion,
};
use openssl::stack::Stack;
use openssl::x509::extension::BasicConstraints;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Name, X509NameBuilder};

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: X509,
    key: PKey<Private>,
}

fn name(common_name: &str) -> X509Name {
    let mut builder = X509NameBuilder::new().unwrap();
    builder.append_entry_by_text("O", "Example, Inc.").unwrap();
    builder.append_entry_by_text("CN", common_name).unwrap();
    builder.build()
}

/// Makes a certificate; `issuer` signs it, or it signs itself and is an authority.
pub(crate) fn identity(common_name: &str, issuer: Option<&Identity>) -> Identity {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(common_name.len() as u32).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name(common_name)).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    match issuer {
        Some(issuer) => {
            builder.set_issuer_name(issuer.certificate.subject_name()).unwrap();
            builder.sign(&issuer.key, MessageDigest::sha256()).unwrap();
        }
        None => {
            builder.set_issuer_name(&name(common_name)).unwrap();
            builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
            builder.sign(&key, MessageDigest::sha256()).unwrap();
        }
    }
    Identity { certificate: builder.build(), key }
}

/// The settings of a handshake.
pub(crate) struct Setup {
    pub(crate) client_versions: (SslVersion, SslVersion),
    pub(crate) server_versions: (SslVersion, SslVersion),
    pub(crate) client_identity: Option<Identity>,
    pub(crate) client_trusts_server: bool,
    pub(crate) server_groups: Option<&'static str>,
    pub(crate) server_ciphers: Option<&'static str>,
    pub(crate) authority: Identity,
}

impl Setup {
    /// Both sides speak `version`, and the server requires a certificate of the one authority.
    pub(crate) fn new(version: SslVersion) -> Self {
        let authority = identity("Test CA", None);
        let client_identity = Some(identity("client", Some(&authority)));
        Setup {
            client_versions: (version, version),
            server_versions: (version, version),
            client_identity,
            client_trusts_server: true,
            server_groups: None,
            server_ciphers: None,
            authority,
        }
    }

    fn trusting(&self, builder: &mut SslContextBuilder, trusts: bool) {
        let mut store = X509StoreBuilder::new().unwrap();
        let stranger = identity("Stranger CA", None);
        let trusted = if trusts { &self.authority } else { &stranger };
        store.add_cert(trusted.certificate.clone()).unwrap();
        builder.set_cert_store(store.build());
    }

    fn context(versions: (SslVersion, SslVersion), own: Option<&Identity>) -> SslContextBuilder {
        let mut builder = SslContext::builder(SslMethod::tls()).unwrap();
        builder.set_min_proto_version(Some(versions.0)).unwrap();
        builder.set_max_proto_version(Some(versions.1)).unwrap();
        if let Some(own) = own {
            builder.set_certificate(&own.certificate).unwrap();
            builder.set_private_key(&own.key).unwrap();
        }
        builder
    }

    fn client(&self) -> Ssl {
        let mut builder = Self::context(self.client_versions, self.client_identity.as_ref());
        builder.set_verify(SslVerifyMode::PEER);
        self.trusting(&mut builder, self.client_trusts_server);
        builder.set_groups_list("X25519:P-256:P-384").unwrap();
        let mut ssl = Ssl::new(&builder.build()).unwrap();
        ssl.set_hostname("bridge.example").unwrap();
        ssl
    }

    fn server(&self) -> Ssl {
        let own = identity("bridge", Some(&self.authority));
        let mut builder = Self::context(self.server_versions, Some(&own));
        builder.add_extra_chain_cert(self.authority.certificate.clone()).unwrap();
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        self.trusting(&mut builder, true);
        let mut names = Stack::new().unwrap();
        names.push(self.authority.certificate.subject_name().to_owned().unwrap()).unwrap();
        builder.set_client_ca_list(names);
        if let Some(groups) = self.server_groups {
            builder.set_groups_list(groups).unwrap();
        }
        if let Some(ciphers) = self.server_ciphers {
            builder.set_cipher_list(ciphers).unwrap();
        }
        Ssl::new(&builder.build()).unwrap()
    }

    /// Runs the handshake, then one message each way and a close if it succeeded, and returns every write in order.
    pub(crate) fn run(&self) -> Log {
        let log = Rc::new(RefCell::new(Vec::new()));
        let [up, down] = [(); 2].map(|()| Rc::new(RefCell::new(VecDeque::new())));
        let end = |direction, from: &Rc<_>, to: &Rc<_>| Pipe {
            direction,
            from: Rc::clone(from),
            to: Rc::clone(to),
            log: Rc::clone(&log),
        };
        let mut client = Side::start(self.client().connect(end(Direction::Sent, &down, &up)));
        let mut server = Side::start(self.server().accept(end(Direction::Received, &up, &down)));
        for _ in 0..8 {
            client = client.go_on();
            server = server.go_on();
        }
        if let (Side::Done(mut client), Side::Done(mut server)) = (client, server) {
            let mut buffer = [0; 64];
            client.write_all(b"list-users").unwrap();
            assert_eq!(server.read(&mut buffer).unwrap(), 10);
            server.write_all(b"root").unwrap();
            assert_eq!(client.read(&mut buffer).unwrap(), 4);
            server.shutdown().unwrap();
        }
        log.take()
    }
}

/// Every write of a connection, in order.
pub(crate) type Log = Vec<(Direction, Vec<u8>)>;

/// One end of a connection in memory, which keeps a log of what it writes.
#[derive(Debug)]
struct Pipe {
    direction: Direction,
    from: Rc<RefCell<VecDeque<u8>>>,
    to: Rc<RefCell<VecDeque<u8>>>,
    log: Rc<RefCell<Log>>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.from.borrow_mut().read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            got => Ok(got),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.borrow_mut().extend(bytes);
        self.log.borrow_mut().push((self.direction, bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How far one side of a handshake got.
enum Side {
    Done(SslStream<Pipe>),
    Waiting(MidHandshakeSslStream<Pipe>),
    Failed,
}

impl Side {
    fn start(result: Result<SslStream<Pipe>, HandshakeError<Pipe>>) -> Self {
        match result {
            Ok(stream) => Side::Done(stream),
            Err(HandshakeError::WouldBlock(waiting)) => Side::Waiting(waiting),
            Err(_) => Side::Failed,
        }
    }

    fn go_on(self) -> Self {
        match self {
            Side::Waiting(waiting) => Side::start(waiting.handshake()),
            other => other,
        }
    }
}

/// The conversation of `log`, closed by the peer.
pub(crate) fn watch(log: &Log) -> Conversation {
    watch_in_pieces(log, &mut |rest| rest)
}

/// The same, with each write in pieces whose size `size` chooses from what is left.
pub(crate) fn watch_in_pieces(log: &Log, size: &mut dyn FnMut(usize) -> usize) -> Conversation {
    let mut conversation = Conversation::new();
    let mut at_us = 0;
    for (direction, bytes) in log {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(size(rest.len()).clamp(1, rest.len()));
            at_us += 1;
            conversation.feed(*direction, at_us, piece);
            rest = later;
        }
    }
    conversation.ended(Direction::Received, at_us + 1_000, End::Fin);
    conversation
}

/// The events without their times.
pub(crate) fn timeless(conversation: &Conversation) -> Vec<(Direction, Option<RecordHeader>, What)> {
    let strip = |event: &Event| (event.direction, event.record, event.what.clone());
    conversation.events().iter().map(strip).collect()
}

/// The handshake records of `log` cut into records of at most `most` bytes, as far as they are in the clear.
pub(crate) fn refragment(log: &Log, most: usize) -> Log {
    let mut encrypted = [false; 2];
    let mut cut = |(direction, bytes): &(Direction, Vec<u8>)| {
        let encrypted = &mut encrypted[usize::from(*direction == Direction::Sent)];
        let mut out = Vec::new();
        let mut rest = bytes.as_slice();
        while let [content, major, minor, high, low, tail @ ..] = rest {
            let (fragment, later) = tail.split_at(u16::from_be_bytes([*high, *low]).into());
            *encrypted |= *content == 20;
            let most = if *content == 22 && !*encrypted { most } else { usize::MAX };
            for part in fragment.chunks(most) {
                out.extend([*content, *major, *minor]);
                out.extend((part.len() as u16).to_be_bytes());
                out.extend(part);
            }
            rest = later;
        }
        assert!(rest.is_empty(), "OpenSSL writes whole records");
        (*direction, out)
    };
    log.iter().map(&mut cut).collect()
}
