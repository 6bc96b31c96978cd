//! The crypto policy of a database applies to its sessions, even if an error was explained before the database was opened. Runs in
//! a process of its own, since libssl takes over the policy once per process.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::rc::Rc;

use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use nssight_nss::{InitOptions, Nss, Session, TlsOptions};
use nssight_session::Transport;

/// A section of pkcs11.txt, as crypto-policies would write it: AES-128-GCM only.
const POLICY: &str = "library=\nname=Policy\nNSS=flags=policyOnly,moduleDB\nconfig=\"disallow=ALL \
    allow=HMAC-SHA256:SECP256R1:AES128-GCM:SHA256:ECDHE-RSA:ECDHE-ECDSA:ECDSA:RSA:tls-version-min=tls1.2:tls-version-max=tls1.2\"\n\n";

const TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: u16 = 0xc02f;
const TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: u16 = 0xc030;

/// A peer that records everything it receives and closes.
struct RecordingPeer(Rc<RefCell<Vec<u8>>>);

impl Transport for RecordingPeer {
    fn recv(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The suites of a ClientHello in one record: header 5, handshake header 4, version 2, random 32, session id, suites
/// (RFC 5246, 7.4.1.2).
fn suites(record: &[u8]) -> Vec<u16> {
    let session = usize::from(record[43]);
    let list = &record[44 + session..];
    let length = usize::from(u16::from_be_bytes([list[0], list[1]]));
    list[2..2 + length].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[test]
fn a_session_offers_only_what_the_policy_allows() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = DbFormat::Sql.directory(&directory.path().join("nowhere"));
    let error = Nss::open(&InitOptions::read_only(&nowhere)).map(|_| ()).expect_err("no such directory");
    assert_eq!(error.name, "SEC_ERROR_BAD_DATABASE");

    DbBuilder::new(DbFormat::Sql).password(b"").build(directory.path()).expect("a database");
    let modules = OpenOptions::new().append(true).open(directory.path().join("pkcs11.txt"));
    modules.and_then(|mut modules| modules.write_all(POLICY.as_bytes())).expect("the module list is there");

    let name = DbFormat::Sql.directory(directory.path());
    let nss = Nss::open(&InitOptions::read_only(&name)).expect("the database opens");
    let heard = Rc::new(RefCell::new(Vec::new()));
    let options = TlsOptions {
        host: "localhost",
        versions: (0x0303, 0x0303),
        client_auth: None,
        alpn: &[],
        authorities: Vec::new(),
    };
    let mut client =
        Session::client(&nss, Box::new(RecordingPeer(heard.clone())), options).expect("a session is set up");
    let error = client.handshake().expect_err("the peer closes");
    assert_eq!(error.name, "PR_END_OF_FILE_ERROR");
    let offered = suites(&heard.borrow());
    assert!(offered.contains(&TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), "{offered:04x?}");
    assert!(!offered.contains(&TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384), "{offered:04x?}");
}
