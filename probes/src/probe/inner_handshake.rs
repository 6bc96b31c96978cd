//! `inner-handshake`: TLS between client and server, through the bridge.

use std::time::{Duration, Instant};

use nssight_nss::{ErrorCode, HandshakeFacts, NssError};

use crate::catalogue::Cause;
use crate::finding::{Notes, Outcome};
use crate::handshake::{Judgement, Trouble};
use crate::plan::Probe;
use crate::session_notes::{FailedSession, note_peer, note_request};
use crate::target::TlsVersion;
use crate::vocabulary::{CertificateRole, Confidence, Layer};
use crate::walk::{InnerSession, Walk};

/// The session was begun by `bridge`.
pub const PROBE: Probe = Probe {
    layer: Layer::InnerHandshake,
    needs: &[Layer::Config, Layer::PrivateKey, Layer::OuterHandshake, Layer::Bridge],
    causes: &[
        Cause::ServerCertUntrusted,
        Cause::ServerCertExpired,
        Cause::ServerCertName,
        Cause::ServerCertUsage,
        Cause::ServerCertWeak,
        Cause::InnerClientCertRejected,
        Cause::InnerTlsVersion,
        Cause::InnerClosed,
        Cause::InnerNotTls,
        Cause::ServerStalled,
        Cause::TlsPolicyBlocked,
        Cause::KeyUnusable,
    ],
    run,
};

/// In TLS 1.3 the server's word on our certificate is waited for as long as this, when no request follows.
const PATIENCE: Duration = Duration::from_millis(500);

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let (Some(mut inner), Some(tunnel)) = (walk.inner.take(), walk.tunnel.clone()) else {
        return notes.skip("there is no inner session");
    };
    let host = walk.target().server.as_ref().map(|server| server.value.clone()).unwrap_or_default();
    tunnel.borrow().set_deadline(walk.deadline);
    inner.waits.set(true);
    let result = inner.client.handshake().and_then(|()| {
        let is_13 = inner.client.channel().is_some_and(|channel| channel.version >= TlsVersion::Tls13.wire());
        match is_13 && walk.admin_password.is_none() {
            true => {
                tunnel.borrow().set_deadline(Instant::now() + PATIENCE);
                wait_for_a_word(&mut inner)
            }
            false => Ok(()),
        }
    });
    let facts = inner.client.facts();
    walk.meet_peer(CertificateRole::Server, &facts.peer_chain);
    match (result, inner.client.channel()) {
        (Ok(()), Some(channel)) => {
            let version = TlsVersion::name_of(channel.version);
            notes.add("agreed", format!("{version}, {}", channel.suite_name));
            note_peer(&facts, &mut notes);
            note_request(&facts, &walk.our_cas(), &mut notes);
            walk.inner = Some(inner);
            notes.pass(format!("{version} with {host} through the bridge, trusted in both directions"))
        }
        (Ok(()), None) => {
            notes.fail(Cause::InnerClosed, Confidence::Possible, "the inner handshake ended without a session")
        }
        (Err(error), _) => failed(walk, &inner, &host, &error, &facts, notes),
    }
}

/// A refusal shows as an error of a read; silence says nothing.
fn wait_for_a_word(inner: &mut InnerSession) -> Result<(), NssError> {
    match inner.client.read(&mut [0; 1024]) {
        Err(error) if error.code == ErrorCode::PR_IO_TIMEOUT_ERROR => Ok(()),
        Err(error) => Err(error),
        Ok(0) => Err(NssError::of("wait for the server's word on our certificate", ErrorCode::PR_END_OF_FILE_ERROR)),
        Ok(_) => Ok(()),
    }
}

fn failed(
    walk: &Walk<'_>,
    inner: &InnerSession,
    host: &str,
    error: &NssError,
    facts: &HandshakeFacts,
    mut notes: Notes,
) -> Outcome {
    notes.add(
        "outer session",
        "passed with the same certificate, key, password and database: none of them is to blame here",
    );
    let log = inner.log.borrow();
    let our_cas = walk.our_cas();
    let took = inner.began.elapsed();
    let failed = FailedSession { peer: "the server", host, error, facts, log: &log, took, our_cas: &our_cas };
    let Judgement { trouble, confidence, summary } = failed.judge(&mut notes);
    let alert = facts.alerts.iter().any(|alert| !alert.sent && alert.description != 0);
    match cause(trouble, alert) {
        Some(cause) => notes.fail(cause, confidence, summary).error(error),
        None => {
            notes.add("alternative", "inner-client-cert-rejected, by a server that ends without an alert");
            let summary = "the server's side went away in the middle of the inner handshake";
            notes.fail(Cause::InnerClosed, Confidence::Likely, summary).error(error)
        }
    }
}

/// The cause of a failed inner handshake. A server that refuses a certificate says so in an alert, and the bridge passes it
/// on: an end without one, which is `None`, means that the server's side went away, whatever it came after.
pub(crate) fn cause(trouble: Trouble, alert: bool) -> Option<Cause> {
    Some(match trouble {
        Trouble::PeerUntrusted => Cause::ServerCertUntrusted,
        Trouble::PeerExpired => Cause::ServerCertExpired,
        Trouble::PeerName => Cause::ServerCertName,
        Trouble::PeerUsage => Cause::ServerCertUsage,
        Trouble::PeerWeak => Cause::ServerCertWeak,
        Trouble::PolicyBlocked => Cause::TlsPolicyBlocked,
        Trouble::KeyUnusable => Cause::KeyUnusable,
        Trouble::NoCommonCipher | Trouble::VersionMismatch => Cause::InnerTlsVersion,
        Trouble::NotTls | Trouble::Garbled => Cause::InnerNotTls,
        Trouble::Silent | Trouble::Stalled | Trouble::TooSlow => Cause::ServerStalled,
        Trouble::CertificateExpired | Trouble::CertificateRevoked => Cause::InnerClientCertRejected,
        Trouble::CertificateRejected | Trouble::CertificateNotSent | Trouble::CaNotAcceptable => {
            return alert.then_some(Cause::InnerClientCertRejected);
        }
        Trouble::OtherAlert | Trouble::Closed | Trouble::Reset => Cause::InnerClosed,
    })
}
