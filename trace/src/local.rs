//! The calls before the first byte of TLS: database, password, certificate, key, name, connection.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nssight_diagnosis::fact::fact;
use nssight_diagnosis::signal::{Library, Signal, signal};
use nssight_diagnosis::{Layer, Notes, Outcome};
use nssight_nss::{ErrorCode, NssError, Step};
use nssight_probes::error_info;
use nssight_probes::probe::nss_db::salt_too_new;
use nssight_tracer::event::{Event, Function, Phase, Purpose};

use crate::address;
use crate::layers::LEAST_WAIT_FOR_SILENCE;
use crate::overcome::Later;
use crate::process::Nss;
use crate::story::{Call, Story};

/// The layer that a call belongs to by itself, if any; a call on a session belongs to the layer of the session.
pub(crate) fn layer(function: Function) -> Option<Layer> {
    match function.purpose() {
        Purpose::Start | Purpose::End | Purpose::Module => Some(Layer::NssDb),
        Purpose::Password => Some(Layer::Password),
        Purpose::Certificate => Some(Layer::Certificate),
        Purpose::Key => Some(Layer::PrivateKey),
        Purpose::Name => Some(Layer::Resolve),
        Purpose::Connection => Some(Layer::Tcp),
        Purpose::Process | Purpose::Execute => Some(Layer::ProcessModel),
        Purpose::Session | Purpose::Socket | Purpose::Lost => None,
    }
}

/// Which process initialised the NSS that each process uses. Calls that start or end processes are never a failing
/// layer.
pub(crate) fn process_model(story: &Story) -> Option<Outcome> {
    let users = || story.processes.iter().filter(|process| process.nss != Nss::No);
    users().next()?;
    let mut notes = Notes::default();
    let threads = users().map(|process| process.threads.len()).sum::<usize>();
    notes.put(fact::MODEL_PROCESSES.text(format!("{} of {}", users().count(), story.processes.len())));
    notes.put(fact::MODEL_THREADS.number(threads));
    match users().find(|process| process.nss == (Nss::Inherited { used: true })) {
        Some(process) => {
            notes.put(fact::ModelNssInherited::Used);
            let summary = format!("process {} uses NSS that was initialised before the fork", process.pid);
            Some(notes.warn(signal::PROCESS_MODEL, summary))
        }
        None => {
            notes.put(fact::ModelNssInherited::No);
            Some(notes.pass("every process that uses NSS initialised it itself"))
        }
    }
}

/// The finding on one of these layers; `None` if no call belongs to it. A failure that the program recovered from does
/// not count.
pub(crate) fn finding(story: &Story, layer: Layer, is_bad: bool) -> Option<Outcome> {
    let calls: Vec<&Call> = story.calls.iter().filter(|call| self::layer(call.event.function) == Some(layer)).collect();
    let last = calls.iter().rev().find(|call| call.event.phase != Phase::Note && counts(&call.event))?;
    let mut failures = calls.iter().rev().filter(|call| call.failed() && counts(&call.event)).peekable();
    let later = failures.peek().map(|_| Later::of(story));
    let failed = later.and_then(|later| failures.find(|call| !later.overcomes(layer, call)));
    if let (Some(failed), true) = (failed, is_bad) {
        return Some(failure(story, layer, failed));
    }
    if let (Layer::Tcp, true, true) = (layer, is_bad, last.open && story.waited(last) >= LEAST_WAIT_FOR_SILENCE) {
        let mut notes = Notes::default();
        notes.put(fact::TRACE_FAILED_CALL.text(describe(story, last)));
        notes.put(fact::NameSource::Unseen);
        notes.put(fact::TcpState::NoAnswer);
        let waited = story.waited(last).as_secs_f64();
        let summary = format!("the connection was not established within {waited:.1} s, and the program was ended");
        return Some(notes.fail(signal::CONNECT_TIMEOUT, summary));
    }
    let mut notes = Notes::default();
    notes.put(fact::TRACE_CALLS.number(calls.iter().map(|call| call.count).sum::<u64>()));
    notes.put(fact::TRACE_LAST_CALL.text(describe(story, last)));
    Some(match last.event.phase {
        Phase::Failed if last.failed() => {
            notes.pass(format!("{} failed, and the program continued", last.event.function))
        }
        Phase::Failed => notes.pass(format!("{} is in progress (non-blocking)", last.event.function)),
        _ => notes.pass(format!("{} succeeded", last.event.function)),
    })
}

/// Time spent in calls of a layer that the program itself made, in nanoseconds.
pub(crate) fn took_ns(story: &Story, layer: Layer) -> u64 {
    let calls = story.calls.iter().filter(|call| call.event.depth == 0);
    calls.filter(|call| self::layer(call.event.function) == Some(layer)).map(|call| call.event.took_ns).sum()
}

/// Whether a call counts: a call without a result has not necessarily failed.
pub(crate) fn counts(event: &Event) -> bool {
    match event.function.purpose() {
        // A socket of a sandbox, a name service or a log: not the connection for TLS.
        Purpose::Connection if event.function == Function::connect => {
            address::ends(event.text()).is_some_and(|ends| !ends.is_local)
        }
        // python-nss and others try to load a module of root certificates under several names, and continue without it.
        Purpose::Module | Purpose::End => false,
        Purpose::Start
        | Purpose::Password
        | Purpose::Certificate
        | Purpose::Key
        | Purpose::Name
        | Purpose::Connection
        | Purpose::Session
        | Purpose::Process
        | Purpose::Execute
        | Purpose::Socket
        | Purpose::Lost => true,
    }
}

/// The signal of a failed call that the program did not recover from.
fn failure(story: &Story, layer: Layer, failed: &Call) -> Outcome {
    let mut notes = Notes::default();
    notes.put(fact::TRACE_FAILED_CALL.text(describe(story, failed)));
    if failed.event.length > 0 && failed.event.function != Function::connect {
        notes.put(fact::TRACE_ASKED_FOR.text(failed.text()));
    }
    let shown = Signal::of_nss(failed.code().0);
    let inherited = story.processes.get(failed.process).is_some_and(|process| is_inherited(process.nss));
    match (inherited, shown == signal::DEVICE_ERROR) {
        (true, true) => notes.put(fact::ModelNssInherited::Failed),
        (true, false) => notes.put(fact::ModelNssInherited::Used),
        (false, true) => notes.put(fact::ModelNssInherited::No),
        (false, false) => {}
    }
    let (shown, summary) = match layer {
        _ if inherited && shown == signal::DEVICE_ERROR => {
            (shown, "NSS was initialised before the fork, and its token does not work after it")
        }
        Layer::NssDb => (database(shown), "NSS could not open this database"),
        Layer::Password => password(story, failed, shown, &mut notes),
        Layer::Certificate => {
            notes.put(fact::OurCertificateLookedUp::NotFound);
            (signal::CERTIFICATE_NOT_FOUND, "the program found no certificate with the requested nickname")
        }
        Layer::PrivateKey if signs(failed.event.function) => {
            (signal::KEY_CANNOT_SIGN, "the program's private key could not sign")
        }
        Layer::PrivateKey => {
            notes.put(fact::PrivateKeyLookedUp::NotFound);
            (signal::NO_CERTIFICATE_OR_KEY, "the program found no key for its certificate")
        }
        Layer::Resolve => {
            notes.put(fact::NameState::NoAddress);
            (signal::NAME_NOT_FOUND, "the name has no address")
        }
        _ => connection(failed, &mut notes),
    };
    let outcome = notes.fail(shown, summary);
    if failed.event.error == 0 {
        outcome
    } else {
        outcome.error(error_info::of(&NssError::of(Step::Function(failed.event.function.name()), failed.code())))
    }
}

fn is_inherited(nss: Nss) -> bool {
    match nss {
        Nss::Inherited { .. } => true,
        Nss::No | Nss::Own => false,
    }
}

fn signs(function: Function) -> bool {
    matches!(function, Function::PK11_Sign | Function::PK11_SignWithMechanism)
}

/// NSS's own error if it is about the database; otherwise a failed initialisation.
fn database(shown: Signal) -> Signal {
    match shown {
        signal::DATABASE_BAD
        | signal::DATABASE_LEGACY
        | signal::DATABASE_IO
        | signal::DATABASE_READ_ONLY
        | signal::DEVICE_ERROR
        | signal::LIBRARY_NOT_LOADED => shown,
        _ => signal::DATABASE_UNUSABLE,
    }
}

/// The error of connect(2) if this host, or an IPv6 network, prohibits a connection.
const EPERM: i32 = 1;
const EACCES: i32 = 13;

/// The failure of the program's connection.
fn connection(failed: &Call, notes: &mut Notes) -> (Signal, &'static str) {
    notes.put(fact::NameSource::Unseen);
    let of_system = Signal::of_code(Library::Errno, i64::from(failed.event.os_error));
    let of_nspr = (failed.event.error != 0).then(|| Signal::of_nss(failed.event.error));
    let (state, shown, summary) = match of_nspr.or(of_system) {
        Some(signal::REFUSED) => (fact::TcpState::Refused, signal::REFUSED, "the connection was refused"),
        // NSPR polls for the end of a connect, and reports the result as a reset; a reset in answer to a SYN is a
        // refusal (RFC 9293, 3.10.7.3).
        Some(signal::RESET) => {
            (fact::TcpState::Refused, signal::RESET, "the connection was refused, which NSPR reports as a reset")
        }
        Some(signal::CONNECT_TIMEOUT | signal::SILENCE) => {
            (fact::TcpState::NoAnswer, signal::CONNECT_TIMEOUT, "the connection was not established in time")
        }
        Some(signal::UNREACHABLE) => {
            (fact::TcpState::Unreachable, signal::UNREACHABLE, "the connection was not established")
        }
        _ if [EPERM, EACCES].contains(&failed.event.os_error) => {
            (fact::TcpState::Forbidden, signal::UNREACHABLE, "the connection was not allowed")
        }
        Some(signal::NO_LOCAL_PORT) => {
            (fact::TcpState::FailedOtherwise, signal::NO_LOCAL_PORT, "the connection was not established")
        }
        _ => (fact::TcpState::FailedOtherwise, signal::UNREACHABLE, "the connection was not established"),
    };
    notes.put(state);
    (shown, summary)
}

/// The calls of the callback before NSS gave up distinguish a wrong password from a missing one.
fn password(story: &Story, failed: &Call, shown: Signal, notes: &mut Notes) -> (Signal, &'static str) {
    let shown = match shown {
        signal::BAD_PASSWORD | signal::DATABASE_IO => shown,
        _ => signal::LOGIN_FAILED,
    };
    if matches!(failed.event.function, Function::PK11_CheckUserPassword | Function::PK11_InitPin) {
        return (shown, "NSS rejected the program's password");
    }
    let mine = |call: &&Call| call.process == failed.process && call.event.tid == failed.event.tid;
    let asked = story.calls.iter().filter(mine).filter(|call| call.event.function == Function::password_callback);
    let first = asked.clone().find(|call| call.event.number == 0 && call.event.phase != Phase::Enter);
    let gave = asked.clone().any(|call| call.event.phase == Phase::Done);
    let said = format!("called {} times, returned {}", asked.count(), if gave { "something" } else { "nothing" });
    notes.put(fact::PASSWORD_CALLBACK_CALLS.text(said));
    let set_by = story.processes.get(failed.process).and_then(|process| process.callback_set_by);
    let (did, summary) = match (first, gave, set_by) {
        (_, true, _) => (fact::PasswordCallback::AskedAndGave, "the callback returned a password, but NSS rejected it"),
        (Some(_), false, Some(tid)) if tid != failed.event.tid => {
            (fact::PasswordCallback::OtherThread, "the callback returned nothing in a thread that had not set it")
        }
        (Some(_), ..) => (fact::PasswordCallback::AskedAndGaveNone, "the callback was called, but returned nothing"),
        (None, ..) => (fact::PasswordCallback::NeverAsked, "a password was needed, but no callback was called"),
    };
    notes.put(did);
    if let Some(length) = database_of(story, failed.process, failed.event.at_ns)
        .filter(|_| gave)
        .and_then(|argument| salt_too_new(&argument))
    {
        notes.put(fact::PASSWORD_SALT.text(format!("{length} bytes")));
        notes.put(fact::PasswordState::SaltTooNewUnverified);
    }
    (shown, summary)
}

/// The database that the process gave to NSS until then, or that the process did from which it inherited NSS.
pub(crate) fn database_of(story: &Story, process: usize, until_ns: u64) -> Option<OsString> {
    let starts = || {
        let done = story.calls.iter().filter(|call| call.event.phase == Phase::Done && call.event.length > 0);
        done.filter(|call| call.event.function.purpose() == Purpose::Start && call.event.at_ns <= until_ns)
    };
    let own = starts().rfind(|call| call.process == process).or_else(|| starts().next_back());
    own.map(|call| OsStr::from_bytes(call.event.text()).to_owned())
}

/// A call in one line: function, place, time, and result.
pub(crate) fn describe(story: &Story, call: &Call) -> String {
    let event = &call.event;
    let at = event.at_ns.saturating_sub(story.from_ns) as f64 / 1e6;
    let how = match (event.phase, event.error, event.os_error) {
        _ if call.open => "did not return".to_owned(),
        (Phase::Failed, 0, 0) => "failed".to_owned(),
        (Phase::Failed, 0, os_error) => std::io::Error::from_raw_os_error(os_error).to_string(),
        (Phase::Failed, error, _) => {
            NssError::of(Step::Function(event.function.name()), ErrorCode(error)).name.to_string()
        }
        _ => "succeeded".to_owned(),
    };
    format!("{} in process {}, thread {}, at {at:.1} ms: {how}", event.function, event.pid, event.tid)
}
