//! A TLS client on a test database, with all its observations.

use std::cell::RefCell;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_nss::kernel::tcp_info;
use nssight_nss::{Certificate, Identity, Nss, PrivateKey, Session, TlsOptions};
use nssight_session::{Control, End, Tap, TcpTransport};

pub(crate) const TLS_1_2: (u16, u16) = (0x0303, 0x0303);
pub(crate) const TLS_1_3: (u16, u16) = (0x0304, 0x0304);

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What went over the wire.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) sent: usize,
    pub(crate) received: usize,
    pub(crate) ends: Vec<End>,
}

impl Tap for Traffic {
    fn sent(&mut self, bytes: &[u8]) {
        self.sent += bytes.len();
    }

    fn received(&mut self, bytes: &[u8]) {
        self.received += bytes.len();
    }

    fn ended(&mut self, end: End) {
        self.ends.push(end);
    }
}

pub(crate) struct Client {
    pub(crate) tls: Session,
    pub(crate) control: Rc<Control>,
    pub(crate) traffic: Rc<RefCell<Traffic>>,
}

impl Client {
    /// Connects to `localhost` and sets up a session.
    pub(crate) fn connect(nss: &Nss, port: u16, versions: (u16, u16), identity: Option<&str>) -> Self {
        Self::connect_as("localhost", nss, port, versions, identity)
    }

    /// The same, for a peer with another name.
    pub(crate) fn connect_as(host: &str, nss: &Nss, port: u16, versions: (u16, u16), identity: Option<&str>) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the peer listens");
        let control = Control::until(Instant::now() + PATIENCE);
        let traffic = Rc::new(RefCell::new(Traffic::default()));
        let transport = TcpTransport::new(stream, control.clone(), traffic.clone(), tcp_info).expect("a transport");
        let client_auth = identity.map(|nickname| {
            let certificate = Certificate::find(nickname, nss).expect("it is there");
            let key = PrivateKey::find(&certificate).expect("its key is there");
            Identity { certificate, key }
        });
        let options = TlsOptions { host, versions, client_auth, alpn: &[], authorities: Vec::new() };
        let tls = Session::client(nss, Box::new(transport), options).expect("a session is set up");
        Self { tls, control, traffic }
    }
}
