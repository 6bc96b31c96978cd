//! `nss-db`: which database exists, is it complete, and does NSS open it?
//!
//! The files are examined first, without NSS; then NSS opens them read-only. If NSS fails, the state of the files explains why; if it
//! succeeds, their state is a warning at most.

mod files;
mod others;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Instant;

use nssight_diagnosis::fact::fact::{self, DbState};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome, shell};
use nssight_nss::{ErrorCode, InitOptions, Nss, NssError, Slot};
use nssight_nssdb::directory::{DirectoryState, FileEntry, LockKind, Magic, TypePrefix};
use nssight_nssdb::modules::has_policy;
use nssight_nssdb::{Database, Format, KeyMatch, Pairing, PasswordState};

pub(crate) use self::files::nss_is_at_least;
use self::files::{Look, describe, file_trouble, hot_journal, legacy_library, process, who};
pub use self::others::{Forbidden, Instead, before_others};
use crate::error_info;
use crate::modules::Modules;
use crate::private_copy::{PrivateCopy, Trouble};
use crate::token;
use crate::walk::{Opened, Probe, Walk};

/// Only the configuration gives the location of the database.
pub const PROBE: Probe = Probe { layer: Layer::NssDb, needs: &[Layer::Config], run };

const HALF_UPGRADED_MEANS: &str =
    "cert9.db and key4.db were created beside cert8.db and key3.db, and stay empty until a login with write access";

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let look = Look::at(walk.target().argument());
    describe(&look, &mut notes);
    if let Some(outcome) = directory_trouble(&look, &mut notes) {
        return outcome;
    }
    let modules = Modules::of(&look.argument, look.choice.asked);
    modules.describe(&mut notes);
    if let Some(error) = modules.not_regular() {
        return unusable(notes, DbState::NotARegularFile, error.to_string());
    }
    let load = walk.target().load_modules;
    if let Some(summary) = modules.refusal().filter(|_| !load) {
        return unusable(notes, DbState::ModuleForeign, summary);
    }
    let own_module_only = match modules.changeable().filter(|_| !load) {
        Some(why) => {
            notes.put(fact::DB_MODULES.text(format!("not loaded, because {why}")));
            true
        }
        None => false,
    };
    let argument = match private_copy(&look, &walk.copy_to) {
        Ok(None) => look.argument.clone(),
        Ok(Some(copy)) => {
            notes.put(
                fact::DB_OPENED_FROM
                    .text("a private copy, since opening a database in WAL mode creates files beside it"),
            );
            let mut argument = OsString::from("sql:");
            argument.push(copy.path());
            walk.private_copy = Some(copy);
            argument
        }
        Err(error) => {
            let summary = format!("the database is in WAL mode, so NSS needs a copy: {error}");
            let outcome = unusable(notes, uncopied(&error), summary);
            return match error.source() {
                Some(source) => outcome.error(source),
                None => outcome,
            };
        }
    };
    let result = if let Some(kept) = walk.kept.take() {
        notes.put(fact::DB_OPENED_FROM.text("the previous check, which had the same database open"));
        walk.own_before = kept.own;
        Ok(kept.opened)
    } else {
        let started = Instant::now();
        let options = InitOptions { own_module_only, ..InitOptions::read_only(&argument) };
        let result = Nss::open(&options).and_then(Opened::of);
        if result.is_ok() {
            notes.put(fact::DB_OPENED_IN.number(started.elapsed().as_micros()));
        }
        result
    };
    match result {
        Ok(mut database) => {
            let outcome = opened(&look, &database.slot, notes);
            let nickname = walk.target().nickname().map(|nickname| nickname.value.as_str());
            database.token = token::other(nickname, &database.slot, &database.nss);
            walk.opened = Some(database);
            outcome
        }
        Err(error) => refused(&look, &error, notes).error(error_info::of(&error)),
    }
}

/// Reports an unusable directory, or one without a database.
fn directory_trouble(look: &Look, notes: &mut Notes) -> Option<Outcome> {
    let path = look.directory.display();
    let fail = |notes: &mut Notes, state, summary: String| Some(unusable(std::mem::take(notes), state, summary));
    match &look.inventory.directory {
        DirectoryState::Missing => {
            fail(notes, DbState::DirectoryMissing, format!("the directory {path} does not exist"))
        }
        DirectoryState::NotADirectory { kind } => fail(
            notes,
            DbState::NotADirectory,
            format!("{path} is a {kind}, not a directory: name the directory that contains it"),
        ),
        DirectoryState::NotSearchable(error) => {
            let summary = format!("{path} cannot be entered as {}: {error}", who());
            fail(notes, DbState::DirectoryUnreadable, summary)
        }
        DirectoryState::NotListable(_) | DirectoryState::Usable => {
            if let Some(older) = look.inventory.older_than_legacy() {
                let summary = format!(
                    "{path} has its certificates in {older}, in a format that NSS does not read: NSS only converts the file, \
                     when it opens the directory as dbm: for writing"
                );
                return fail(notes, DbState::OlderThanLegacy, summary);
            }
            let none = !look.inventory.has_any(Format::Sql) && !look.inventory.has_any(Format::Dbm);
            none.then(|| fail(notes, DbState::NoDatabase, format!("{path} contains no NSS database")))?
        }
    }
}

/// NSS failed to open the database. The files show why.
fn refused(look: &Look, error: &NssError, mut notes: Notes) -> Outcome {
    let asked = look.choice.asked;
    let path = look.directory.display();
    let legacy = look.inventory.has_usable(Format::Dbm);
    if look.prefix == TypePrefix::MultiAccess {
        let summary = "multiaccess: needs a separate database library, which this NSS does not find";
        return unusable(notes, DbState::Multiaccess, summary);
    }
    if !look.inventory.has_any(asked) && look.inventory.has_any(look.other()) {
        return match (asked, legacy) {
            // NSS falls back to a legacy pair if it can (measured on 3.87.1), so here it cannot.
            (Format::Sql, true) if legacy_refused(look, error, Format::Dbm) => legacy_unsupported(look, notes),
            (Format::Sql, true) => unread(look, Format::Dbm, error, notes),
            _ => {
                let summary =
                    format!("the settings select {asked}: files, but {path} contains {}: files", look.other());
                type_mismatch(look, notes, summary)
            }
        };
    }
    if let Some((state, summary)) = look.pair(asked).find_map(|file| file_trouble(look, file)) {
        return unusable(notes, state, summary);
    }
    if asked == Format::Dbm && legacy_refused(look, error, asked) {
        return legacy_unsupported(look, notes);
    }
    let names = [asked.certificate_file(), asked.key_file()];
    let locked = look.inventory.locks().into_iter().filter(|(file, _)| names.contains(&file.name.as_str())).find_map(
        |(file, locks)| {
            let lock = locks.into_iter().find(|lock| lock.kind >= LockKind::Pending)?;
            Some((file, lock))
        },
    );
    if let Some((file, lock)) = locked {
        let holder = lock.pid.map_or_else(|| "another process".to_owned(), process);
        let summary = format!("{} is locked for writing by {holder}", file.name);
        notes.put(fact::DB_LOCK_HOLDER.text(&holder));
        return unusable(notes, DbState::Locked, summary);
    }
    if let Some(journal) = hot_journal(look) {
        let summary = format!("{journal} is left over from an interrupted write; a reader must not roll it back");
        return unusable(notes, DbState::HotJournal, summary);
    }
    unread(look, asked, error, notes)
}

/// The library for the legacy format is missing, or NSS was built without it. NSS reports PR_LOAD_LIBRARY_ERROR for the former, and
/// SEC_ERROR_LEGACY_DATABASE both for the latter and for damaged files (measured on 3.87.1).
fn legacy_refused(look: &Look, error: &NssError, format: Format) -> bool {
    match error.code {
        _ if legacy_library().is_none() => true,
        ErrorCode::PR_LOAD_LIBRARY_ERROR => true,
        ErrorCode::SEC_ERROR_LEGACY_DATABASE => {
            Database::open(&look.directory, format).is_ok_and(|database| !database.partial)
        }
        _ => false,
    }
}

/// Evaluates the files, if nothing else explains why NSS rejects them.
fn unread(look: &Look, format: Format, error: &NssError, mut notes: Notes) -> Outcome {
    let path = look.directory.display();
    match Database::open(&look.directory, format) {
        Ok(database) => {
            for problem in database.problems.iter().take(5) {
                notes.put(fact::DB_DAMAGE.text(problem));
            }
            if database.partial {
                let summary = format!("only part of the {format}: files in {path} is readable");
                return unusable(notes, DbState::PartlyDamaged, summary);
            }
            let found = database.certificates.len();
            notes.put(fact::DB_SECOND_OPINION.text(format!("read without NSS: {found} certificates")));
            let summary =
                format!("NSS rejects the database in {path} ({}), although its files are readable", error.name);
            unusable(notes, DbState::RefusedThoughReadable, summary)
        }
        Err(trouble) => {
            notes.put(fact::DB_SECOND_OPINION.text(&trouble));
            let state = match trouble {
                nssight_nssdb::Error::Busy { .. } => DbState::Locked,
                nssight_nssdb::Error::Unreadable { .. } => DbState::FileUnreadable,
                _ => DbState::Damaged,
            };
            unusable(notes, state, trouble.to_string())
        }
    }
}

/// Reports an unusable database, with its observed state.
fn unusable(mut notes: Notes, state: DbState, summary: impl Into<String>) -> Outcome {
    notes.put(state);
    notes.fail(signal::DATABASE_UNUSABLE, summary)
}

fn uncopied(error: &Trouble) -> DbState {
    match error {
        Trouble::Original { .. } => DbState::FileUnreadable,
        Trouble::Place { .. } | Trouble::TooLarge => DbState::Uncopied,
    }
}

fn legacy_unsupported(look: &Look, mut notes: Notes) -> Outcome {
    notes.put(
        fact::DB_LEGACY_LIBRARY.text(
            legacy_library().map_or("libnssdbm3.so is not installed".to_owned(), |path| path.display().to_string()),
        ),
    );
    let summary = format!("{} contains cert8.db and key3.db, which this NSS cannot open", look.directory.display());
    unusable(notes, DbState::LegacyUnsupported, summary)
}

fn type_mismatch(look: &Look, notes: Notes, summary: String) -> Outcome {
    let from_environment = look.prefix == TypePrefix::None && std::env::var_os("NSS_DEFAULT_DB_TYPE").is_some();
    let state = if from_environment { DbState::EnvironmentAsksOtherFormat } else { DbState::OtherFormatAsked };
    let outcome = unusable(notes, state, summary);
    if from_environment {
        return outcome.remedy(
            "Remove NSS_DEFAULT_DB_TYPE from the client's environment",
            Some("unset NSS_DEFAULT_DB_TYPE".to_owned()),
        );
    }
    let argument = shell::quote(&format!("{}:{}", look.other(), look.directory.display()));
    outcome.remedy(format!("Configure the database as {argument}"), None)
}

/// NSS opened a database. Is it the intended one?
fn opened(look: &Look, slot: &Slot, mut notes: Notes) -> Outcome {
    let (path, reads) = (look.directory.display(), look.choice.reads);
    if slot.needs_user_init() {
        if look.inventory.half_upgraded {
            let summary = format!("{path} is half upgraded: {HALF_UPGRADED_MEANS}");
            return unusable(notes, DbState::HalfUpgraded, summary);
        }
        let summary = format!(
            "the key database in {path} was never initialised with a password, not even an empty one: it contains no keys"
        );
        return unusable(notes, DbState::Uninitialised, summary);
    }
    if look.inventory.half_upgraded {
        notes.put(fact::DB_HALF_UPGRADED.text(HALF_UPGRADED_MEANS));
        notes.put(DbState::HalfUpgradedInUse);
        return notes
            .warn(signal::DATABASE_REMARK, format!("{path} is half upgraded: NSS still reads cert8.db and key3.db"));
    }
    if let Some(format) = reads {
        match Database::open(&look.directory, format) {
            Ok(database) => {
                notes.put(fact::DB_CERTIFICATES.number(database.certificates.len() as u64));
                notes.put(fact::DB_PRIVATE_KEYS.number(database.private_keys.len() as u64));
                if let Some(outcome) = not_a_pair(look, &database, &mut notes) {
                    return outcome;
                }
            }
            // NSS decides here; the second opinion is only reported.
            Err(trouble) => notes.put(fact::DB_SECOND_OPINION.text(trouble)),
        }
    }
    if reads == Some(Format::Sql)
        && let Ok(has_policy) = has_policy(&look.directory)
    {
        notes.put(if has_policy { fact::DbPolicy::Own } else { fact::DbPolicy::None });
    }
    if look.inventory.has_any(Format::Sql) && look.inventory.has_any(Format::Dbm) {
        let read = reads.map_or_else(|| "one of them".to_owned(), |format| format!("the {format}: files"));
        let summary = format!("{path} contains both formats; NSS reads {read} ({})", look.choice.reason);
        notes.put(DbState::BothFormats);
        return notes.warn(signal::DATABASE_REMARK, summary);
    }
    notes.put(DbState::Works);
    notes.pass(match reads {
        Some(format) => format!("NSS opens the {format}: database in {path}"),
        None => format!("NSS opens the database in {path}"),
    })
}

/// Certificates of one database next to the keys of another: this works until the first login.
fn not_a_pair(look: &Look, database: &Database, notes: &mut Notes) -> Option<Outcome> {
    let report = database.pairing();
    let state = match (report.pairing, database.format) {
        (Pairing::SignaturesForeign, _) => DbState::KeysForeign,
        (Pairing::NoKeyMatches, Format::Sql) => DbState::KeysForeign,
        // In the legacy format only the keys of the certificates link the two files: if a user deletes a key and creates another, the
        // result looks the same.
        (Pairing::NoKeyMatches, Format::Dbm) => DbState::KeysPerhapsForeign,
        (Pairing::KeyDbEmpty, _) if report.objects_with_signature == 0 && report.signed_objects > 0 => {
            DbState::KeysPerhapsForeign
        }
        _ => return None,
    };
    let (certificate_file, key_file) = (database.format.certificate_file(), database.format.key_file());
    notes.put(fact::DB_CERTIFICATES_WITH_KEY.number(report.certificates_with_key as u64));
    notes.put(fact::DB_KEYS_WITHOUT_CERTIFICATE.number(report.orphan_keys as u64));
    notes.put(
        fact::DB_SIGNED_TRUST
            .text(format!("{}, {} of them signed in {key_file}", report.signed_objects, report.objects_with_signature)),
    );
    let directory = look.directory.display();
    let summary = match state {
        DbState::KeysForeign => format!("{key_file} in {directory} belongs to another {certificate_file}"),
        _ => format!("the keys of the certificates in {certificate_file} in {directory} are not in {key_file}"),
    };
    Some(unusable(std::mem::take(notes), state, summary))
}

/// When a database in WAL mode is opened, even for reading, SQLite creates `-wal` and `-shm` files. NSS gets a copy of it.
fn private_copy(look: &Look, at: &Path) -> Result<Option<PrivateCopy>, Trouble> {
    needs_copy(look).then(|| PrivateCopy::make(&look.directory, at)).transpose()
}

fn needs_copy(look: &Look) -> bool {
    let wal = |file: &FileEntry| matches!(file.magic, Some(Magic::SqliteDb { wal: true }));
    look.choice.reads == Some(Format::Sql) && look.pair(Format::Sql).any(wal)
}

/// Libraries that the list of modules names and that do not exist.
pub(crate) fn missing_modules(walk: &Walk<'_>) -> Vec<String> {
    let look = Look::at(walk.target().argument());
    Modules::of(&look.argument, look.choice.asked).missing()
}

/// The database of NSS, read without NSS; `None` if that fails as well.
pub(crate) fn open_natively(walk: &Walk<'_>) -> Option<Database> {
    open(walk.target().argument())
}

/// The same for the database of any program.
pub(crate) fn open(argument: &OsStr) -> Option<Database> {
    let look = Look::at(argument);
    Database::open(&look.directory, look.choice.reads?).ok()
}

/// The length of the password's salt, if NSS 3.118 or later set it and the NSS in use is older. Newer NSS hashes with SHA-384 in this case,
/// and older NSS then reports a wrong password.
pub fn salt_too_new(argument: &OsStr) -> Option<usize> {
    let database = open(argument)?;
    salt_of_newer(&database).filter(|_| !nss_is_at_least((3, 118)))
}

/// The length of a salt as NSS 3.118 and later write it.
pub(crate) fn salt_of_newer(database: &Database) -> Option<usize> {
    const LENGTH: usize = 48;
    match database.password {
        PasswordState::Set { salt_length: LENGTH, .. } => Some(LENGTH),
        _ => None,
    }
}

/// Whether the format that NSS does not read has a certificate of this nickname, as text.
pub(crate) fn other_format_has(walk: &Walk<'_>, nickname: &str) -> Option<String> {
    let look = Look::at(walk.target().argument());
    let other = match look.choice.reads? {
        Format::Sql => Format::Dbm,
        Format::Dbm => Format::Sql,
    };
    if !look.inventory.has_usable(other) {
        return None;
    }
    let database = Database::open(&look.directory, other).ok()?;
    let there = database.certificates.iter().any(|entry| entry.nicknames.iter().any(|name| name.text == nickname));
    there.then(|| format!("{} in the same directory contains this nickname", other.certificate_file()))
}

/// A row of a file is not found through its index: NSS searches an index, while the second opinion reads the rows. No other reason for such
/// a disagreement was observed, but nssight cannot observe NSS's search.
pub(crate) fn index_remedy(file: &str, outcome: Outcome) -> Outcome {
    match file {
        "cert9.db" | "key4.db" => outcome.remedy(
            format!("Copy the directory, rebuild the indexes of {file} in the copy with SQLite, and check the copy with nssight"),
            Some(format!("sqlite3 COPY/{file} REINDEX")),
        ),
        _ => outcome,
    }
}

/// The keys that exist, if the requested one does not: nicknames of certificates whose private key is in the database, compared by public
/// value.
pub(crate) fn with_key(walk: &Walk<'_>) -> Vec<String> {
    let Some(native) = open_natively(walk) else { return Vec::new() };
    let own = native.certificates.iter().filter(|entry| entry.key_match == KeyMatch::Matches);
    own.filter_map(|entry| entry.nicknames.first()).map(|name| name.text.clone()).take(10).collect()
}

/// Notes the private keys of the database.
pub(crate) fn note_keys(database: Option<&Database>, notes: &mut Notes) {
    let Some(database) = database else { return };
    notes.put(fact::PRIVATE_KEY_IN_DATABASE.number(database.private_keys.len() as u64));
    for key in database.private_keys.iter().take(10) {
        let owner = database.certificates.iter().find(|entry| entry.cka_id == key.cka_id);
        let owner =
            owner.and_then(|entry| entry.nicknames.first()).map_or("no certificate here", |name| name.text.as_str());
        notes.put(fact::PRIVATE_KEY_KIND.text(format!("{:?}, belongs to {owner}", key.kind)));
    }
}
