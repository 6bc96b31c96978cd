//! Keys that Sigul ignores: they are in a section where Sigul does not look for them, or they are misspelt.

use std::fmt;
use std::path::PathBuf;

use super::error::name;
use super::ini::DEFAULT_SECTION;
use super::layered::Layered;
use super::settings::Role;
use super::value::is_secret_key;
use crate::shown::shown;

/// The keys of each section of the public programs, as far as a mistake in them can be recognised.
const KNOWN: [(&str, &[&str]); 5] = [
    ("nss", &["nss-dir", "nss-password", "nss-min-tls", "nss-max-tls"]),
    (
        "client",
        &[
            "bridge-hostname",
            "bridge-port",
            "client-cert-nickname",
            "server-hostname",
            "user-name",
            "passphrase-length",
        ],
    ),
    ("server", &["bridge-hostname", "bridge-port", "server-cert-nickname", "lenient-username-check"]),
    (
        "bridge",
        &[
            "bridge-cert-nickname",
            "client-listen-port",
            "server-listen-port",
            "required-fas-group",
            "max-rpms-payloads-size",
        ],
    ),
    ("daemon", &["unix-user", "unix-group"]),
];

/// The only section whose keys are all listed; the others also have keys that do not affect a connection.
const WHOLE: &str = "nss";

/// A key that has no effect, and the place where it would have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredKey {
    /// The file.
    pub file: PathBuf,
    /// The line of the key, from 1.
    pub line: usize,
    /// The section that contains it.
    pub section: String,
    /// The key, in lower case.
    pub key: String,
    /// The section and key that were probably meant, if that can be determined.
    pub meant: Option<(&'static str, &'static str)>,
    /// Its value, unless it is a secret.
    pub value: Option<String>,
}

impl fmt::Display for IgnoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, section) = (shown(&self.key), shown(&self.section));
        write!(f, "{}:{}: key \"{key}\" in section [{section}] is ignored: ", name(&self.file), self.line)?;
        match self.meant {
            Some((right, meant)) if meant == self.key => write!(f, "the key belongs in section [{right}]"),
            Some((right, meant)) if right == self.section => {
                write!(f, "Sigul does not support it; did you mean \"{meant}\"?")
            }
            Some((right, meant)) => {
                write!(f, "Sigul does not support it; did you mean \"{meant}\" in section [{right}]?")
            }
            None => {
                let keys = KNOWN.iter().find(|(known, _)| *known == self.section).map_or(&[][..], |(_, keys)| keys);
                write!(f, "Sigul does not support it; the keys in this section are {}", keys.join(", "))
            }
        }
    }
}

/// Every key that was meant to have an effect and has none, in the order of the files. A key that another line sets in the right
/// place is not reported, nor are unknown sections and keys that resemble no known one.
pub fn ignored(layers: &Layered, role: Role) -> Vec<IgnoredKey> {
    let of_role = |section: &str| match section {
        "nss" => true,
        "daemon" => role != Role::Client,
        other => other == role.section(),
    };
    let known = || KNOWN.iter().filter(|(section, _)| of_role(section));
    let all = || known().flat_map(|(section, keys)| keys.iter().map(move |key| (*section, *key)));
    let mut ignored: Vec<IgnoredKey> = Vec::new();
    for (section, key, value) in layers.entries() {
        let ours = known().find(|(known, _)| *known == section);
        let reads = ours.is_some_and(|(_, keys)| keys.contains(&key));
        if reads || section == DEFAULT_SECTION {
            continue;
        }
        let looks_like_ours = ours.is_some() || known().any(|(known, _)| is_near(known, section));
        let misplaced = all().find(|(_, right)| *right == key && (looks_like_ours || is_distinctive(key)));
        let misspelt = || all().filter(|_| ours.is_some()).find(|(_, right)| is_near(right, key));
        let meant = misplaced.or_else(misspelt);
        let missed = meant.is_some_and(|(right, meant)| layers.get(right, meant).is_none());
        if missed || section == WHOLE {
            let (file, line) = (value.file().to_path_buf(), value.line());
            let secret = value.is_secret() || meant.is_some_and(|(_, meant)| is_secret_key(meant));
            let value = (!secret).then(|| value.text().to_owned());
            ignored.push(IgnoredKey { file, line, section: section.to_owned(), key: key.to_owned(), meant, value });
        }
    }
    ignored.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    ignored
}

/// Whether no other program's section would have such a key.
fn is_distinctive(key: &str) -> bool {
    ["nss-", "unix-"].iter().any(|start| key.starts_with(start))
        || ["-cert-nickname", "-listen-port", "-hostname"].iter().any(|end| key.ends_with(end))
}

/// Whether `written` is `known` with a slip, or with a suffix.
fn is_near(known: &str, written: &str) -> bool {
    let written = written.to_lowercase().replace('_', "-");
    written == known
        || written.strip_prefix(known).is_some_and(|rest| rest.starts_with('-'))
        || strsim::damerau_levenshtein(known, &written) <= if known.len() > 6 { 2 } else { 1 }
}
