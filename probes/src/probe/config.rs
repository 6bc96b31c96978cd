//! `config`: is the configuration readable, complete and consistent?

use nssight_diagnosis::fact::{Fact, fact};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome};

use std::path::PathBuf;

use crate::target::{Credentials, Files, Setting, Target};
use crate::walk::{Probe, Walk};

/// The first layer.
pub const PROBE: Probe = Probe { layer: Layer::Config, needs: &[], run };

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let target = match &walk.settings.target {
        Ok(target) => target,
        Err(trouble) => {
            notes.put(trouble.state);
            return notes.fail(signal::CONFIG_UNUSABLE, trouble.summary.clone());
        }
    };
    notes.put(fact::ConfigState::Usable);
    if let Some(kind) = target.profile().details().kind {
        notes.put(kind);
    }
    note_values(target, &mut notes);
    let warnings = &walk.settings.warnings;
    // With flags alone, no configuration is ignored.
    let mut quiet: Vec<Fact> = vec![fact::ConfigIgnored::None.into()];
    if !target.config_files.is_empty() {
        quiet.push(fact::ConfigPasswordExposed::No.into());
    }
    for fact in quiet.into_iter().filter(|quiet| warnings.iter().all(|warning| warning.fact.id != quiet.id)) {
        notes.put(fact);
    }
    if let [first, rest @ ..] = warnings.as_slice() {
        for warning in rest {
            notes.put(fact::CONFIG_REMARK.text(&warning.summary));
        }
        for fact in warnings.iter().flat_map(|warning| warning.more.iter().chain([&warning.fact])) {
            notes.put(fact.clone());
        }
        return notes.warn(signal::CONFIG_REMARK, first.summary.clone());
    }
    notes.pass(match target.config_files.as_slice() {
        [] => "no configuration file; the settings come from the command line".to_owned(),
        files => files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    })
}

fn line<T>(value: impl ToString, setting: &Setting<T>) -> String {
    format!("{} ({})", value.to_string(), setting.origin)
}

fn note_files(files: &Files, notes: &mut Notes) {
    let shown = |path: &Option<Setting<PathBuf>>| path.as_ref().map(|path| line(path.value.display(), path));
    let certificate = shown(&files.certificate);
    notes.put(
        fact::CONFIG_CERTIFICATE.text(certificate.as_deref().unwrap_or("not given: no client certificate is used")),
    );
    if let Some(key) = shown(&files.key) {
        notes.put(fact::CONFIG_KEY.text(key));
    }
    let authorities = [shown(&files.authorities), shown(&files.directory)];
    let authorities: Vec<String> = authorities.into_iter().flatten().collect();
    notes.put(fact::CONFIG_AUTHORITIES.text(if authorities.is_empty() {
        "not given: nssight uses the CAs of this system".to_owned()
    } else {
        authorities.join(", ")
    }));
}

/// Notes every value with its origin.
fn note_values(target: &Target, notes: &mut Notes) {
    notes.put(fact::CONFIG_ROLE.text(target.role));
    match &target.credentials {
        Credentials::Database { database, nickname } => {
            notes.put(fact::CONFIG_DATABASE.text(line(database.value.argument.display(), database)));
            match nickname {
                Some(nickname) => notes.put(fact::CONFIG_NICKNAME.text(line(&nickname.value, nickname))),
                None => notes.put(fact::CONFIG_NICKNAME.text("not given: no client certificate is used")),
            }
        }
        Credentials::Files(files) => {
            notes.put(fact::ConfigCredentials::Files);
            note_files(files, notes);
        }
    }
    if let Some(name) = &target.server_name {
        notes.put(fact::CONFIG_SERVER_NAME.text(line(&name.value, name)));
    }
    if let Some(bridge) = &target.bridge {
        notes.put(fact::CONFIG_BRIDGE.text(line(&bridge.value, bridge)));
    }
    if let Some(server) = &target.server {
        notes.put(fact::CONFIG_SERVER.text(line(&server.value, server)));
    }
    if let Some(user) = &target.user {
        notes.put(fact::CONFIG_USER.text(line(&user.value, user)));
    }
    let (low, high) = target.tls.value;
    notes.put(fact::CONFIG_TLS_VERSIONS.text(line(format!("{low} to {high}"), &target.tls)));
    notes.put(fact::CONFIG_PASSWORD.text(&target.password));
}
