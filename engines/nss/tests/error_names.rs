//! Looking up the name of an error must not disturb later sessions. Runs in a process of its own, since libssl does its
//! one-time initialisation once per process.

use std::cell::RefCell;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_fixtures::authority::{Identity, Spec, Usage};
use nssight_fixtures::endpoint::{ClientAuth, Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use nssight_nss::kernel::tcp_info;
use nssight_nss::process::TestProcess;
use nssight_nss::{ErrorCode, InitOptions, Nss, Session, Slot, TlsOptions, library};
use nssight_session::{Control, End, Tap, TcpTransport};

struct SilentListener;

impl Tap for SilentListener {
    fn sent(&mut self, _: &[u8]) {}
    fn received(&mut self, _: &[u8]) {}
    fn ended(&mut self, _: End) {}
}

#[test]
fn names_are_known_before_nss_is_opened_and_sessions_work_after_that() {
    assert_eq!(ErrorCode::SSL_ERROR_NO_CERTIFICATE.name().as_deref(), Some("SSL_ERROR_NO_CERTIFICATE"));
    assert_eq!(ErrorCode::SEC_ERROR_BAD_DATABASE.name().as_deref(), Some("SEC_ERROR_BAD_DATABASE"));
    assert_eq!(ErrorCode::PR_IO_TIMEOUT_ERROR.name().as_deref(), Some("PR_IO_TIMEOUT_ERROR"));
    assert_eq!(ErrorCode(-1).name(), None);

    // With nothing initialised, looking up a certificate ends the process.
    let nothing = Nss::inherited().map(|_| ()).expect_err("nobody has initialised NSS");
    assert_eq!(nothing.code, ErrorCode::SEC_ERROR_NOT_INITIALIZED);

    let directory = tempfile::tempdir().expect("a directory");
    let name = DbFormat::Sql.directory(directory.path());
    let missing = Nss::open(&InitOptions::read_only(&name)).map(|_| ()).expect_err("nothing is there yet");
    assert_eq!(missing.name, "SEC_ERROR_BAD_DATABASE");

    let authority = Identity::authority("Error names CA").expect("a CA");
    let server = authority.issue(&Spec::new("localhost", Usage::Server).names(&["localhost"])).expect("a certificate");
    DbBuilder::new(DbFormat::Sql)
        .password(b"")
        .x509("ca", &authority.certificate, "CT,,")
        .and_then(|database| database.build(directory.path()))
        .expect("a database");
    let endpoint = Endpoint::start(Options { client_auth: ClientAuth::None, ..Options::new(&server, &authority) });
    let endpoint = endpoint.expect("an endpoint");

    let nss = Nss::open(&InitOptions::read_only(&name)).expect("the database opens");
    let stream = TcpStream::connect(("127.0.0.1", endpoint.port())).expect("a connection");
    let control = Control::until(Instant::now() + Duration::from_secs(10));
    let transport =
        TcpTransport::new(stream, control, Rc::new(RefCell::new(SilentListener)), tcp_info).expect("a transport");
    let options = TlsOptions {
        host: "localhost",
        versions: (0x0303, 0x0304),
        client_auth: None,
        alpn: &[],
        authorities: Vec::new(),
    };
    let mut client = Session::client(&nss, Box::new(transport), options).expect("a session is set up");
    client.handshake().expect("a handshake");

    // A process that has threads or NSS must not be forked.
    assert!(TestProcess::this_process().is_err(), "it has threads, and NSS");
    // An inherited NSS stays initialised even after the value that opened it is dropped.
    let inherited = Nss::inherited().expect("NSS is there");
    drop((client, nss));
    assert!(library::is_initialised() && Slot::internal_key(&inherited).is_ok());
    drop(inherited);
    let again = Nss::open(&InitOptions::read_only(&name)).expect("it opens again");
    drop(again);
    assert!(!library::is_initialised());
    assert!(Nss::inherited().is_err());
}
