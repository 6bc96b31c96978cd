//! `config`: is the configuration readable, complete and consistent?

use crate::catalogue::Cause;
use crate::finding::{Notes, Outcome};
use crate::plan::Probe;
use crate::target::{Setting, Target};
use crate::vocabulary::{Confidence, Layer};
use crate::walk::Walk;

/// The first layer.
pub const PROBE: Probe = Probe {
    layer: Layer::Config,
    needs: &[],
    causes: &[
        Cause::ConfigMissing,
        Cause::ConfigInvalid,
        Cause::ConfigUnreadable,
        Cause::ConfigWorldReadablePassword,
        Cause::WrongPort,
    ],
    run,
};

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let target = match &walk.settings.target {
        Ok(target) => target,
        Err(trouble) => return notes.fail(trouble.cause, Confidence::Certain, trouble.summary.clone()),
    };
    note_values(target, &mut notes);
    if let [first, rest @ ..] = walk.settings.warnings.as_slice() {
        for warning in rest {
            notes.add("also", &warning.summary);
        }
        return notes.warn(first.cause, first.summary.clone());
    }
    notes.pass(match target.config_files.as_slice() {
        [] => "everything needed was given by flags".to_owned(),
        files => files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    })
}

/// Every value with the place it came from.
fn note_values(target: &Target, notes: &mut Notes) {
    fn line<T>(value: impl ToString, setting: &Setting<T>) -> String {
        format!("{} ({})", value.to_string(), setting.origin)
    }
    notes.add("role", target.role);
    notes.add("database", line(target.database.value.argument.display(), &target.database));
    match &target.nickname {
        Some(nickname) => notes.add("nickname", line(&nickname.value, nickname)),
        None => notes.add("nickname", "not given: no client certificate is used"),
    }
    if let Some(bridge) = &target.bridge {
        notes.add("bridge", line(&bridge.value, bridge));
    }
    if let Some(server) = &target.server {
        notes.add("server", line(&server.value, server));
    }
    if let Some(user) = &target.user {
        notes.add("user", line(&user.value, user));
    }
    let (low, high) = target.tls.value;
    notes.add("TLS versions", line(format!("{low} to {high}"), &target.tls));
    notes.add("password", &target.password);
}
