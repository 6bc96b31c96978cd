//! Tests of the catalogue's prose: required parts of every entry, and forbidden commands.

use std::collections::BTreeSet;

use nssight_diagnosis::cause::Condition;
use nssight_diagnosis::fact::FactId;
use nssight_diagnosis::vocabulary::Peer;
use nssight_diagnosis::{Cause, Entry, Layer, Step};

/// Programs that are available to an administrator of Debian or Fedora.
const PROGRAMS: &str = "chgrp keytool namei ssh-keygen 
    ausearch cat certutil chmod chown chronyc cp crlutil date df dig find free fuser getent getfacl grep head id ip
    journalctl ls lslocks mkdir mv namei nft nssight od openssl ping pk12util printenv prlimit ps restorecon rpm runuser
    siguldry-bridge siguldry-server ss systemctl tcpdump test timedatectl timeout tstclnt update-crypto-policies uptime wc";

/// Programs that run the rest of their arguments as a command, with the number of their own arguments.
const WRAPPERS: [(&str, usize); 2] = [("runuser", 4), ("timeout", 2)];

/// All names of the peer.
const PEERS: [Peer; 3] = [Peer::Plain, Peer::Files, Peer::Bridge];

/// Whether a client with files can meet the cause.
fn is_of_files(cause: Cause) -> bool {
    let layers = ["credentials", "password", "certificate", "private-key", "resolve", "tcp", "outer-handshake"];
    let of_databases = FactId::of("config.credentials").expect("a fact");
    let needs = |condition: &Condition| matches!(condition, Condition::Fact(id, _) if *id == of_databases);
    let entry = cause.entry();
    // A peer without a server behind it never waits for one.
    let is_plain = cause != Cause::ServerAbsent;
    is_plain && layers.contains(&entry.layer.as_str()) && !entry.rules.needs.iter().any(needs)
}

/// The readers of an entry.
fn readers(cause: Cause) -> impl Iterator<Item = Peer> {
    PEERS.into_iter().filter(move |peer| *peer != Peer::Files || is_of_files(cause))
}

fn steps(entry: &Entry) -> impl Iterator<Item = &Step> {
    entry.confirm.iter().chain(entry.fix)
}

fn commands<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Vec<&'static str> {
    let of = |step: &Step| PEERS.map(|peer| step.command.filter(|_| step.fits(peer)).map(|command| command.of(peer)));
    steps.into_iter().flat_map(of).flatten().collect()
}

/// The simple commands of a shell line, as words. Separators inside single quotes do not separate.
fn simple_commands(line: &str) -> Vec<Vec<&str>> {
    let mut quoted = false;
    line.split(|c: char| {
        quoted ^= c == '\'';
        !quoted && matches!(c, '|' | ';' | '&')
    })
    .map(|part| part.split_whitespace().skip_while(|word| is_assignment(word)).collect::<Vec<_>>())
    .filter(|words| !words.is_empty())
    .collect()
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// The command itself, without a wrapper that only runs it.
fn unwrapped<'a>(words: &'a [&'a str]) -> &'a [&'a str] {
    let own = WRAPPERS.iter().find(|(name, _)| words.first() == Some(name)).map_or(0, |(_, own)| *own);
    words.get(own..).unwrap_or_default()
}

fn all_simple_commands(entry: &Entry) -> Vec<Vec<&str>> {
    commands(steps(entry)).into_iter().flat_map(simple_commands).collect()
}

#[test]
fn each_entry_belongs_to_its_cause() {
    for cause in Cause::ALL {
        assert_eq!(cause.entry().id, *cause);
    }
}

#[test]
fn ids_are_unique_kebab_case_and_parse_back() {
    let ids: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.id()).collect();
    assert_eq!(ids.len(), Cause::ALL.len());
    for cause in Cause::ALL {
        let id = cause.id();
        let word_is_plain =
            |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        assert!(id.split('-').all(word_is_plain), "{id}");
        assert_eq!(id.parse(), Ok(*cause));
        assert_eq!(serde_json::to_value(cause).unwrap(), id);
        assert_eq!(serde_json::from_value::<Cause>(id.into()).unwrap(), *cause);
    }
}

#[test]
fn an_unknown_id_is_refused_by_name() {
    let error = "db-msising".parse::<Cause>().unwrap_err();
    assert!(error.to_string().contains("\"db-msising\""), "{error}");
}

#[test]
fn titles_are_short_sentences_without_placeholders() {
    for cause in Cause::ALL {
        for title in readers(*cause).map(|peer| cause.entry().title.of(peer)) {
            assert!(title.chars().count() <= 100, "{cause}: {title}");
            assert!(title.ends_with('.') && !title.contains(['<', '{', '\n']), "{cause}: {title}");
        }
    }
}

#[test]
fn explanations_have_two_to_six_sentences_on_one_line() {
    for cause in Cause::ALL {
        for why in readers(*cause).map(|peer| cause.entry().why.of(peer)) {
            let sentences = why.split(". ").count();
            assert!((2..=6).contains(&sentences) && why.ends_with('.'), "{cause}: {sentences} sentences");
            assert!(!why.contains(['\n', '<']) && !why.contains("  "), "{cause}: {why}");
        }
    }
}

#[test]
fn every_entry_says_how_to_confirm_and_how_to_fix() {
    for cause in Cause::ALL {
        let entry = cause.entry();
        assert!(!entry.confirm.is_empty() && !entry.fix.is_empty(), "{cause}");
        for peer in readers(*cause) {
            assert!(entry.confirm(peer).any(|step| step.command.is_some()), "{cause}: nothing to run");
            assert!(entry.fix.iter().any(|step| step.fits(peer) && step.facts.is_empty()), "{cause}: nothing to do");
        }
        for step in steps(entry) {
            assert!(step.text.plain().ends_with('.'), "{cause}: {}", step.text.plain());
        }
    }
}

#[test]
fn similar_causes_are_other_causes_named_once_with_the_difference() {
    for cause in Cause::ALL {
        let others = &cause.entry().see_also;
        assert!(!others.is_empty(), "{cause}: nothing to tell it apart from");
        assert!(others.iter().all(|other| other.cause != *cause && other.how.plain().ends_with('.')), "{cause}");
        assert_eq!(others.iter().map(|other| other.cause).collect::<BTreeSet<_>>().len(), others.len(), "{cause}");
    }
}

/// The commands of nssight that the catalogue advises.
const COMMANDS: [&str; 7] = ["bundle", "check", "clients", "db", "diagnose", "process-model", "trace"];

#[test]
fn commands_use_only_programs_that_an_administrator_has() {
    let known: BTreeSet<&str> = PROGRAMS.split_whitespace().collect();
    for cause in Cause::ALL {
        for words in all_simple_commands(cause.entry()) {
            let program = unwrapped(&words).first().expect("a command behind the wrapper");
            assert!(known.contains(program) && known.contains(words[0]), "{cause}: {words:?}");
            if let ["nssight", command, ..] = unwrapped(&words) {
                assert!(COMMANDS.contains(command), "{cause}: {words:?}");
            }
        }
    }
}

#[test]
fn no_command_line_contains_a_password() {
    for cause in Cause::ALL {
        for words in all_simple_commands(cause.entry()) {
            let words = unwrapped(&words);
            let takes_a_literal: &[&str] = match words[0] {
                "tstclnt" | "strsclnt" | "selfserv" | "vfyserv" => &["-w"],
                "pk12util" => &["-K", "-W"],
                _ => &[],
            };
            assert!(!words.iter().any(|word| takes_a_literal.contains(word)), "{cause}: {words:?}");
            assert!(!words.iter().any(|word| word.contains("pass:") || *word == "<PASSWORD>"), "{cause}: {words:?}");
        }
        let texts = steps(cause.entry()).map(|step| step.text.plain().to_lowercase());
        assert!(texts.into_iter().all(|text| !text.contains("<password>")), "{cause}");
    }
}

#[test]
fn a_database_is_backed_up_before_it_is_changed_and_never_destroyed() {
    for cause in Cause::ALL {
        let entry = cause.entry();
        for words in commands(entry.confirm).into_iter().flat_map(simple_commands) {
            assert_eq!(changed_database(&words), None, "{cause}: to confirm must not change anything: {words:?}");
        }
        let mut copied = BTreeSet::new();
        for words in commands(entry.fix).into_iter().flat_map(simple_commands) {
            if let ["cp", "-a", source, _] = words[..] {
                copied.insert(source);
            }
            let destroys = words[0] == "certutil" && ["-D", "-F", "-T"].iter().any(|flag| words.contains(flag));
            assert!(!destroys, "{cause}: {words:?}");
            if let Some(directory) = changed_database(&words) {
                assert!(directory == "<NEW_DIR>" || copied.contains(directory), "{cause}: no backup: {words:?}");
            }
        }
    }
}

/// The directory whose database this command changes, if it changes one.
fn changed_database<'a>(words: &[&'a str]) -> Option<&'a str> {
    let changing: &[&str] = match words[0] {
        "certutil" => &["-A", "-D", "-F", "-M", "-N", "-S", "-T", "-W", "-X", "--merge", "--rename", "--upgrade-merge"],
        "pk12util" => &["-i"],
        _ => &[],
    };
    let directory = words.iter().skip_while(|word| **word != "-d").nth(1)?;
    let changes = words.iter().any(|word| changing.contains(word));
    changes.then(|| directory.strip_prefix("sql:").unwrap_or(directory))
}

/// Whether this command opens a connection to the bridge.
fn connects(words: &[&str]) -> bool {
    let until = words.iter().skip_while(|word| **word != "--until").nth(1).and_then(|layer| layer.parse().ok());
    match words {
        ["nssight", "diagnose", ..] => until.is_none_or(|layer: Layer| layer >= Layer::Tcp),
        ["nssight", "clients" | "check", ..] | ["openssl", "s_client", ..] => true,
        [program, ..] => ["tstclnt", "strsclnt", "vfyserv"].contains(program),
        [] => false,
    }
}

#[test]
fn a_step_that_connects_to_the_peer_says_so() {
    for cause in Cause::ALL {
        for step in steps(cause.entry()) {
            let connects = commands([step]).into_iter().flat_map(simple_commands).any(|words| connects(&words));
            let text = step.text.plain();
            assert_eq!(connects, text.contains("opens one connection"), "{cause}: {text}");
        }
    }
}

#[test]
fn placeholders_are_written_in_capitals() {
    for cause in Cause::ALL {
        for command in commands(steps(cause.entry())) {
            for rest in command.split('<').skip(1) {
                let name = rest.split_once('>').map_or("", |(name, _)| name);
                let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                assert!(!name.is_empty() && name.chars().all(plain), "{cause}: {command}");
            }
        }
    }
}

/// An entry with several components must say how to distinguish them.
#[test]
fn entries_with_several_components_say_how_to_distinguish_them() {
    for cause in Cause::ALL {
        let components = cause.entry().faults;
        let silent: Vec<_> = components.iter().filter(|it| it.tell.is_none()).map(|it| it.component).collect();
        assert!(components.len() < 2 || silent.is_empty(), "{cause:?}: {silent:?}");
    }
}

/// Entries for a peer that is not a bridge do not mention a Sigul deployment.
#[test]
fn entries_for_a_plain_peer_do_not_mention_a_bridge() {
    let mut found = Vec::new();
    let of_sigul: BTreeSet<&str> = ["config", "bridge", "inner-handshake", "request"].into();
    // A peer without a server behind it never waits for one.
    let is_plain = |cause: &&Cause| **cause != Cause::ServerAbsent && !of_sigul.contains(cause.entry().layer.as_str());
    for cause in Cause::ALL.iter().filter(is_plain) {
        let entry = cause.entry();
        let all = [entry.title.plain(), entry.why.plain()].into_iter();
        let tells = entry.faults.iter().filter_map(|fault| fault.tell).map(|tell| tell.plain());
        let steps = steps(entry).filter(|step| step.fits(Peer::Plain));
        let steps = steps.flat_map(|step| [Some(step.text.plain()), step.command.map(|command| command.plain())]);
        for text in all.chain(tells).chain(steps.flatten()) {
            let text = text.to_lowercase();
            let named =
                ["bridge", "sigul", "the server's log", "-hostname", "nss-m"].into_iter().find(|it| text.contains(it));
            found.extend(named.map(|named| format!("{cause}: {named}: {text}")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Entries for clients with files do not mention NSS or databases.
#[test]
fn entries_for_files_do_not_mention_databases() {
    let mut found = Vec::new();
    for cause in Cause::ALL.iter().filter(|cause| is_of_files(**cause)) {
        let entry = cause.entry();
        if entry.title.of(Peer::Files).is_empty() || entry.why.of(Peer::Files).is_empty() {
            found.push(format!("{cause}: nothing is left to say"));
        }
        let texts = [entry.title.of(Peer::Files), entry.why.of(Peer::Files)].into_iter();
        let tells = entry.faults.iter().filter_map(|fault| fault.tell).map(|tell| tell.of(Peer::Files));
        let steps = steps(entry).filter(|step| step.fits(Peer::Files));
        let steps = steps.flat_map(|step| [Some(step.text), step.command]).flatten().map(|text| text.of(Peer::Files));
        for text in texts.chain(tells).chain(steps) {
            let foreign = ["NSS", "certutil", "nickname", "sigul", "Sigul", "bridge", "the database", "<DIR>"];
            // OPENSSL contains NSS.
            let text = text.replace("OPENSSL", "OpenSSL");
            found.extend(foreign.iter().filter(|it| text.contains(**it)).map(|it| format!("{cause}: {it}: {text}")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Entries for a server describe its own certificate as a server's.
#[test]
fn server_entries_do_not_mention_a_client() {
    let own = |cause: &&Cause| {
        let is_own = |name: &str| name.starts_with("client-");
        cause.entry().faults.iter().all(|fault| is_own(fault.component.as_str()))
    };
    let mut found = Vec::new();
    for cause in Cause::ALL.iter().filter(own) {
        let layers = ["nss-db", "credentials", "password", "certificate", "private-key"];
        if !layers.contains(&cause.entry().layer.as_str()) {
            continue;
        }
        for text in [Peer::Clients, Peer::ClientsOfFiles].map(|peer| cause.entry().title.of(peer)) {
            found.extend(text.to_lowercase().contains("client").then(|| format!("{cause}: {text}")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
