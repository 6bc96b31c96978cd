//! `password`: does the password from this source unlock the key database?

use nssight_diagnosis::fact::fact::{self, PasswordState as State};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome, shell};
use nssight_nss::Login;
use nssight_nssdb::{Database, PasswordCheck, PasswordState};
use zeroize::Zeroizing;

use crate::error_info;
use crate::password_file::{self, READ_AT_MOST, Reading, Repair, Secret};
use crate::probe::nss_db;
use crate::secret::{Password, PasswordForm};
use crate::target::{Engine, PasswordSource};
use crate::walk::{Opened, Probe, Walk};

/// The key database must have been opened.
pub const PROBE: Probe = Probe { layer: Layer::Password, needs: &[Layer::Config, Layer::NssDb], run };

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let given = walk.password.take();
    let source = &walk.target().password;
    notes.put(fact::PASSWORD_SOURCE.text(source));
    let Some(opened) = &walk.opened else {
        return refused(notes, State::NoSlot, "NSS returned no key slot");
    };
    let token = opened.keys().token_name();
    let outcome = unlock(walk, opened, given.as_ref(), source, notes);
    if walk.target().engine() == Engine::Openssl
        && let Some(Reading::Password(password)) = given.as_ref().map(|given| taken(given, &token))
    {
        walk.unlocked_by = Some(Zeroizing::new(password.to_vec()));
    }
    outcome
}

/// The database or token that the password unlocks, as the subject of a sentence.
fn opened(walk: &Walk<'_>, token: &str) -> String {
    match walk.token() {
        Some(_) => format!("the token \"{token}\""),
        None => "the key database".to_owned(),
    }
}

fn unlock(
    walk: &Walk<'_>,
    database: &Opened,
    given: Option<&Password>,
    source: &PasswordSource,
    mut notes: Notes,
) -> Outcome {
    let slot = database.keys();
    let token = slot.token_name();
    notes.put(fact::PASSWORD_TOKEN.text(&token));
    if slot.is_fips() {
        notes.put(fact::PASSWORD_FIPS.text("on"));
    }
    if !slot.needs_login() {
        if given.is_some_and(|given| !given.expose().is_empty()) {
            notes.put(
                fact::PASSWORD_GIVEN_FOR_NOTHING.text("not needed, because the key database has the empty password"),
            );
        }
        notes.put(State::NotNeeded);
        return notes.pass(match walk.token() {
            Some(_) => format!("the token \"{token}\" needs no login"),
            None => "the key database has the empty password".to_owned(),
        });
    }
    // A password protects keys, and without a nickname no key is used, so no client logs in. In FIPS mode no session starts without a login
    // (measured on 3.87.1).
    if walk.target().nickname().is_none() && !slot.is_fips() && given.is_none_or(|given| given.expose().is_empty()) {
        notes.put(State::NotNeeded);
        return notes.pass("no nickname was given, so no key is used and no password is needed");
    }
    let Some(given) = given else {
        let summary = format!("{} needs a password and none was given", opened(walk, &token));
        return refused(notes, State::NoneGiven, summary).remedy(
            "Provide the password: --password-file, --password-env, --password-fd or --password-prompt",
            Some("nssight diagnose … --password-prompt".to_owned()),
        );
    };
    let password = match taken(given, &token) {
        Reading::Password(password) => password,
        Reading::NoData => {
            let summary = format!("the password source is empty ({source})");
            return refused(notes, State::SourceEmpty, summary);
        }
    };
    let (login, asked) = database.log_in(&password);
    notes.put(fact::PASSWORD_CALLBACK_CALLS.text(format!(
        "called {}, {} of these after a wrong password",
        times(asked.times.into()),
        asked.retries
    )));
    match login {
        Login::Done => {
            notes.put(State::Right);
            notes.pass(format!("the password from {source} unlocks \"{token}\""))
        }
        Login::Wrong if walk.token().is_some() => wrong_pin(given, &token, source, notes),
        Login::Wrong => wrong(walk, given, &token, source, notes),
        Login::NotGiven => {
            // A password was available, so NSS must have requested it in a way that bypassed the callback.
            let summary = "NSS requested the password, but did not use it";
            refused(notes, State::NotTaken, summary)
        }
        Login::Failed(error) => {
            let summary = format!("{} could not be unlocked: {}", opened(walk, &token), error.name);
            refused(notes, State::LoginFailed, summary).error(error_info::of(&error))
        }
    }
}

/// Reports that the key database stays locked, with the observed state.
fn refused(mut notes: Notes, state: State, summary: impl Into<String>) -> Outcome {
    notes.put(state);
    notes.fail(signal::LOGIN_FAILED, summary)
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        many => format!("{many} times"),
    }
}

/// The password that NSS would get.
fn taken(given: &Password, token: &str) -> Reading {
    match given.form {
        PasswordForm::Literal => {
            let text = given.expose().split(|byte| *byte == 0).next().unwrap_or_default();
            Reading::Password(Secret::new(text.to_vec()))
        }
        PasswordForm::File => password_file::read(given.expose(), token),
    }
}

/// Only the other token can compare the PIN: every further attempt may be the one that locks it.
fn wrong_pin(given: &Password, token: &str, source: &PasswordSource, mut notes: Notes) -> Outcome {
    notes.put(
        fact::PASSWORD_NSS_SAYS.text("tried the password, but the token rejected it (PK11_Authenticate returned -2)"),
    );
    let summary = format!("the password from {source} does not unlock the token \"{token}\"");
    let has_line = given.form != PasswordForm::File || password_file::names(given.expose(), token);
    if has_line {
        return refused(notes, State::WrongForToken, summary);
    }
    let summary = format!("{summary}; no line of the file begins with \"{token}:\", so NSS uses the last line");
    let remedy = format!(
        "Add a line {} to the password file, with the password of that token",
        shell::quote(&format!("{token}:PASSWORD"))
    );
    refused(notes, State::WrongForToken, summary).remedy(remedy, None)
}

/// NSS tested the password, and it is wrong. Finds out why.
fn wrong(walk: &Walk<'_>, given: &Password, token: &str, source: &PasswordSource, mut notes: Notes) -> Outcome {
    notes.put(fact::PASSWORD_NSS_SAYS.text("tried the password, and rejected it (PK11_Authenticate returned -2)"));
    let native = nss_db::open_natively(walk);
    if let Some(database) = &native
        && let PasswordState::Set { salt_length, .. } = &database.password
    {
        notes.put(fact::PASSWORD_SALT.text(format!("{salt_length} bytes")));
        if nss_db::salt_of_newer(database).is_some() && !nss_db::nss_is_at_least((3, 118)) {
            return salt_too_new(database, given, token, notes);
        }
    }
    let check = |secret: &[u8]| native.as_ref().map(|database| database.check_password(secret));
    let first = match taken(given, token) {
        Reading::Password(password) => check(&password),
        Reading::NoData => None,
    };
    let compared = first == Some(PasswordCheck::Wrong);
    if first == Some(PasswordCheck::Right) {
        // The independent reader and NSS disagree: this is no reason to change a password.
        let summary = "NSS rejects the password, but it matches the key database on disk";
        let opinion = "the password matches the check value in the key database";
        notes.put(fact::PASSWORD_SECOND_OPINION.text(opinion));
        return refused(notes, State::FitsOnDisk, summary);
    }
    let candidates = password_file::repairs(given.expose(), token);
    let repair = candidates
        .into_iter()
        .find(|(_, secret)| check(secret) == Some(PasswordCheck::Right))
        .map(|(repair, _)| repair);
    match (repair, source) {
        (Some(repair), PasswordSource::File(path)) if given.form == PasswordForm::File => {
            notes.put(fact::PASSWORD_REPAIR.text(repair.describe()));
            let summary = format!("the password is in {}, but {}", path.display(), repair.describe());
            refused(notes, State::Repairable, summary)
                .remedy(repair.remedy(token), fix_command(repair, &path.display().to_string()))
        }
        (Some(repair), _) => {
            notes.put(fact::PASSWORD_REPAIR.text(repair.describe()));
            let summary = format!("the password from {source} is wrong as written: {}", repair.describe());
            refused(notes, State::Repairable, summary)
        }
        (None, _) => {
            if given.form == PasswordForm::File && given.expose().len() >= READ_AT_MOST {
                let size = "the password file is longer than 4096 bytes, and NSS reads only the first 4096";
                notes.put(fact::PASSWORD_FILE_SIZE.text(size));
            }
            let summary = format!("the password from {source} does not unlock this key database");
            if !compared {
                return refused(notes, State::WrongUnchecked, summary);
            }
            let tried = "tried byte order mark, blanks, quotation marks, other lines, token names and character sets: none gives the right password";
            notes.put(fact::PASSWORD_REPAIRS_TRIED.text(tried));
            refused(notes, State::Wrong, summary)
        }
    }
}

fn salt_too_new(database: &Database, given: &Password, token: &str, mut notes: Notes) -> Outcome {
    let right = match taken(given, token) {
        Reading::Password(password) => matches!(database.check_password(&password), PasswordCheck::Right),
        Reading::NoData => false,
    };
    let opinion = if right { "the password is right" } else { "no reading of the file gives the right password" };
    notes.put(fact::PASSWORD_SECOND_OPINION.text(opinion));
    let summary = "NSS 3.118 or later set the password, and this NSS cannot check it";
    refused(notes, if right { State::SaltTooNew } else { State::SaltTooNewUnverified }, summary)
}

fn fix_command(repair: Repair, path: &str) -> Option<String> {
    let path = shell::quote(path);
    match repair {
        Repair::ByteOrderMark => Some(format!("sed -i '1s/^\\xEF\\xBB\\xBF//' {path}")),
        Repair::Blanks => Some(format!("sed -i 's/^[[:blank:]]*//; s/[[:blank:]]*$//' {path}")),
        _ => None,
    }
}
