//! What a session of OpenSSL reports about a real peer, in TLS 1.2 and 1.3.

use std::cell::RefCell;
use std::net::{Ipv4Addr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_fixtures::authority::{Identity as Issued, KeyKind, Spec, Usage};
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options as Peer, fatal_alert};
use nssight_openssl::{Identity, Options, Session, Trust};
use nssight_session::{Code, Control, End, Kind, SessionFacts, Tap, TcpTransport, TlsSession};

struct SilentListener;

impl Tap for SilentListener {
    fn sent(&mut self, _bytes: &[u8]) {}
    fn received(&mut self, _bytes: &[u8]) {}
    fn ended(&mut self, _end: End) {}
}

/// A CA, a server for localhost and a client.
struct Lab {
    authority: Issued,
    server: Issued,
    client: Issued,
}

impl Lab {
    fn new() -> Self {
        let authority = Issued::self_signed(&Spec::new("CA", Usage::Authority).key(KeyKind::Ec)).expect("a CA");
        let issue = |spec: Spec| authority.issue(&spec).expect("a certificate");
        let server = issue(Spec::new("server", Usage::Server).names(&["localhost"]));
        let client = issue(Spec::new("client", Usage::Client));
        Self { authority, server, client }
    }

    fn peer(&self) -> Peer {
        Peer::new(&self.server, &self.authority)
    }

    fn identity(&self) -> Identity {
        Identity { certificate: self.client.certificate.clone(), chain: Vec::new(), key: self.client.key.clone() }
    }

    fn session(&self, endpoint: &Endpoint, host: &str, identity: Option<&Identity>, trust: Trust) -> Session {
        self.controlled_session(endpoint, host, identity, trust).0
    }

    fn controlled_session(
        &self,
        endpoint: &Endpoint,
        host: &str,
        identity: Option<&Identity>,
        trust: Trust,
    ) -> (Session, Rc<Control>) {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, endpoint.port())).expect("a connection");
        let control = Control::until(Instant::now() + Duration::from_secs(20));
        let transport = TcpTransport::new(stream, control.clone(), Rc::new(RefCell::new(SilentListener)), |_| None)
            .expect("a transport");
        let options = Options { host, server_name: Some(host), versions: None, identity, trust, alpn: &[] };
        (Session::new(Box::new(transport), options).expect("a session"), control)
    }

    fn trust(&self) -> Trust {
        Trust::These(vec![self.authority.certificate.clone()])
    }
}

fn chain(facts: &SessionFacts) -> usize {
    facts.peer_chain.len()
}

#[test]
fn both_versions_report_the_same_facts() {
    let lab = Lab::new();
    let identity = lab.identity();
    for options in [lab.peer().tls12(), lab.peer().tls13()] {
        let endpoint = Endpoint::start(options).expect("a server");
        let mut session = lab.session(&endpoint, "localhost", Some(&identity), lab.trust());
        session.handshake().expect("a handshake");
        let facts = session.facts();
        assert_eq!(facts.decision, Some(Ok(())));
        assert!(chain(&facts) >= 1 && facts.objections.is_empty(), "{facts:?}");
        let names = facts.asked_for_certificate.as_ref().expect("the server asks");
        assert!(names.iter().any(|name| name.text.starts_with("CN=CA,")), "{names:?}");
        assert_eq!((facts.gave_certificate, facts.sent_certificate), (true, Some(true)));
        let channel = session.channel().expect("what was agreed");
        assert!([0x0303, 0x0304].contains(&channel.version) && channel.peer_key_bits >= 256, "{channel:?}");
    }
}

#[test]
fn a_client_without_a_certificate_sends_an_empty_one() {
    let lab = Lab::new();
    for (options, is_13) in [(lab.peer().tls12(), false), (lab.peer().tls13(), true)] {
        let endpoint = Endpoint::start(options).expect("a server");
        let mut session = lab.session(&endpoint, "localhost", None, lab.trust());
        let mut ended = session.handshake().err();
        if is_13 {
            // The refusal comes after the handshake.
            ended = session.read(&mut [0; 100]).err();
        }
        let facts = session.facts();
        assert_eq!((facts.gave_certificate, facts.sent_certificate), (false, Some(false)), "{facts:?}");
        assert!(facts.alerts.iter().any(|alert| !alert.sent && alert.level == 2), "{facts:?} {ended:?}");
    }
}

#[test]
fn every_objection_is_reported_and_the_first_one_decides() {
    let lab = Lab::new();
    let other = Issued::self_signed(&Spec::new("other", Usage::Authority).key(KeyKind::Ec)).expect("a CA");
    for options in [lab.peer().tls12(), lab.peer().tls13()] {
        let endpoint = Endpoint::start(options).expect("a server");
        let trust = Trust::These(vec![other.certificate.clone()]);
        let mut session = lab.session(&endpoint, "elsewhere.example", None, trust);
        let error = session.handshake().expect_err("nobody trusts it");
        assert!(matches!(error.code, Code::Verify(_)), "{error:?}");
        let facts = session.facts();
        assert!(matches!(&facts.decision, Some(Err(decision)) if decision.code == error.code), "{facts:?}");
        assert!(facts.objections.len() >= 2 && facts.name_error.is_some(), "{facts:?}");
        assert_eq!(facts.sent_certificate, None, "nothing goes to a peer that is refused");
        assert!(session.channel().is_none());
    }
}

#[test]
fn the_host_name_is_verified() {
    let lab = Lab::new();
    let endpoint = Endpoint::start(lab.peer()).expect("a server");
    let mut session = lab.session(&endpoint, "elsewhere.example", None, lab.trust());
    assert_eq!(session.handshake().expect_err("another name").code, Code::Verify(62));
    drop(session);
    let mut session = lab.session(&endpoint, "localhost.", Some(&lab.identity()), lab.trust());
    session.handshake().expect("a name may end with the root");
}

#[test]
fn peer_actions_are_distinguished_from_peer_messages() {
    let lab = Lab::new();
    let answers: [(Behaviour, Kind, Option<u8>); 3] = [
        (Behaviour::Answer(Vec::new(), Leave::Close), Kind::Ended, None),
        (Behaviour::Answer(fatal_alert(40).to_vec(), Leave::Close), Kind::Other, Some(40)),
        (Behaviour::Answer(Vec::new(), Leave::Reset), Kind::Reset, None),
    ];
    for (behaviour, kind, alert) in answers {
        let endpoint = Endpoint::start(lab.peer().behaving(behaviour)).expect("a server");
        let mut session = lab.session(&endpoint, "localhost", None, lab.trust());
        let error = session.handshake().expect_err("no handshake");
        assert_eq!(error.kind, kind, "{error:?}");
        let told = session.facts().alerts.iter().find(|alert| !alert.sent).map(|alert| alert.description);
        assert_eq!(told, alert);
    }
}

/// OpenSSL keeps the errors of a thread in one queue (ERR_get_error(3)), and takes one left there for that of the session.
#[test]
fn an_error_of_another_call_is_no_error_of_the_session() {
    let lab = Lab::new();
    let signed = Issued::self_signed(&Spec::new("CA", Usage::Authority).key(KeyKind::Rsa(2048))).expect("a CA");
    let other = Issued::self_signed(&Spec::new("CA", Usage::Authority).key(KeyKind::Rsa(2048))).expect("a CA");
    let endpoint = Endpoint::start(lab.peer().tls12()).expect("a server");
    let (mut session, control) = lab.controlled_session(&endpoint, "localhost", Some(&lab.identity()), lab.trust());
    session.handshake().expect("a handshake");
    control.set_deadline(Instant::now() + Duration::from_millis(50));
    assert!(!signed.certificate.verify(&other.key).expect("a result"));
    let error = session.read(&mut [0; 16]).expect_err("nothing to read");
    assert_eq!(error.kind, Kind::TimedOut, "{error:?}");
}
