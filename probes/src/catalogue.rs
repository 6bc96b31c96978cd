//! The catalogue of causes: what each one means, how to be sure of it, and what to do.
//!
//! Every explanation that nssight prints, in a verdict as in `explain`, comes from `catalogue.toml`, which is part of
//! the binary and is parsed when an entry is first asked for.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::vocabulary::{Component, Layer};

/// A word that is not the id of a cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{word}\" is not the id of a cause; `nssight causes --list` shows them all")]
pub struct UnknownCause {
    /// The word that was given.
    pub word: String,
}

/// Declares the causes with their ids, once, for display, parsing, JSON and the catalogue.
macro_rules! causes {
    ($($variant:ident = $id:literal,)+) => {
        /// Why a layer does not work. The ids are part of the report format.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[allow(missing_docs, reason = "the entry of each cause says what it means")]
        pub enum Cause {
            $(#[serde(rename = $id)] $variant,)+
        }

        impl Cause {
            /// Every cause, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The id, as reports write it.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }
        }
    };
}

causes! {
    ConfigMissing = "config-missing",
    ConfigInvalid = "config-invalid",
    ConfigWorldReadablePassword = "config-world-readable-password",
    DbMissing = "db-missing",
    DbUnreadable = "db-unreadable",
    DbCorrupt = "db-corrupt",
    DbLegacyUnsupported = "db-legacy-unsupported",
    DbTypeMismatch = "db-type-mismatch",
    DbPairMismatch = "db-pair-mismatch",
    DbMixedFormats = "db-mixed-formats",
    DbHalfUpgraded = "db-half-upgraded",
    DbUninitialised = "db-uninitialised",
    DbLocked = "db-locked",
    PasswordWrong = "password-wrong",
    PasswordMissing = "password-missing",
    PasswordFileFormat = "password-file-format",
    PasswordCallbackLost = "password-callback-lost",
    PasswordSaltTooNew = "password-salt-too-new",
    CertNotFound = "cert-not-found",
    CertNicknameNearMiss = "cert-nickname-near-miss",
    CertExpired = "cert-expired",
    CertNotYetValid = "cert-not-yet-valid",
    CertWrongUsage = "cert-wrong-usage",
    CaMissing = "ca-missing",
    CaUntrusted = "ca-untrusted",
    TrustTooNew = "trust-too-new",
    KeyMissing = "key-missing",
    KeyMismatch = "key-mismatch",
    KeyUnusable = "key-unusable",
    NameUnresolved = "name-unresolved",
    NameStaleHosts = "name-stale-hosts",
    TcpRefused = "tcp-refused",
    TcpTimeout = "tcp-timeout",
    TcpUnreachable = "tcp-unreachable",
    BridgeStalled = "bridge-stalled",
    NotTls = "not-tls",
    WrongPort = "wrong-port",
    TlsVersionMismatch = "tls-version-mismatch",
    TlsNoCommonCipher = "tls-no-common-cipher",
    TlsPolicyBlocked = "tls-policy-blocked",
    BridgeCertUntrusted = "bridge-cert-untrusted",
    BridgeCertExpired = "bridge-cert-expired",
    BridgeCertName = "bridge-cert-name",
    ClientCertRejected = "client-cert-rejected",
    ClientCertExpiredAtPeer = "client-cert-expired-at-peer",
    ClientCertNotSent = "client-cert-not-sent",
    ClientCaNotAcceptable = "client-ca-not-acceptable",
    PeerClosedInHandshake = "peer-closed-in-handshake",
    PeerReset = "peer-reset",
    BridgeRejectedRequest = "bridge-rejected-request",
    ServerAbsent = "server-absent",
    ServerLinkDead = "server-link-dead",
    ServerCertUntrusted = "server-cert-untrusted",
    ServerCertExpired = "server-cert-expired",
    ServerCertName = "server-cert-name",
    InnerClientCertRejected = "inner-client-cert-rejected",
    InnerTlsVersion = "inner-tls-version",
    RequestAuthFailed = "request-auth-failed",
    RequestRejected = "request-rejected",
    ReplyTampered = "reply-tampered",
    ReplyTruncated = "reply-truncated",
    ForkBreaksNss = "fork-breaks-nss",
    ForkDuplicatesRandomness = "fork-duplicates-randomness",
    ForkDeadlocks = "fork-deadlocks",
    ThreadLosesPassword = "thread-loses-password",
    ClockSkew = "clock-skew",
    CaExpired = "ca-expired",
    CertWeakPolicy = "cert-weak-policy",
    DbHotJournal = "db-hot-journal",
    PeerStalled = "peer-stalled",
    HandshakeTooSlow = "handshake-too-slow",
    HandshakeGarbled = "handshake-garbled",
    BridgeCertWeak = "bridge-cert-weak",
    BridgeCertUsage = "bridge-cert-usage",
    ClientCertRevokedAtPeer = "client-cert-revoked-at-peer",
    ServerCertWeak = "server-cert-weak",
    ServerCertUsage = "server-cert-usage",
    InnerClosed = "inner-closed",
    InnerNotTls = "inner-not-tls",
    ServerStalled = "server-stalled",
    ToolCrashed = "tool-crashed",
    ToolTimeout = "tool-timeout",
    NssInitFailed = "nss-init-failed",
    ConfigUnreadable = "config-unreadable",
    PeerAlert = "peer-alert",
    BridgeGarbled = "bridge-garbled",
    BareConnections = "bare-connections",
    HostNameNotSet = "host-name-not-set",
    ModuleForeign = "module-foreign",
    ToolNoCopy = "tool-no-copy",
}

impl Cause {
    /// What the catalogue knows about this cause.
    pub fn entry(self) -> &'static Entry {
        CATALOGUE
            .iter()
            .find(|entry| entry.id == self)
            .expect("every cause has an entry; a test holds the catalogue to it")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(word: &str) -> Result<Self, UnknownCause> {
        Self::ALL.iter().copied().find(|cause| cause.id() == word).ok_or_else(|| UnknownCause { word: word.to_owned() })
    }
}

/// Everything the catalogue says about one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The cause.
    pub id: Cause,
    /// The layer that usually shows it first. A finding may carry another one.
    pub layer: Layer,
    /// Whose fault it is.
    pub component: Component,
    /// The cause in one sentence of at most 100 characters, ready to print.
    pub title: String,
    /// Why it looks the way it does from a client, and what misleads.
    pub why: String,
    /// What to run to be sure. Nothing here changes anything.
    pub confirm: Vec<Step>,
    /// What to do about it, in order.
    pub fix: Vec<Step>,
    /// Names and messages of NSS, NSPR, Sigul, tstclnt and OpenSSL under which it shows.
    pub symptoms: Vec<String>,
    /// Causes it is confused with.
    pub see_also: Vec<SeeAlso>,
}

/// One thing to do, with the command for it where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What to do, or what the command shows.
    pub text: String,
    /// A shell command; the words in angle brackets are for the reader to replace.
    #[serde(default)]
    pub command: Option<String>,
}

/// A cause that looks similar, and what tells the two apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeeAlso {
    /// The other cause.
    pub cause: Cause,
    /// How to tell the two apart.
    pub how: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    cause: Vec<Entry>,
}

const TEXT: &str = include_str!("../catalogue.toml");

static CATALOGUE: LazyLock<Vec<Entry>> =
    LazyLock::new(|| parse(TEXT).expect("the embedded catalogue is valid; a test holds it to that"));

fn parse(text: &str) -> Result<Vec<Entry>, toml::de::Error> {
    toml::from_str::<Document>(text).map(|document| document.cause)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The ids that verdicts were promised from the start, in their order.
    const FIRST_CATALOGUE: &str = "
        config-missing config-invalid config-world-readable-password db-missing db-unreadable db-corrupt
        db-legacy-unsupported db-type-mismatch db-pair-mismatch db-mixed-formats db-half-upgraded db-uninitialised
        db-locked password-wrong password-missing password-file-format password-callback-lost password-salt-too-new
        cert-not-found cert-nickname-near-miss cert-expired cert-not-yet-valid cert-wrong-usage ca-missing ca-untrusted
        trust-too-new key-missing key-mismatch key-unusable name-unresolved name-stale-hosts tcp-refused tcp-timeout
        tcp-unreachable bridge-stalled not-tls wrong-port tls-version-mismatch tls-no-common-cipher tls-policy-blocked
        bridge-cert-untrusted bridge-cert-expired bridge-cert-name client-cert-rejected client-cert-expired-at-peer
        client-cert-not-sent client-ca-not-acceptable peer-closed-in-handshake peer-reset bridge-rejected-request
        server-absent server-link-dead server-cert-untrusted server-cert-expired server-cert-name
        inner-client-cert-rejected inner-tls-version request-auth-failed request-rejected reply-tampered
        reply-truncated fork-breaks-nss fork-duplicates-randomness fork-deadlocks thread-loses-password clock-skew";

    /// Programs that an administrator of Debian or Fedora has at hand.
    const PROGRAMS: &str = "
        ausearch cat certutil chmod chown chronyc cp crlutil date df dig find fuser getent getfacl grep head id ip
        journalctl ls lslocks mkdir mv namei nft nssight od openssl ping pk12util printenv restorecon rpm runuser ss
        systemctl tcpdump test timedatectl timeout tstclnt update-crypto-policies uptime wc";

    /// Programs that run the rest of their words as a command, after this many words of their own.
    const WRAPPERS: [(&str, usize); 2] = [("runuser", 4), ("timeout", 2)];

    fn steps(entry: &Entry) -> impl Iterator<Item = &Step> {
        entry.confirm.iter().chain(&entry.fix)
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
        steps(entry).filter_map(|step| step.command.as_deref()).flat_map(simple_commands).collect()
    }

    #[test]
    fn every_cause_has_exactly_one_entry_in_the_order_of_the_enum() {
        let entries = parse(TEXT).expect("the catalogue parses");
        let listed: Vec<Cause> = entries.iter().map(|entry| entry.id).collect();
        assert_eq!(listed, Cause::ALL);
    }

    #[test]
    fn an_entry_is_the_one_of_its_cause() {
        for cause in Cause::ALL {
            assert_eq!(cause.entry().id, *cause);
        }
    }

    #[test]
    fn ids_are_unique_and_kebab_case_and_read_back() {
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
    fn the_first_catalogue_is_kept_in_its_order() {
        let first: Vec<&str> = FIRST_CATALOGUE.split_whitespace().collect();
        let ours: Vec<&str> = Cause::ALL.iter().take(first.len()).map(|cause| cause.id()).collect();
        assert_eq!(ours, first);
    }

    #[test]
    fn the_schema_of_a_cause_is_a_plain_list_of_its_ids() {
        let schema = serde_json::to_value(schemars::schema_for!(Cause)).unwrap();
        let ids: Vec<&str> = Cause::ALL.iter().map(|cause| cause.id()).collect();
        assert_eq!(schema["type"], "string");
        assert_eq!(schema["enum"], serde_json::json!(ids));
    }

    #[test]
    fn titles_are_short_sentences_without_placeholders() {
        for cause in Cause::ALL {
            let title = &cause.entry().title;
            assert!(title.chars().count() <= 100, "{cause}: {title}");
            assert!(title.ends_with('.') && !title.contains(['<', '{', '\n']), "{cause}: {title}");
        }
    }

    #[test]
    fn explanations_have_two_to_six_sentences_on_one_line() {
        for cause in Cause::ALL {
            let why = &cause.entry().why;
            let sentences = why.split(". ").count();
            assert!((2..=6).contains(&sentences) && why.ends_with('.'), "{cause}: {sentences} sentences");
            assert!(!why.contains(['\n', '<']) && !why.contains("  "), "{cause}: {why}");
        }
    }

    #[test]
    fn every_entry_says_how_to_confirm_and_how_to_fix() {
        for cause in Cause::ALL {
            let entry = cause.entry();
            assert!(!entry.confirm.is_empty() && !entry.fix.is_empty(), "{cause}");
            assert!(entry.confirm.iter().any(|step| step.command.is_some()), "{cause}: nothing to run");
            for step in steps(entry) {
                assert!(step.text.ends_with('.'), "{cause}: {}", step.text);
            }
        }
    }

    #[test]
    fn symptoms_are_distinct_and_not_blank() {
        for cause in Cause::ALL {
            let symptoms = &cause.entry().symptoms;
            assert_eq!(symptoms.iter().collect::<BTreeSet<_>>().len(), symptoms.len(), "{cause}");
            assert!(symptoms.iter().all(|symptom| !symptom.trim().is_empty()), "{cause}");
        }
    }

    #[test]
    fn similar_causes_are_other_causes_named_once_with_the_difference() {
        for cause in Cause::ALL {
            let others = &cause.entry().see_also;
            assert!(!others.is_empty(), "{cause}: nothing to tell it apart from");
            assert!(others.iter().all(|other| other.cause != *cause && other.how.ends_with('.')), "{cause}");
            assert_eq!(others.iter().map(|other| other.cause).collect::<BTreeSet<_>>().len(), others.len(), "{cause}");
        }
    }

    #[test]
    fn commands_use_only_programs_that_an_administrator_has() {
        let known: BTreeSet<&str> = PROGRAMS.split_whitespace().collect();
        for cause in Cause::ALL {
            for words in all_simple_commands(cause.entry()) {
                let program = unwrapped(&words).first().expect("a command behind the wrapper");
                assert!(known.contains(program) && known.contains(words[0]), "{cause}: {words:?}");
            }
        }
    }

    #[test]
    fn no_password_stands_on_a_command_line() {
        for cause in Cause::ALL {
            for words in all_simple_commands(cause.entry()) {
                let words = unwrapped(&words);
                let takes_a_literal: &[&str] = match words[0] {
                    "tstclnt" | "strsclnt" | "selfserv" | "vfyserv" => &["-w"],
                    "pk12util" => &["-K", "-W"],
                    _ => &[],
                };
                assert!(!words.iter().any(|word| takes_a_literal.contains(word)), "{cause}: {words:?}");
                assert!(
                    !words.iter().any(|word| word.contains("pass:") || *word == "<PASSWORD>"),
                    "{cause}: {words:?}"
                );
            }
            let texts = steps(cause.entry()).map(|step| step.text.to_lowercase());
            assert!(texts.into_iter().all(|text| !text.contains("<password>")), "{cause}");
        }
    }

    #[test]
    fn a_database_is_backed_up_before_it_is_changed_and_never_destroyed() {
        for cause in Cause::ALL {
            let entry = cause.entry();
            let confirms = entry.confirm.iter().filter_map(|step| step.command.as_deref());
            for words in confirms.flat_map(simple_commands) {
                assert_eq!(changed_database(&words), None, "{cause}: to confirm must not change anything: {words:?}");
            }
            let mut copied = BTreeSet::new();
            for words in entry.fix.iter().filter_map(|step| step.command.as_deref()).flat_map(simple_commands) {
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
            "certutil" => {
                &["-A", "-D", "-F", "-M", "-N", "-S", "-T", "-W", "-X", "--merge", "--rename", "--upgrade-merge"]
            }
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
            ["nssight", "handshake" | "clients" | "check", ..] | ["openssl", "s_client", ..] => true,
            [program, ..] => ["tstclnt", "strsclnt", "vfyserv"].contains(program),
            [] => false,
        }
    }

    #[test]
    fn a_step_that_connects_to_the_peer_says_so() {
        for cause in Cause::ALL {
            for step in steps(cause.entry()) {
                let connects = step.command.iter().flat_map(|line| simple_commands(line)).any(|words| connects(&words));
                assert_eq!(connects, step.text.contains("opens one connection"), "{cause}: {}", step.text);
            }
        }
    }

    #[test]
    fn placeholders_are_written_in_capitals() {
        for cause in Cause::ALL {
            for command in steps(cause.entry()).filter_map(|step| step.command.as_deref()) {
                for rest in command.split('<').skip(1) {
                    let name = rest.split_once('>').map_or("", |(name, _)| name);
                    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                    assert!(!name.is_empty() && name.chars().all(plain), "{cause}: {command}");
                }
            }
        }
    }
}
