//! nssight itself: a diagnosis up to the handshake.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use nssight_diagnosis::fact::{Word, fact};
use nssight_diagnosis::{Layer, Status};
use nssight_probes::Report;
use nssight_probes::target::{Engine, Files};

use super::attempt::{Attempt, Job, Outcome, release_of};

pub(super) fn attempt(job: &Job<'_>) -> io::Result<Attempt> {
    let attempt = Attempt::new("nssight", true, "NSS_Initialize, read-only", "callback");
    let mut words = vec!["--password-stdin".into(), "--db".into(), job.target.argument().to_owned()];
    words.extend(["--bridge".into(), job.peer().to_string().into()]);
    run(job, words, attempt)
}

/// As above, with certificates in files, and with either library.
pub(super) fn with_files(job: &Job<'_>, files: &Files, engine: Engine) -> io::Result<Attempt> {
    let (name, library) = match engine {
        Engine::Openssl => ("nssight", "openssl"),
        Engine::Nss => ("nssight over NSS", "nss"),
    };
    let attempt = Attempt::new(name, engine == Engine::Nss, "files read by nssight", "tried on the files");
    let mut words: Vec<OsString> = vec![job.peer().to_string().into(), "--engine".into(), library.into()];
    words.extend(files.options().flat_map(|(option, file)| [option.into(), file.into()]));
    words.extend(job.password.map(|_| "--password-stdin".into()));
    run(job, words, attempt)
}

fn run(job: &Job<'_>, words: Vec<OsString>, mut attempt: Attempt) -> io::Result<Attempt> {
    let target = job.target;
    let mut command = Command::new("/proc/self/exe");
    command.args(["diagnose", "--until", "outer-handshake", "--format", "json"]).args(words);
    command.args(["--timeout", &target.timeout.as_secs_f64().to_string(), "--allow-disruption"]);
    command.args(["--tls-min", &target.tls.value.0.to_string(), "--tls-max", &target.tls.value.1.to_string()]);
    command.args(target.load_modules.then_some("--load-modules"));
    if let Some(nickname) = target.nickname() {
        command.arg(format!("--nickname={}", nickname.value));
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let (Some(mut stdin), Some(password)) = (child.stdin.take(), job.password) {
        // The reader removes one line end.
        let _ = stdin.write_all(password).and_then(|()| stdin.write_all(b"\n"));
    }
    let output = child.wait_with_output()?;
    let report: Report = serde_json::from_slice(&output.stdout).map_err(|error| {
        io::Error::other(format!(
            "{error}: {}",
            String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default()
        ))
    })?;
    attempt.library =
        if attempt.uses_nss { format!("NSS {}", report.tool.nss) } else { release_of(openssl::version::version()) };
    let passed =
        |layer| report.probes.iter().any(|it| it.layer == layer && matches!(it.status, Status::Pass | Status::Warn));
    attempt.connected = passed(Layer::Tcp);
    attempt.handshake = passed(Layer::OuterHandshake);
    let mut facts = report.probes.iter().flat_map(|finding| &finding.facts);
    let word = facts.find(|fact| fact.id == fact::PeerAcceptedUs::FACT).and_then(|fact| fact.word());
    attempt.confirmed = word.map(|word| word != "unconfirmed");
    let handshake = report.probes.iter().find(|finding| finding.layer == Layer::OuterHandshake);
    let agreed = handshake.and_then(|finding| finding.fact(fact::SESSION_AGREED.0));
    attempt.agreed = agreed.map(|fact| fact.text().into_owned());
    if let Some(failed) = report.probes.iter().find(|finding| finding.status == Status::Fail) {
        let cause = failed.cause.map(|cause| cause.id()).unwrap_or_default();
        attempt.error = Some(format!("{} {cause}: {}", failed.layer, failed.summary));
        if matches!(failed.layer, Layer::Tcp | Layer::Resolve) {
            attempt.outcome = Outcome::FailedToConnect;
        }
    }
    attempt.settle();
    Ok(attempt)
}
