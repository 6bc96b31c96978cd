//! OpenSSL's own configuration, which applies to every program on this host that uses TLS with OpenSSL (config(5), SSL_CONF_cmd(3)).
//! OpenSSL silently ignores what it cannot use, and so do its programs; this module reads the file to report such parts.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use nssight_diagnosis::fact::{Facts, fact};
use openssl::hash::{MessageDigest, hash};

use crate::files::{self, PATIENCE};

/// A configuration has only a few pages.
const FILE_AT_MOST: u64 = 1024 * 1024;
/// Maximum number of included files, nested or one after the other.
const FILES_AT_MOST: usize = 64;
/// The section of a file before its first header.
const FIRST: &str = "default";
/// The commands that a TLS client takes from its section (SSL_CONF_cmd(3), "SUPPORTED CONFIGURATION FILE COMMANDS").
const COMMANDS: [&str; 30] = [
    "CipherString",
    "Ciphersuites",
    "Certificate",
    "PrivateKey",
    "ChainCAFile",
    "ChainCAPath",
    "VerifyCAFile",
    "VerifyCAPath",
    "VerifyCAStore",
    "ChainCAStore",
    "ServerInfoFile",
    "DHParameters",
    "RecordPadding",
    "SignatureAlgorithms",
    "ClientSignatureAlgorithms",
    "Groups",
    "Curves",
    "ECDHParameters",
    "MinProtocol",
    "MaxProtocol",
    "Protocol",
    "Options",
    "VerifyMode",
    "ClientCAFile",
    "ClientCAPath",
    "RequestCAFile",
    "RequestCAPath",
    "RequestCAStore",
    "NumTickets",
    "ClientCAStore",
];

/// The origin of the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    BuiltIn,
    Environment,
}

/// The reason why OpenSSL ignores the file, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    Missing,
    Unreadable(String),
    Malformed(String),
    NoSection(String),
    Unknown(String),
    /// OpenSSL cannot compute even a hash: the file activates providers, but none that has the usual algorithms.
    NoAlgorithms,
}

/// The content of OpenSSL's configuration.
#[derive(Debug)]
pub(crate) struct Configuration {
    source: Source,
    path: PathBuf,
    trouble: Option<Trouble>,
    /// The settings of every TLS session on this host, in order.
    settings: Vec<(String, String)>,
    /// The providers that are named; if none, OpenSSL uses the default provider.
    providers: Vec<String>,
}

type Sections = BTreeMap<String, Vec<(String, String)>>;

/// The path that OpenSSL uses unless the environment names another.
pub(crate) fn built_in() -> PathBuf {
    let directory = openssl::version::dir();
    let directory = directory.split('"').nth(1).unwrap_or("/etc/ssl");
    Path::new(directory).join("openssl.cnf")
}

impl Configuration {
    /// Reads the configuration that applies to this process.
    pub(crate) fn read() -> Self {
        let (source, path) = match env::var_os("OPENSSL_CONF") {
            Some(path) => (Source::Environment, PathBuf::from(path)),
            None => (Source::BuiltIn, built_in()),
        };
        let mut configuration = Self { source, path, trouble: None, settings: Vec::new(), providers: Vec::new() };
        let sections = match sections_of(&configuration.path) {
            Ok(sections) => sections,
            Err(trouble) => {
                configuration.trouble = Some(trouble);
                return configuration;
            }
        };
        let trouble = configuration.take(&sections).err();
        // The library has loaded its configuration by now, so this shows the result.
        let works = hash(MessageDigest::sha256(), b"").is_ok();
        configuration.trouble = if works { trouble } else { Some(Trouble::NoAlgorithms) };
        configuration
    }

    fn take(&mut self, sections: &Sections) -> Result<(), Trouble> {
        let Some(main) = value(sections, FIRST, "openssl_conf") else { return Ok(()) };
        section(sections, main)?;
        if let Some(providers) = value(sections, main, "providers") {
            self.providers = section(sections, providers)?.iter().map(|(name, _)| name.clone()).collect();
        }
        let Some(tls) = value(sections, main, "ssl_conf") else { return Ok(()) };
        section(sections, tls)?;
        let Some(name) = value(sections, tls, "system_default") else { return Ok(()) };
        for (name, value) in section(sections, name)? {
            // "1.Options" and "2.Options" are the same command.
            let command = name.rsplit('.').next().unwrap_or(name);
            let known = COMMANDS.into_iter().find(|known| known.eq_ignore_ascii_case(command));
            let Some(known) = known else { return Err(Trouble::Unknown(name.clone())) };
            self.settings.push((known.to_owned(), value.clone()));
        }
        Ok(())
    }

    pub(crate) fn facts(&self, out: &mut Facts) {
        out.put(fact::OPENSSL_CONFIGURATION.text(self.path.display()));
        out.put(match self.source {
            Source::BuiltIn => fact::OpensslConfigurationSource::BuiltIn,
            Source::Environment => fact::OpensslConfigurationSource::Environment,
        });
        out.put(match &self.trouble {
            None => fact::OpensslConfigurationState::Read,
            Some(Trouble::Missing) => fact::OpensslConfigurationState::Missing,
            Some(Trouble::Unreadable(_)) => fact::OpensslConfigurationState::Unreadable,
            Some(Trouble::Malformed(_)) => fact::OpensslConfigurationState::Malformed,
            Some(Trouble::NoSection(_)) => fact::OpensslConfigurationState::SectionMissing,
            Some(Trouble::Unknown(_)) => fact::OpensslConfigurationState::SettingUnknown,
            Some(Trouble::NoAlgorithms) => fact::OpensslConfigurationState::NoAlgorithms,
        });
        for (name, value) in &self.settings {
            out.put(fact::OPENSSL_SETTING.text(format!("{name} = {value}")));
        }
        for name in &self.providers {
            out.put(fact::OPENSSL_PROVIDER.text(name));
        }
    }

    /// Whether OpenSSL can do nothing at all.
    pub(crate) fn leaves_nothing(&self) -> bool {
        self.trouble == Some(Trouble::NoAlgorithms)
    }

    /// A sentence about a part that OpenSSL silently ignores.
    pub(crate) fn remark(&self) -> Option<String> {
        let path = self.path.display();
        let then = "OpenSSL silently uses its built-in settings";
        Some(match self.trouble.as_ref()? {
            // A host does not need this file.
            Trouble::Missing if self.source == Source::BuiltIn => return None,
            Trouble::Missing => format!("OPENSSL_CONF names {path}, which does not exist: {then}"),
            Trouble::Unreadable(why) => format!("OpenSSL's configuration {path} cannot be read ({why}): {then}"),
            Trouble::Malformed(why) => format!("OpenSSL's configuration {path} cannot be parsed ({why}): {then}"),
            Trouble::NoSection(name) => {
                format!("OpenSSL's configuration {path} names a section [{name}] that does not exist: {then}")
            }
            Trouble::Unknown(name) => {
                format!("OpenSSL's configuration {path} has a TLS setting that OpenSSL does not support: {name}")
            }
            Trouble::NoAlgorithms => {
                format!(
                    "with the configuration {path}, OpenSSL has no algorithms, so it can neither verify a certificate nor use a key"
                )
            }
        })
    }
}

fn value<'a>(sections: &'a Sections, section: &str, name: &str) -> Option<&'a str> {
    sections.get(section)?.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn section<'a>(sections: &'a Sections, name: &str) -> Result<&'a [(String, String)], Trouble> {
    sections.get(name).map(Vec::as_slice).ok_or_else(|| Trouble::NoSection(name.to_owned()))
}

/// The text of a file; empty for a device without content, which is used to disable the configuration.
fn text_of(path: &Path) -> Result<String, Trouble> {
    let bytes = files::within(path, PATIENCE, |path| {
        if path == Path::new("/dev/null") {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        files::regular(path)?.take(FILE_AT_MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match bytes {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Trouble::Missing),
        Err(error) => Err(Trouble::Unreadable(error.to_string())),
    }
}

fn sections_of(path: &Path) -> Result<Sections, Trouble> {
    let mut sections = Sections::from([(FIRST.to_owned(), Vec::new())]);
    let mut current = FIRST.to_owned();
    let mut waiting: VecDeque<String> = lines(&text_of(path)?);
    let mut files = 1;
    while let Some(line) = waiting.pop_front() {
        if let Some(header) = line.strip_prefix('[') {
            let Some((name, _)) = header.split_once(']') else {
                return Err(Trouble::Malformed(format!("no \"]\" in \"{}\"", shown(&line))));
            };
            name.trim().clone_into(&mut current);
            sections.entry(current.clone()).or_default();
        } else if let Some(included) = line.strip_prefix(".include") {
            let included = unquoted(included.trim().trim_start_matches('=').trim());
            for path in included_files(Path::new(&included)) {
                files += 1;
                // Missing files are ignored, as OpenSSL does.
                let text = if files > FILES_AT_MOST { continue } else { text_of(&path).unwrap_or_default() };
                for line in lines(&text).into_iter().rev() {
                    waiting.push_front(line);
                }
            }
        } else if line.starts_with(".pragma") {
        } else {
            let Some((name, value)) = line.split_once('=') else {
                return Err(Trouble::Malformed(format!("no \"=\" in \"{}\"", shown(&line))));
            };
            let (name, value) = (name.trim().to_owned(), unquoted(value.trim()));
            // SECTION::NAME belongs to SECTION.
            let (of, name) = match name.split_once("::") {
                Some((of, name)) => (of.to_owned(), name.to_owned()),
                None => (current.clone(), name),
            };
            sections.entry(of).or_default().push((name, value));
        }
    }
    Ok(sections)
}

/// Lines with content, without comments, and with continued lines joined.
fn lines(text: &str) -> VecDeque<String> {
    let mut out = VecDeque::new();
    let mut held = String::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        if let Some(part) = line.strip_suffix('\\') {
            held.push_str(part);
            continue;
        }
        held.push_str(line);
        let whole = std::mem::take(&mut held);
        if !whole.trim().is_empty() {
            out.push_back(whole.trim().to_owned());
        }
    }
    if !held.trim().is_empty() {
        out.push_back(held.trim().to_owned());
    }
    out
}

fn unquoted(value: &str) -> String {
    value.chars().filter(|it| !matches!(it, '"' | '\'')).collect()
}

fn shown(line: &str) -> String {
    line.chars().filter(|it| !it.is_control()).take(40).collect()
}

/// A file, or the files of a directory whose names are those of configurations.
fn included_files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.to_owned()] };
    let is_one = |path: &PathBuf| path.extension().is_some_and(|it| it == "cnf" || it == "conf");
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_one).take(FILES_AT_MOST).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<(String, String)>, Trouble> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("openssl.cnf");
        fs::write(&path, text.replace("{directory}", directory.path().to_str().unwrap())).unwrap();
        fs::write(directory.path().join("more.cnf"), "MaxProtocol = TLSv1.2\n").unwrap();
        let mut configuration =
            Configuration { source: Source::BuiltIn, path, trouble: None, settings: Vec::new(), providers: Vec::new() };
        configuration.take(&sections_of(&configuration.path)?)?;
        Ok(configuration.settings)
    }

    const HEAD: &str = "openssl_conf = a # where it begins\n[a]\nssl_conf=b\n[ b ]\nsystem_default = \"c\"\n[c]\n";

    #[test]
    fn the_settings_of_every_session_are_found() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let text = format!("{HEAD}minprotocol = TLSv1.3\nGroups = P-256:\\\nP-384\n1.Options = Foo\n");
        let wanted = vec![pair("MinProtocol", "TLSv1.3"), pair("Groups", "P-256:P-384"), pair("Options", "Foo")];
        assert_eq!(of(&text), Ok(wanted));
        let wanted = vec![pair("MaxProtocol", "TLSv1.2")];
        assert_eq!(of(&format!("{HEAD}.include {{directory}}/more.cnf\n")), Ok(wanted.clone()));
        assert_eq!(
            of(&format!("{HEAD}.include = {{directory}}\n").replace("{directory}\n", "{directory}/more.cnf\n")),
            Ok(wanted)
        );
        assert_eq!(of("# nothing\n"), Ok(Vec::new()));
        assert_eq!(of(""), Ok(Vec::new()));
    }

    #[test]
    fn settings_that_openssl_ignores_are_reported() {
        assert_eq!(of("openssl_conf = nowhere\n"), Err(Trouble::NoSection("nowhere".to_owned())));
        assert_eq!(of(&format!("{HEAD}Nonsense = 1\n")), Err(Trouble::Unknown("Nonsense".to_owned())));
        assert!(matches!(of("[a\nb = c\n"), Err(Trouble::Malformed(_))));
        assert!(matches!(of("no equals sign\n"), Err(Trouble::Malformed(_))));
    }
}
