//! The calls before the first byte of TLS: database, password, certificate, key, name, connection.

use nssight_nss::{ErrorCode, NssError};
use nssight_tracer::event::{Event, Function, Phase};

use super::address;
use super::overcome::is_overcome;
use super::process::Nss;
use super::story::{Call, Story, is_exec};
use crate::catalogue::Cause;
use crate::finding::{Notes, Outcome};
use crate::vocabulary::{Confidence, Layer};

/// ECONNREFUSED and ETIMEDOUT (errno(3)).
const REFUSED: i32 = 111;
const TIMED_OUT: i32 = 110;

/// The layer that a call belongs to, if it belongs to one before TLS.
pub(super) fn layer(function: Function) -> Option<Layer> {
    use Function as F;
    Some(match function {
        F::NSS_Init
        | F::NSS_InitReadWrite
        | F::NSS_Initialize
        | F::NSS_InitWithMerge
        | F::NSS_InitContext
        | F::NSS_NoDB_Init
        | F::NSS_Shutdown
        | F::NSS_ShutdownContext
        | F::SECMOD_LoadModule
        | F::SECMOD_LoadUserModule
        | F::SECMOD_UnloadUserModule
        | F::SECMOD_OpenUserDB
        | F::SECMOD_CloseUserDB
        | F::SECMOD_FindModule
        | F::SECMOD_AddNewModule => Layer::NssDb,
        F::PK11_SetPasswordFunc
        | F::PK11_Authenticate
        | F::PK11_CheckUserPassword
        | F::PK11_InitPin
        | F::password_callback => Layer::Password,
        F::PK11_FindCertFromNickname
        | F::PK11_FindCertsFromNickname
        | F::CERT_FindCertByNickname
        | F::CERT_FindCertByNicknameOrEmailAddr
        | F::CERT_FindUserCertByUsage => Layer::Certificate,
        F::PK11_FindKeyByAnyCert
        | F::PK11_FindPrivateKeyFromCert
        | F::PK11_FindKeyByDERCert
        | F::PK11_Sign
        | F::PK11_SignWithMechanism => Layer::PrivateKey,
        F::PR_GetAddrInfoByName | F::PR_GetHostByName => Layer::Resolve,
        F::PR_Connect | F::PR_ConnectContinue | F::connect => Layer::Tcp,
        F::fork
        | F::vfork
        | F::forked
        | F::started
        | F::posix_spawn
        | F::posix_spawnp
        | F::waitpid
        | F::wait
        | F::wait3
        | F::wait4
        | F::pthread_create
        | F::SECMOD_RestartModules => Layer::ProcessModel,
        _ if is_exec(function) => Layer::ProcessModel,
        _ => return None,
    })
}

/// Whose NSS the processes use. None of the calls that begin or end processes is a layer that fails.
pub(super) fn process_model(story: &Story) -> Option<Outcome> {
    let users = || story.processes.iter().filter(|process| process.nss != Nss::No);
    users().next()?;
    let mut notes = Notes::default();
    let threads = users().map(|process| process.threads.len()).sum::<usize>();
    notes.add("processes with NSS", format!("{} of {}", users().count(), story.processes.len()));
    notes.add("threads in them", threads);
    match users().find(|process| process.nss == (Nss::Inherited { used: true })) {
        Some(process) => {
            let summary = format!("process {} uses NSS that was started before the fork", process.pid);
            Some(notes.warn(Cause::ForkDuplicatesRandomness, summary))
        }
        None => Some(notes.pass("every process that uses NSS has started it itself")),
    }
}

/// The finding on one of these layers; `None` if no call belongs to it. A failure that the program got over is none.
pub(super) fn finding(story: &Story, layer: Layer, is_bad: bool) -> Option<Outcome> {
    let calls: Vec<&Call> = story.calls.iter().filter(|call| self::layer(call.event.function) == Some(layer)).collect();
    let last = calls.iter().rev().find(|call| call.event.phase != Phase::Note && counts(&call.event))?;
    let failed =
        calls.iter().rev().find(|call| call.failed() && counts(&call.event) && !is_overcome(story, layer, call));
    if let (Some(failed), true) = (failed, is_bad) {
        return Some(judge(story, layer, failed));
    }
    let mut notes = Notes::default();
    notes.add("calls", calls.iter().map(|call| call.count).sum::<u64>());
    notes.add("last call", describe(story, last));
    Some(match last.event.phase {
        Phase::Failed if last.failed() => {
            notes.pass(format!("{} came back with nothing, and the program went on", last.event.function))
        }
        Phase::Failed => notes.pass(format!("{} did not wait, as the program wants it", last.event.function)),
        _ => notes.pass(format!("{} came back well", last.event.function)),
    })
}

/// Time in the calls of a layer that the program itself made, in nanoseconds.
pub(super) fn took_ns(story: &Story, layer: Layer) -> u64 {
    let calls = story.calls.iter().filter(|call| call.event.depth == 0);
    calls.filter(|call| self::layer(call.event.function) == Some(layer)).map(|call| call.event.took_ns).sum()
}

/// Not every call that comes back with nothing has failed.
pub(super) fn counts(event: &Event) -> bool {
    match event.function {
        // A sandbox's socket, a name service, a log: not the connection that TLS goes over.
        Function::connect => address::ends(event.text()).is_some_and(|ends| !ends.is_local),
        // python-nss and others try a module of root certificates under several names, and go on without it.
        _ if event.function.name().starts_with("SECMOD_") => false,
        Function::NSS_Shutdown | Function::NSS_ShutdownContext => false,
        _ => true,
    }
}

fn judge(story: &Story, layer: Layer, failed: &Call) -> Outcome {
    let mut notes = Notes::default();
    notes.add("failed call", describe(story, failed));
    if failed.event.length > 0 && failed.event.function != Function::connect {
        notes.add("asked for", failed.text());
    }
    let code = failed.code();
    let (cause, confidence, summary) = match layer {
        _ if inherited(story, failed) && code == ErrorCode::SEC_ERROR_PKCS11_DEVICE_ERROR => (
            Cause::ForkBreaksNss,
            Confidence::Likely,
            "NSS was started before the fork, and its token is dead after it",
        ),
        Layer::NssDb => (Cause::DbMissing, Confidence::Possible, "NSS did not start on this database"),
        Layer::Password => password(story, failed, &mut notes),
        Layer::Certificate => (
            Cause::CertNotFound,
            Confidence::Likely,
            "the program found no certificate under the nickname it asked for",
        ),
        Layer::PrivateKey => (Cause::KeyMissing, Confidence::Likely, "the program found no key for its certificate"),
        Layer::Resolve => (Cause::NameUnresolved, Confidence::Certain, "the name has no address"),
        _ if failed.event.os_error == REFUSED || code == ErrorCode::PR_CONNECT_REFUSED_ERROR => {
            (Cause::TcpRefused, Confidence::Certain, "the connection was refused")
        }
        // NSPR polls for the end of a connect, and calls what it finds a reset; a reset that answers a SYN is a refusal
        // (RFC 9293, 3.10.7.3).
        _ if code == ErrorCode::PR_CONNECT_RESET_ERROR => {
            (Cause::TcpRefused, Confidence::Certain, "the connection was refused, which NSPR calls a reset")
        }
        _ if failed.event.os_error == TIMED_OUT || code == ErrorCode::PR_IO_TIMEOUT_ERROR => {
            (Cause::TcpTimeout, Confidence::Certain, "the connection did not come up in time")
        }
        _ => (Cause::TcpUnreachable, Confidence::Likely, "the connection did not come up"),
    };
    let outcome = notes.fail(cause, confidence, summary);
    if failed.event.error == 0 { outcome } else { outcome.error(&NssError::of(failed.event.function.name(), code)) }
}

fn inherited(story: &Story, call: &Call) -> bool {
    story.processes.get(call.process).is_some_and(|process| matches!(process.nss, Nss::Inherited { .. }))
}

/// What the callback did before NSS gave up tells a wrong password from a missing one.
fn password(story: &Story, failed: &Call, notes: &mut Notes) -> (Cause, Confidence, &'static str) {
    let mine = |call: &&Call| call.process == failed.process && call.event.tid == failed.event.tid;
    let asked = story.calls.iter().filter(mine).filter(|call| call.event.function == Function::password_callback);
    let first = asked.clone().find(|call| call.event.number == 0 && call.event.phase != Phase::Enter);
    let gave = asked.clone().any(|call| call.event.phase == Phase::Done);
    notes.add(
        "password callback",
        format!("called {} times, gave {}", asked.count(), if gave { "something" } else { "nothing" }),
    );
    let set_by = story.processes.get(failed.process).and_then(|process| process.callback_set_by);
    match (first, gave, set_by) {
        (_, true, _) => {
            (Cause::PasswordWrong, Confidence::Certain, "the callback gave a password and NSS did not take it")
        }
        (Some(_), false, Some(tid)) if tid != failed.event.tid => (
            Cause::ThreadLosesPassword,
            Confidence::Certain,
            "the callback gave nothing in a thread that had not set it",
        ),
        (Some(_), ..) => (Cause::PasswordMissing, Confidence::Certain, "the callback was asked and gave nothing"),
        (None, ..) => {
            (Cause::PasswordMissing, Confidence::Likely, "a password was needed and no callback was asked for one")
        }
    }
}

/// A call in a line: what, where, when, and how it came out.
pub(super) fn describe(story: &Story, call: &Call) -> String {
    let event = &call.event;
    let at = event.at_ns.saturating_sub(story.from_ns) as f64 / 1e6;
    let how = match (event.phase, event.error, event.os_error) {
        _ if call.open => "never came back".to_owned(),
        (Phase::Failed, 0, 0) => "failed".to_owned(),
        (Phase::Failed, 0, os_error) => std::io::Error::from_raw_os_error(os_error).to_string(),
        (Phase::Failed, error, _) => NssError::of(event.function.name(), ErrorCode(error)).name.to_string(),
        _ => "well".to_owned(),
    };
    format!("{} in process {}, thread {}, at {at:.1} ms: {how}", event.function, event.pid, event.tid)
}
