//! Collects the files of a bundle and removes all secrets.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nssight_probes::Report;
use nssight_probes::ask::ask;
use nssight_probes::target::TargetSummary;
use time::OffsetDateTime;

use super::intake::Source;
use super::redact::{Reasons, Redactor};
use crate::db;

/// Total time limit for the queries to the package manager.
const PACKAGES_PATIENCE: Duration = Duration::from_secs(10);

/// One file of the bundle.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
    pub(super) redacted: Reasons,
    pub(super) note: Option<String>,
}

/// Removes secrets from the files.
pub(super) struct Collector<'a> {
    pub(super) redactor: &'a Redactor,
    pub(super) entries: Vec<Entry>,
}

impl Collector<'_> {
    fn add(&mut self, name: String, content: Vec<u8>, redacted: Reasons, note: Option<String>) {
        // A file name may also contain a secret.
        let mut reasons = redacted;
        let name = String::from_utf8_lossy(&self.redactor.values(name.as_bytes(), &mut reasons))
            .replace("[redacted]", "redacted");
        let harmless = |c: char| if c.is_ascii_alphanumeric() || "._-/".contains(c) { c } else { '_' };
        let name: String = name.chars().map(harmless).take(90).collect();
        self.entries.push(Entry { name, content, redacted: reasons, note });
    }

    fn text(&mut self, name: &str, text: &str) {
        let mut reasons = Reasons::new();
        let content = self.redactor.text(text.as_bytes(), &mut reasons);
        self.add(name.to_owned(), content, reasons, None);
    }

    pub(super) fn report(&mut self, report: &Report) {
        let mut reasons = Reasons::new();
        let text = serde_json::to_vec_pretty(report).unwrap_or_default();
        let content = self.redactor.values(&text, &mut reasons);
        self.add("report.json".to_owned(), content, reasons, None);
    }

    pub(super) fn config(&mut self, number: usize, source: &Source) {
        let mut reasons = Reasons::new();
        let content = self.redactor.config(&source.content, &mut reasons);
        self.add(format!("config/{number}-{}", source.name), content, reasons, source.note.clone());
    }

    pub(super) fn log(&mut self, number: usize, source: Source) {
        let mut reasons = Reasons::new();
        let content = self.redactor.text(&source.content, &mut reasons);
        self.add(format!("logs/{number}-{}", source.name), content, reasons, source.note);
    }

    /// Names, certificates and trust; never a key, nor the files themselves.
    pub(super) fn inventory(&mut self, target: &TargetSummary) {
        let Some(database) = &target.database else { return };
        let text = match db::inventory(database.value.as_ref(), OffsetDateTime::now_utc()) {
            Ok(text) => text,
            Err(error) => format!("{{\"error\": {}}}\n", serde_json::Value::from(error)),
        };
        let mut reasons = Reasons::new();
        let content = self.redactor.values(text.as_bytes(), &mut reasons);
        self.add("database.json".to_owned(), content, reasons, None);
    }

    pub(super) fn environment(&mut self) {
        const NAMES: [&str; 6] = ["PATH", "LANG", "LC_ALL", "TZ", "HOME", "USER"];
        const PREFIXES: [&str; 7] = ["NSS_", "NSPR_", "SSL", "LD_", "OPENSSL_", "SIGUL_", "PYTHON"];
        let wanted = |name: &str| NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let mut lines: Vec<String> = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .filter(|(name, _)| wanted(name))
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        lines.sort();
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let text = format!(
            "# variables\n{}\n# kernel\n{}\n# os-release\n{}\n# limits\n{}",
            lines.concat(),
            file("/proc/version"),
            file("/etc/os-release"),
            file("/proc/self/limits")
        );
        self.text("environment.txt", &text);
    }

    /// The NSS libraries that this process has loaded, with their packages.
    pub(super) fn libraries(&mut self) {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let named = |path: &&str| {
            ["libnss", "libssl3", "libnspr4", "libsoftokn", "libfreebl", "libplc"]
                .iter()
                .any(|name| path.contains(name))
        };
        let mut paths: Vec<&str> =
            maps.lines().filter_map(|line| line.split_whitespace().nth(5)).filter(named).collect();
        paths.sort_unstable();
        paths.dedup();
        let beside = paths.first().and_then(|path| Path::new(path).parent()).map(Path::to_owned);
        let mut all: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        // NSS loads softoken and freebl when it opens a database, but this process opens none.
        let loaded_later = [
            "libsoftokn3.so",
            "libfreebl3.so",
            "libnssdbm3.so",
            "nss/libsoftokn3.so",
            "nss/libfreebl3.so",
            "nss/libnssdbm3.so",
        ];
        all.extend(beside.iter().flat_map(|dir| loaded_later.map(|name| dir.join(name))).filter(|path| path.exists()));
        all.sort();
        all.dedup();
        let until = Instant::now() + PACKAGES_PATIENCE;
        let line = |path: &PathBuf| format!("{}  {}\n", path.display(), package_of(path, until));
        let lines: Vec<String> = all.iter().map(line).collect();
        self.text("libraries.txt", &lines.concat());
    }

    /// The resolver settings for the names involved.
    pub(super) fn resolver(&mut self, target: &TargetSummary) {
        let bridge =
            target.bridge.as_ref().map(|it| it.value.rsplit_once(':').map_or(it.value.as_str(), |(host, _)| host));
        let names: Vec<&str> = bridge.into_iter().chain(target.server.as_ref().map(|it| it.value.as_str())).collect();
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let hosts = file("/etc/hosts");
        let involved = |line: &&str| line.split_whitespace().skip(1).any(|word| names.contains(&word));
        let hosts: Vec<&str> = hosts.lines().filter(involved).collect();
        let switch = file("/etc/nsswitch.conf");
        let switch: Vec<&str> = switch.lines().filter(|line| line.starts_with("hosts:")).collect();
        let text = format!(
            "# names\n{}\n\n# /etc/hosts, lines with these names\n{}\n\n# /etc/nsswitch.conf\n{}\n\n# /etc/resolv.conf\n{}",
            names.join("\n"),
            hosts.join("\n"),
            switch.join("\n"),
            file("/etc/resolv.conf")
        );
        self.text("resolver.txt", &text);
    }

    pub(super) fn crypto_policy(&mut self) {
        let files = [
            "/etc/crypto-policies/config",
            "/etc/crypto-policies/state/current",
            "/etc/crypto-policies/back-ends/nss.config",
        ];
        let one = |path: &str| match fs::read_to_string(path) {
            Ok(text) => format!("# {path}\n{text}\n"),
            Err(error) => format!("# {path}: {error}\n"),
        };
        self.text("crypto-policy.txt", &files.map(one).concat());
    }
}

/// The package that owns a file, according to dpkg or rpm.
fn package_of(path: &Path, until: Instant) -> String {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let asking = |tool: &str, arguments: &[&OsStr]| {
        let left = until.saturating_duration_since(Instant::now());
        let answer = ask(tool, arguments, left).filter(|answer| answer.success);
        answer.map(|answer| answer.text)
    };
    let asked = [("dpkg-query", "-S"), ("rpm", "-qf")].into_iter().find_map(|(tool, option)| {
        // With a merged /usr, a package may list the file without the prefix.
        let bare = real.strip_prefix("/usr").ok().map(|rest| Path::new("/").join(rest));
        [Some(real.clone()), bare].into_iter().flatten().find_map(|path| {
            let text = asking(tool, &[option.as_ref(), path.as_os_str()])?;
            text.lines().next().map(str::to_owned)
        })
    });
    let Some(owner) = asked else { return "of no package".to_owned() };
    let Some((package, _)) = owner.split_once(": ") else { return owner };
    let version = asking("dpkg-query", &["-W", "-f=${Version}", package].map(OsStr::new));
    format!("{package} {}", version.unwrap_or_default())
}
