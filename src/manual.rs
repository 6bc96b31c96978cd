//! `nssight manual`: man pages and completions, from the definitions that `--help` is printed from.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap::builder::PossibleValuesParser;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use nssight_diagnosis::{Cause, Layer, explain};
use nssight_fixtures::fault;
use time::{Date, OffsetDateTime};

use crate::cli;
use crate::exit;

/// Where each shell looks below a `share` directory (bash-completion's README, zsh's compsys, fish's `complete`).
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/nssight"),
    (Shell::Zsh, "zsh/site-functions/_nssight"),
    (Shell::Fish, "fish/vendor_completions.d/nssight.fish"),
];

/// Writes everything below `share`, which is finally installed as `/usr/share`, `/usr/local/share` or `~/.local/share`.
pub(crate) fn run(share: &Path) -> ExitCode {
    match pages(share).and_then(|()| completions(share)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::not_written(&error),
    }
}

/// The command line as users see it: the completions would offer hidden subcommands too. Library versions belong to the machine that prints
/// them, so no page contains them.
fn visible() -> Command {
    let whole = cli::command();
    Command::new("nssight")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .args(whole.get_arguments())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()))
}

fn completions(share: &Path) -> io::Result<()> {
    COMPLETIONS.iter().try_for_each(|(shell, path)| {
        let mut script = Vec::new();
        generate(*shell, &mut with_values(visible()), "nssight", &mut script);
        create(&share.join(path))?.write_all(&script)
    })
}

/// The script for one shell, on standard output.
pub(crate) fn completion(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    generate(shell, &mut with_values(visible()), "nssight", &mut script);
    match io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        // A closed pipe is not an error: the reader has finished.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => exit::not_written(&error),
    }
}

/// Adds the possible values of options that take too long to collect at every start: faults, causes, layers and names of errors.
fn with_values(command: Command) -> Command {
    // This runs once, for one script, and then the process ends.
    let of = |words: Vec<String>| PossibleValuesParser::new(words.into_iter().map(|word| &*word.leak()));
    let faults = fault::all().unwrap_or_default().into_iter().map(|fault| fault.id.to_string());
    let faults: Vec<String> = faults.collect();
    let causes: Vec<String> = Cause::ALL.iter().map(|cause| cause.id().to_owned()).collect();
    let layers: Vec<String> = Layer::ALL.iter().map(|layer| layer.as_str().to_owned()).collect();
    let explained: Vec<String> =
        causes.iter().cloned().chain(explain::names().iter().map(|(_, name, _)| (*name).to_owned())).collect();
    let layered = |command: Command| {
        let layers = layers.clone();
        command
            .mut_arg("until", |arg| arg.value_parser(of(layers.clone())))
            .mut_arg("exclude", |arg| arg.value_parser(of(layers)))
    };
    let faulty = |command: Command| command.mut_arg("faults", |arg| arg.value_parser(of(faults.clone())));
    command
        .mut_subcommand("diagnose", |it| layered(it).mut_arg("why_not", |arg| arg.value_parser(of(causes))))
        .mut_subcommand("bundle", layered)
        .mut_subcommand("explain", |it| it.mut_arg("what", |arg| arg.value_parser(of(explained))))
        .mut_subcommand("lab", |it| it.mut_subcommand("run", faulty).mut_subcommand("up", faulty))
        .mut_subcommand("selftest", |it| it.mut_arg("only", |arg| arg.value_parser(of(faults.clone()))))
}

fn pages(share: &Path) -> io::Result<()> {
    let mut whole = visible().disable_help_subcommand(true);
    whole.build();
    page(&whole, "", &share.join("man/man1"))
}

/// The page of a command, and those of its subcommands. `path` is the name of the command, for example `db inspect`.
fn page(command: &Command, path: &str, directory: &Path) -> io::Result<()> {
    let man = Man::new(command.clone())
        .date(today().to_string())
        .source(concat!("nssight ", env!("CARGO_PKG_VERSION")))
        .manual("nssight");
    let mut out = create(&directory.join(man.get_filename()))?;
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    ending(path).to_writer(&mut out)?;
    command.get_subcommands().try_for_each(|under| {
        let below = format!("{path} {}", under.get_name());
        page(under, below.trim_start(), directory)
    })
}

/// The date on a page. A package that is built twice must be identical both times (reproducible-builds.org, SOURCE_DATE_EPOCH).
fn today() -> Date {
    let given = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let then = given.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    then.unwrap_or_else(OffsetDateTime::now_utc).date()
}

/// The sections after the options.
fn ending(path: &str) -> Roff {
    let mut roff = Roff::new();
    let examples = if path.is_empty() { cli::examples_of("diagnose") } else { cli::examples_of(path) };
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
    }
    for (line, says) in examples {
        roff.control("PP", []);
        roff.text([roman(format!("{says}:"))]);
        roff.control("RS", ["4"]);
        roff.control("nf", []);
        roff.text([bold(*line)]);
        roff.control("fi", []);
        roff.control("RE", []);
    }
    roff.control("SH", ["EXIT STATUS"]);
    listed(&mut roff, &EXIT_CODES.map(|(code, meaning)| (code.to_string(), meaning)));
    roff.control("PP", []);
    roff.text([roman("With "), bold("--format nagios"), roman(" the codes are those of a monitoring plugin.")]);
    roff.control("SH", ["ENVIRONMENT"]);
    listed(&mut roff, &ENVIRONMENT.map(|(name, meaning)| (name.to_owned(), meaning)));
    roff.control("SH", ["FILES"]);
    listed(&mut roff, &FILES.map(|(name, meaning)| (name.to_owned(), meaning)));
    roff.control("SH", ["SEE ALSO"]);
    roff.text(match path.rsplit_once(' ') {
        _ if path.is_empty() => vec![bold("certutil"), roman("(1), "), bold("openssl-s_client"), roman("(1ssl)")],
        Some((above, _)) => vec![bold(format!("nssight-{above}")), roman("(1)")],
        None => vec![bold("nssight"), roman("(1)")],
    });
    roff
}

const EXIT_CODES: [(u8, &str); 4] = [
    (exit::PASSED, "Every layer passed; warnings are allowed."),
    (exit::FAILED, "A layer failed, or the compared documents differ."),
    (exit::USAGE, "Usage error."),
    (exit::INCONCLUSIVE, "No conclusion: nssight could not finish, or the evidence does not suffice."),
];
const ENVIRONMENT: [(&str, &str); 4] = [
    ("NO_COLOR", "Turns colors off."),
    (
        "NSS_DEFAULT_DB_TYPE",
        "The database format for a directory without the prefix sql: or dbm:, as for every NSS program.",
    ),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "Trusted CAs instead of those of the system, as for every OpenSSL program."),
    ("OPENSSL_CONF", "The configuration of OpenSSL."),
];
const FILES: [(&str, &str); 2] = [
    (
        "/etc/sigul/client.conf, ~/.sigul/client.conf",
        "Configuration of a Sigul client, read if neither a peer nor -c nor --db is given.",
    ),
    ("/etc/ssl/openssl.cnf", "Configuration of OpenSSL; the path depends on the distribution."),
];

fn listed<const N: usize>(roff: &mut Roff, all: &[(String, &str); N]) {
    for (name, meaning) in all {
        roff.control("TP", []);
        roff.text([bold(name.as_str())]);
        roff.text([roman(*meaning)]);
    }
}

fn create(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create(path)
}
