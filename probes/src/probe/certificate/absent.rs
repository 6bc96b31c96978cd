//! No certificate has the requested nickname: reports similar certificates, keys and tokens.
use nssight_diagnosis::derive::nickname::near_miss;
use nssight_diagnosis::fact::fact::{self, OurCertificateState as State, OwnChainState as Chain};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Notes, Outcome, shell};
use nssight_nss::Certificate;
use nssight_nssdb::{Certificate as Entry, Database};

use crate::probe::nss_db;
use crate::token;
use crate::walk::Walk;

/// Reports the alternatives to a certificate with this nickname.
pub(super) fn not_found(walk: &Walk<'_>, wanted: &str, mut notes: Notes) -> Outcome {
    let own = walk.slot();
    let present = token::certificates([own, walk.token()]);
    let nicknames: Vec<String> = present.iter().filter_map(Certificate::nickname).collect();
    let stored = token::in_database(wanted, own);
    if let Some(elsewhere) = nss_db::other_format_has(walk, stored) {
        notes.put(fact::OUR_CERTIFICATE_OTHER_FORMAT.text(&elsewhere));
        let summary = format!("\"{wanted}\" is not in the database that NSS reads, but {elsewhere}");
        return missing(notes, State::InOtherFormat, summary);
    }
    notes.put(fact::OUR_CERTIFICATE_IN_DATABASE.number(nicknames.len() as u64));
    let native = nss_db::open_natively(walk);
    if let Some(native) = &native {
        let file = native.format.certificate_file();
        if native.certificates.iter().any(|entry| entry.nicknames.iter().any(|name| name.text == stored)) {
            let opinion = format!("read without NSS, {file} contains exactly this nickname");
            notes.put(fact::OUR_CERTIFICATE_SECOND_OPINION.text(opinion));
            if let Some((token, _)) = stored.split_once(':') {
                return token_looked_for(wanted, token, file, notes);
            }
            let summary = format!("\"{wanted}\" is in {file}, but NSS does not find it by its nickname");
            return nss_db::index_remedy(file, missing(notes, State::IndexStale, summary));
        }
        if !native.partial && walk.token().is_none() {
            let opinion = format!("read without NSS, {file} does not contain this nickname either");
            notes.put(fact::OUR_CERTIFICATE_SECOND_OPINION.text(opinion));
        }
    }
    let near: Vec<(String, String)> = present
        .iter()
        .filter_map(|certificate| {
            let nickname = certificate.nickname()?;
            let how = near_miss(wanted, &nickname, &certificate.subject())?;
            Some((format!("\"{nickname}\" ({how})"), nickname))
        })
        .collect();
    // If the token is missing, a copy of the certificate does not lead to its key.
    let has_key = |nickname: &str| {
        let named = |entry: &&Entry| entry.nicknames.iter().any(|name| name.text == token::in_database(nickname, own));
        native.iter().flat_map(|native| &native.certificates).filter(named).any(|entry| entry.has_private_key)
    };
    let absent = token::word(stored).filter(|_| walk.token().is_none());
    if let Some(word) = absent.filter(|_| !near.iter().any(|(_, nickname)| has_key(nickname))) {
        return token_absent(walk, wanted, word, notes);
    }
    if let Some((first, _)) = near.first() {
        for (candidate, _) in near.iter().take(5) {
            notes.put(fact::OUR_CERTIFICATE_NEAR_MISS.text(candidate));
        }
        let summary = format!("no certificate \"{wanted}\" exists, but {first} does");
        return missing(notes, State::NearMiss, summary);
    }
    for nickname in nicknames.iter().take(10) {
        notes.put(fact::OUR_CERTIFICATE_NICKNAME.text(nickname));
    }
    if let Some(token) = walk.token() {
        let summary = format!("the token \"{}\" has no certificate that matches \"{wanted}\"", token.token_name());
        return missing(notes, State::NotFound, summary);
    }
    if let Some(outcome) = native.and_then(|native| request_outstanding(&native, wanted, &mut notes)) {
        return outcome;
    }
    let summary = format!("this database has no certificate with the nickname \"{wanted}\"");
    missing(notes, State::NotFound, summary)
}

/// Between `certutil -R` and the import of the certificate that the CA issues, there is a key without a certificate.
fn request_outstanding(native: &Database, wanted: &str, notes: &mut Notes) -> Option<Outcome> {
    let has_own = native.certificates.iter().any(|entry| entry.has_private_key);
    let waiting = native.pairing().orphan_keys;
    if waiting == 0 || native.partial {
        return None;
    }
    notes.put(fact::DB_KEYS_WITHOUT_CERTIFICATE.number(waiting as u64));
    if has_own {
        return None;
    }
    let keys = if waiting == 1 {
        "a private key waits for its".to_owned()
    } else {
        format!("{waiting} private keys wait for their")
    };
    let summary =
        format!("this database has no certificate \"{wanted}\" yet, and {keys} certificate, as after certutil -R");
    Some(missing(std::mem::take(notes), State::RequestOutstanding, summary))
}

/// A smart card is not in its reader, or a module was not loaded.
fn token_absent(walk: &Walk<'_>, wanted: &str, word: &str, mut notes: Notes) -> Outcome {
    let there = walk.opened.as_ref().map(|opened| token::names(&opened.nss)).unwrap_or_default();
    for name in there.iter().take(10) {
        notes.put(fact::OUR_CERTIFICATE_TOKEN.text(format!("{name}: there")));
    }
    let gone = nss_db::missing_modules(walk);
    for library in gone.iter().take(10) {
        notes.put(fact::OUR_CERTIFICATE_TOKEN.text(format!("module {library}: listed, but the file does not exist")));
    }
    let (summary, remedy) = match gone.first() {
        Some(library) => (
            format!(
                "\"{wanted}\" should be on the token \"{word}\", which is absent; the database lists the module {library}, but that file does not exist"
            ),
            "Install the library of the module, or correct its path in the module list",
        ),
        None => (
            format!("\"{wanted}\" should be on the token \"{word}\", but NSS has no token with this name"),
            "List the modules and tokens of NSS: the list may lack the module, the card may not be in its reader, or the token may have another name",
        ),
    };
    let directory = shell::quote(&walk.target().argument().display().to_string());
    missing(notes, State::TokenAbsent, summary).remedy(remedy, Some(format!("modutil -list -dbdir {directory}")))
}

/// NSS splits "token:nickname" before its lookup (pk11cert.c, find_certs_from_nickname).
fn token_looked_for(wanted: &str, token: &str, file: &str, notes: Notes) -> Outcome {
    let summary = format!(
        "\"{wanted}\" is in {file}, but NSS treats \"{token}\" as the name of a token, and this token does not exist"
    );
    let remedy = "Import the certificate and its key again, under a nickname without a colon";
    missing(notes, State::TokenName, summary).remedy(remedy, None)
}

/// There is no usable certificate and therefore no chain; reports what was found instead.
fn missing(mut notes: Notes, state: State, summary: impl Into<String>) -> Outcome {
    notes.put(state);
    notes.put(Chain::None);
    notes.fail(signal::CERTIFICATE_UNUSABLE, summary)
}
