//! `nssight manual`: man pages and completions, from the definitions that `--help` is printed from.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use time::{Date, OffsetDateTime};

use crate::cli::Cli;
use crate::exit;

/// Where each shell looks below a `share` directory (bash-completion's README, zsh's compsys, fish's `complete`).
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/nssight"),
    (Shell::Zsh, "zsh/site-functions/_nssight"),
    (Shell::Fish, "fish/vendor_completions.d/nssight.fish"),
];

/// Lays everything out below `share`, which is `/usr/share`, `/usr/local/share` or `~/.local/share` in the end.
pub(crate) fn run(share: &Path) -> ExitCode {
    match pages(share).and_then(|()| completions(share)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::not_written(&error),
    }
}

/// The command line as users see it: the completions would offer hidden subcommands too. The libraries' versions are those of
/// the machine that prints them, so they are not in a page.
fn visible() -> Command {
    let whole = Cli::command();
    Command::new("nssight")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .args(whole.get_arguments())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()))
}

fn completions(share: &Path) -> io::Result<()> {
    COMPLETIONS.iter().try_for_each(|(shell, path)| {
        let mut script = Vec::new();
        generate(*shell, &mut visible(), "nssight", &mut script);
        create(&share.join(path))?.write_all(&script)
    })
}

fn pages(share: &Path) -> io::Result<()> {
    let mut whole = visible().disable_help_subcommand(true);
    whole.build();
    page(&whole, None, &share.join("man/man1"))
}

/// The page of a command, and those of its subcommands.
fn page(command: &Command, above: Option<&str>, directory: &Path) -> io::Result<()> {
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
    let name = command.get_display_name().unwrap_or(command.get_name());
    ending(above).to_writer(&mut out)?;
    command.get_subcommands().try_for_each(|under| page(under, Some(name), directory))
}

/// The day that a page bears; a package that is built twice is the same twice (reproducible-builds.org, SOURCE_DATE_EPOCH).
fn today() -> Date {
    let given = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let then = given.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    then.unwrap_or_else(OffsetDateTime::now_utc).date()
}

/// What stands below the options.
fn ending(above: Option<&str>) -> Roff {
    let mut roff = Roff::new();
    if above.is_none() {
        roff.control("SH", ["EXIT STATUS"]);
        let codes = [
            (exit::PASSED, "What was asked about is well; warnings are allowed."),
            (exit::FAILED, "A layer failed, or things differ."),
            (exit::USAGE, "The command line cannot be carried out."),
            (exit::INCONCLUSIVE, "nssight could not finish, or could not tell."),
        ];
        for (code, meaning) in codes {
            roff.control("TP", []);
            roff.text([bold(code.to_string())]);
            roff.text([roman(meaning)]);
        }
        roff.control("PP", []);
        roff.text([roman("With "), bold("--format nagios"), roman(" they are those of a monitoring plugin.")]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text(match above {
        Some(above) => vec![bold(above), roman("(1)")],
        None => vec![bold("certutil"), roman("(1), "), bold("openssl-s_client"), roman("(1ssl)")],
    });
    roff
}

fn create(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create(path)
}
