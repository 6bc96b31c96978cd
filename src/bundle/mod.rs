//! `nssight bundle`: support data about a host, without secrets.

mod collect;
mod intake;
mod redact;

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nssight_diagnosis::fact::fact::ConfigState;
use nssight_inventory::facts::stamp;
use nssight_probes::files;
use nssight_probes::target::TargetSummary;
use nssight_reports::{sink, terminal};
use nssight_runner::passwords::Passwords;
use nssight_runner::walk;
use nssight_runner::worker;
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use self::collect::{Collector, Entry};
use self::intake::Source;
use self::redact::Redactor;
use crate::cli::BundleOptions;
use crate::{exit, settings};

/// The content of a bundle, schema `nssight/bundle/1`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Manifest<'a> {
    schema: &'static str,
    version: &'static str,
    made: String,
    files: Vec<Listed<'a>>,
}

/// A file in the bundle, as listed in the MANIFEST.
#[derive(Serialize, JsonSchema)]
struct Listed<'a> {
    name: &'a str,
    bytes: usize,
    sha256: String,
    /// The reasons for redactions, and the number of redactions for each.
    redacted: &'a redact::Reasons,
    note: Option<&'a str>,
}

pub(crate) fn run(options: &BundleOptions) -> ExitCode {
    worker::protect();
    match bundle(options) {
        Ok(code) => code,
        Err(Trouble::Usage(trouble)) => exit::usage(trouble),
        Err(Trouble::Failed(trouble)) => {
            terminal::say(format_args!("{trouble}"));
            ExitCode::from(exit::INCONCLUSIVE)
        }
    }
}

enum Trouble {
    Usage(String),
    Failed(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(format!("cannot write the bundle: {error}"))
    }
}

fn bundle(options: &BundleOptions) -> Result<ExitCode, Trouble> {
    let usage = |trouble: String| Trouble::Usage(trouble);
    let output = place(options).map_err(usage)?;
    let wanted = &options.walked.walk;
    let plan = options.walked.plan().map_err(usage)?;
    if let Some(missing) = options.walked.config().filter(|path| files::is_missing(path)) {
        return Err(Trouble::Usage(format!("{} does not exist, so nssight bundled nothing", missing.display())));
    }
    let (settings, passwords) = settings::of_walk_or_none(&options.walked, &plan).map_err(usage)?;
    // Logs and the host itself can be bundled without a target.
    if let Some(mistake) = settings.target.as_ref().err().filter(|it| it.by_flags && it.state != ConfigState::Missing) {
        return Err(Trouble::Usage(mistake.summary.clone()));
    }
    let summary = walk::summary(Some(&settings), &plan);
    let configs: Vec<Source> = paths_of_configs(&summary, options).into_iter().map(Source::config).collect();
    let redactor = redactor(&passwords, &configs).map_err(|error| Trouble::Failed(error.to_string()))?;

    // A check opens a connection, which a preview of the bundle must not do.
    let report = (!wanted.dry_run).then(|| walk::quietly(&settings, &plan, passwords, wanted.retries));
    let mut collector = Collector { redactor: &redactor, entries: Vec::new() };
    if let Some(report) = &report {
        collector.report(report);
    }
    collector.inventory(&summary);
    collector.environment();
    collector.libraries();
    collector.resolver(&summary);
    collector.crypto_policy();
    configs.iter().enumerate().for_each(|(number, config)| collector.config(number + 1, config));
    options.log.iter().enumerate().for_each(|(number, path)| collector.log(number + 1, Source::log(path.clone())));
    let entries = collector.entries;
    let manifest = manifest(&entries)?;

    if wanted.dry_run {
        show(&entries, true)?;
        terminal::line(format_args!(
            "report.json comes from a check, which opens {} connection when the bundle is written",
            plan.connections()
        ))?;
        return Ok(ExitCode::from(exit::PASSED));
    }
    write(&output, options.force, &entries, &manifest, &redactor)?;
    show(&entries, options.verbose)?;
    terminal::output(|out| {
        let shown = terminal::printable(&output.display().to_string());
        writeln!(
            out,
            "Wrote {shown}. Recognised secrets are redacted. Review it before you send it: tar --zstd -xf {shown}"
        )
    })?;
    if let Some(report) = &report {
        terminal::line(format_args!("verdict: {}", report.verdict.summary))?;
    }
    Ok(ExitCode::from(exit::PASSED))
}

/// The configuration files in effect, and those that the options name.
fn paths_of_configs(summary: &TargetSummary, options: &BundleOptions) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = summary.config_files.iter().map(PathBuf::from).collect();
    for path in options.walked.config().into_iter().chain(options.add_config.iter().map(PathBuf::as_path)) {
        if !paths.iter().any(|known| known == path) {
            paths.push(path.to_owned());
        }
    }
    paths
}

/// Builds a redactor with every password that was given, and every value that a configuration has under the name of a secret.
fn redactor(passwords: &Passwords, configs: &[Source]) -> Result<Redactor, regex::Error> {
    let mut redactor = Redactor::new()?;
    for secret in [&passwords.database, &passwords.admin].into_iter().flatten() {
        for line in secret.expose().split(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            redactor.add(line);
            // A password file may name the token before the password.
            if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                redactor.add(&line[colon + 1..]);
            }
        }
    }
    configs.iter().for_each(|config| redactor.learn(&config.content));
    Ok(redactor)
}

fn manifest(entries: &[Entry]) -> Result<Vec<u8>, Trouble> {
    let files = entries.iter().map(|entry| Listed {
        name: &entry.name,
        bytes: entry.content.len(),
        sha256: openssl::sha::sha256(&entry.content).iter().map(|byte| format!("{byte:02x}")).collect(),
        redacted: &entry.redacted,
        note: entry.note.as_deref(),
    });
    let manifest = Manifest {
        schema: "nssight/bundle/1",
        version: env!("CARGO_PKG_VERSION"),
        made: stamp(OffsetDateTime::now_utc()),
        files: files.collect(),
    };
    serde_json::to_vec_pretty(&manifest).map_err(|error| Trouble::Failed(error.to_string()))
}

fn show(entries: &[Entry], contents: bool) -> io::Result<()> {
    terminal::output(|out| {
        for entry in entries {
            let redacted: usize = entry.redacted.values().sum();
            let note = entry.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            writeln!(out, "{:<40} {:>9} bytes, {redacted} redacted{note}", entry.name, entry.content.len())?;
            if contents {
                for line in String::from_utf8_lossy(&entry.content).lines() {
                    writeln!(out, "    {}", terminal::printable(line))?;
                }
            }
        }
        Ok(())
    })
}

/// The required end of a bundle's name.
const SUFFIX: &str = ".tar.zst";
/// More bundles than anybody makes within a second.
const NAMES_AT_MOST: usize = 1000;

/// The path of the bundle. Existing files are kept unless `--force` is given, and the name must show the compression.
fn place(options: &BundleOptions) -> Result<PathBuf, String> {
    let Some(path) = &options.output else { return unused_name() };
    if !path.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
        return Err(format!("{}: the name of a bundle must end in {SUFFIX}", path.display()));
    }
    match fs::symlink_metadata(path) {
        Ok(_) if !options.force => Err(format!("{} already exists; use --force to replace it", path.display())),
        _ => Ok(path.clone()),
    }
}

/// A name with host and time. Two bundles of the same second have different names.
fn unused_name() -> Result<PathBuf, String> {
    let host = rustix::system::uname().nodename().to_string_lossy().replace('/', "_");
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = OffsetDateTime::now_utc().format(format).map_err(|error| error.to_string())?;
    let name = |number| match number {
        1 => format!("nssight-{host}-{time}{SUFFIX}"),
        _ => format!("nssight-{host}-{time}-{number}{SUFFIX}"),
    };
    let free = (1..=NAMES_AT_MOST).map(name).find(|name| fs::symlink_metadata(name).is_err());
    free.map(PathBuf::from).ok_or_else(|| format!("{} and {NAMES_AT_MOST} like it already exist", name(1)))
}

/// Writes the archive under a random name in the same directory, searches it for secrets, and then renames it. An existing file
/// of that name is never opened, so no link is followed.
fn write(path: &Path, force: bool, entries: &[Entry], manifest: &[u8], redactor: &Redactor) -> Result<(), Trouble> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = sink::unnamed(directory, 0o600)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    archive(&file, entries, manifest)?;
    if redactor.is_in(path.as_os_str().as_encoded_bytes()) {
        return Err(Trouble::Usage("the name of the bundle contains a secret; choose another name".to_owned()));
    }
    file.rewind()?;
    if holds_a_secret(&file, redactor)? {
        return Err(Trouble::Failed("the finished bundle contained a secret, so nssight deleted it".to_owned()));
    }
    sink::give_name(file, path, force)?;
    Ok(())
}

fn archive(file: &File, entries: &[Entry], manifest: &[u8]) -> io::Result<()> {
    let mut archive = tar::Builder::new(zstd::Encoder::new(file, 3)?);
    let all = [("MANIFEST.json", manifest)].into_iter();
    for (name, content) in all.chain(entries.iter().map(|entry| (entry.name.as_str(), entry.content.as_slice()))) {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0));
        header.set_cksum();
        archive.append_data(&mut header, format!("nssight-bundle/{name}"), content)?;
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()
}

fn holds_a_secret(file: &File, redactor: &Redactor) -> io::Result<bool> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(file)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        if redactor.is_in(&entry.path_bytes()) || redactor.is_in(&content) {
            return Ok(true);
        }
    }
    Ok(false)
}
