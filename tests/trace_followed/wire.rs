//! What the tracer records of the bytes on a watched socket, and of names: verified in the events themselves.

use std::process::{Command, Stdio};

use nssight_tracer::event::{Event, Function, Phase};

use super::common::trace::Settings;
use super::*;

/// A session over one end of a connection, whose other end is `peer`; and functions that send bytes through it.
const SESSION: &str = "
import socket
for function in (nss.PR_ImportTCPSocket, nss.SSL_ImportFD): function.restype = ctypes.c_void_p
nss.SSL_ImportFD.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
nss.SSL_ResetHandshake.argtypes = (ctypes.c_void_p, ctypes.c_int)
nss.SSL_OptionSet.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
nss.PR_Recv.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_uint)
nss.recv.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
nss.recv.restype = ctypes.c_ssize_t
nss.NSS_NoDB_Init(None)
listener = socket.create_server(('127.0.0.1', 0))
def begin(least=0):
    global number, session
    import fcntl
    peer = socket.create_connection(listener.getsockname())
    ours = listener.accept()[0]
    number = fcntl.fcntl(ours.fileno(), fcntl.F_DUPFD, least)
    ours.close()
    session = nss.SSL_ImportFD(None, nss.PR_ImportTCPSocket(number))
    return peer
def receive(peer, said, flags=0):
    peer.sendall(said)
    room = ctypes.create_string_buffer(len(said))
    assert nss.recv(number, room, len(said), flags) == len(said)
";

fn events_of(script: &str) -> Vec<Event> {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", &format!("{NSS}{SESSION}{script}")]);
    let (status, events, lost) = watched(command);
    assert!(status.success() && lost == 0, "{status} {lost}");
    events
}

/// The recorded bytes of the wire, concatenated.
fn told(events: &[Event]) -> String {
    let bytes = events.iter().filter(|event| event.function == Function::wire_bytes).flat_map(|event| event.text());
    bytes.map(|byte| char::from(*byte)).collect()
}

#[test]
fn bytes_outside_the_session_are_not_recorded() {
    // A peer without TLS is reported.
    let events = events_of("receive(begin(), b'SSH-2.0-x')");
    assert_eq!(told(&events), "SSH-2.0-x");

    // Data after the TLS session is not recorded, nor data on a descriptor that has been reused by then.
    let record = "receive(peer, b'\\x16\\x03\\x01\\x00\\x05hello')";
    let events = events_of(&format!("peer = begin(); {record}; receive(peer, b'DB-PASSWORD=1')"));
    assert_eq!(told(&events), "\x16\x03\x01\0\x05hello");
    for replace in ["os.dup2(two.fileno(), number)", "os.closerange(number, number + 1); os.dup2(two.fileno(), number)"]
    {
        let events = events_of(&format!(
            "peer = begin(); one, two = socket.socketpair(); {replace}; receive(one, b'DB-PASSWORD=1')"
        ));
        assert_eq!(told(&events), "");
        let half = "receive(peer, b'\\x16\\x03\\x01\\x00\\x50hello')";
        let events = events_of(&format!(
            "peer = begin(); one, two = socket.socketpair(); {half}; {replace}; receive(one, b'DB-PASSWORD=1')"
        ));
        assert_eq!(told(&events), "\x16\x03\x01\0\x50hello");
    }
}

#[test]
fn a_session_begins_where_its_handshake_does() {
    let script = "
peer = begin()
receive(peer, b'HTTP/1.1 200 Connection established and much more than that\\r\\n' * 3)
nss.SSL_ResetHandshake(session, 0)
receive(peer, b'\\x16\\x03\\x01\\x00\\x05hello')
";
    assert!(told(&events_of(script)).ends_with("\x16\x03\x01\0\x05hello"));
}

#[test]
fn discarded_or_peeked_bytes_are_not_recorded_as_read() {
    const DISCARDING_READER: &str = "
peer = begin()
peer.sendall(b'12345678')
time.sleep(0.1)
assert nss.recv(number, None, 5, 0x20) == 5
assert nss.recv(number, ctypes.create_string_buffer(3), 3, 0x20) == 3
";
    assert_eq!(told(&events_of(DISCARDING_READER)), "");
    // SSL_SECURITY is off: NSPR's functions go directly to the socket.
    let look = "
peer = begin()
nss.SSL_OptionSet(session, 1, 0)
peer.sendall(b'\\x80\\x00\\x00\\x05')
room = ctypes.create_string_buffer(4)
assert nss.PR_Recv(session, room, 4, 2, 1000000) == 4
assert nss.PR_Recv(session, room, 4, 0, 1000000) == 4
";
    let events = events_of(look);
    let chunks: Vec<_> = events.iter().filter(|event| event.function == Function::chunk).collect();
    assert!(matches!(chunks.as_slice(), [chunk] if chunk.number == 5), "{chunks:?}");
}

#[test]
fn a_session_that_is_not_watched_is_named() {
    let script = "
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
begin(5000)
";
    let events = events_of(script);
    let lost = events.iter().find(|event| event.function == Function::lost).expect("it is said");
    assert_eq!(String::from_utf8_lossy(lost.text()), "the wire of a session on descriptor 5000");
}

#[test]
fn a_pin_in_a_nickname_is_not_recorded() {
    let events = events_of(
        "nss.PK11_FindCertFromNickname(b'pkcs11:object=web?PIN-value=hunter2;x&pin-source=/run/pin&a=b', None)",
    );
    let found = events.iter().find(|event| event.function == Function::PK11_FindCertFromNickname).unwrap();
    assert_eq!(String::from_utf8_lossy(found.text()), "pkcs11:object=web?PIN-value=&pin-source=&a=b");
}

/// tstclnt's hook returns SECWouldBlock and completes the authentication later.
#[test]
fn a_deferred_decision_is_not_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql).unwrap();
    let settings = Settings::of(&lab);
    // The program would wait for a server that sends first.
    let mut command = Command::new("timeout");
    command.args(["2", "tstclnt", "-4", "-Q", "-V", "tls1.2:tls1.2", "-d", &settings.database]);
    command.args(["-W", &settings.password_file(&lab), "-n", &settings.nickname]);
    command.args(["-h", &settings.host, "-p", &settings.port]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (_, events, _) = watched(command);
    let asked: Vec<_> = events
        .iter()
        .filter(|event| event.function == Function::auth_certificate_hook && event.phase != Phase::Enter)
        .map(|event| (event.phase, event.result, event.extra, event.error))
        .collect();
    assert_eq!(asked, [(Phase::Done, -2, 1, 0)]);
    let complete =
        |event: &&Event| event.function == Function::SSL_AuthCertificateComplete && event.phase == Phase::Done;
    let complete: Vec<_> = events.iter().filter(complete).map(|event| event.number).collect();
    assert_eq!(complete, [0]);
}
