//! `nssight db compare` for a terminal: the summary, then the differences, with both sides under `-v`.

use std::io::{self, Write};

use colored::Colorize;
use nssight_inventory::compare::{Comparison, PasswordComparison};
use nssight_inventory::difference::{Difference, Gravity, Kind};
use nssight_inventory::moved::{Fate, Moved};
use nssight_reports::terminal::{self, cell};

/// Differences shown without `-v`.
const AT_MOST: usize = 20;

/// Writes the comparison.
pub(super) fn write(out: &mut dyn Write, comparison: &Comparison, verbose: bool) -> io::Result<()> {
    let rows = [("A", &comparison.a), ("B", &comparison.b)].map(|(name, side)| {
        let text = format!(
            "{}:{}, {} certificates, {} private keys",
            side.format, side.directory, side.certificates, side.private_keys
        );
        [name.to_owned(), text]
    });
    terminal::pairs(out, &rows)?;
    let password = match comparison.password {
        PasswordComparison::NotCompared => return of_files(out, comparison, verbose),
        PasswordComparison::Same => "the same",
        PasswordComparison::Different => "different",
        PasswordComparison::Unknown => {
            "unknown: give the password of A with --password-file, and of B with --other-password-file"
        }
    };
    let both = format!("{} certificates in both; password {password}", comparison.in_both);
    terminal::pairs(out, &[["both".to_owned(), both]])?;
    differences(out, comparison, verbose)
}

/// Writes which certificates of the database were copied to the PEM files, before the differences.
fn of_files(out: &mut dyn Write, comparison: &Comparison, verbose: bool) -> io::Result<()> {
    let shown = if verbose { comparison.moved.len() } else { AT_MOST };
    let rows: Vec<[String; 2]> =
        comparison.moved.iter().take(shown).map(|moved| [cell(&moved.name), fate(moved)]).collect();
    writeln!(out)?;
    terminal::pairs(out, &rows)?;
    if comparison.moved.len() > shown {
        writeln!(out, "and {} more; -v shows all", comparison.moved.len() - shown)?;
    }
    differences(out, comparison, verbose)
}

fn fate(moved: &Moved) -> String {
    let what = match moved.fate {
        Fate::SameCertificate => "the same certificate",
        Fate::SameKey => "another certificate for the same key",
        Fate::SameSubject => "another certificate of the same subject, with another key",
        Fate::Missing => return "missing".to_owned(),
    };
    let key = moved.key_file.as_ref().map(|file| format!("; its key in {file}")).unwrap_or_default();
    format!("{what} in {}{key}", moved.files.join(", "))
}

fn differences(out: &mut dyn Write, comparison: &Comparison, verbose: bool) -> io::Result<()> {
    writeln!(out)?;
    summary(out, comparison)?;
    let shown = if verbose { comparison.differences.len() } else { AT_MOST };
    for difference in comparison.differences.iter().take(shown) {
        one(out, difference, verbose)?;
    }
    if comparison.differences.len() > shown {
        writeln!(out, "and {} more; -v shows all", comparison.differences.len() - shown)?;
    }
    if !comparison.problems.is_empty() {
        let title = if comparison.partial { "Damage; there may be more or fewer differences" } else { "Damage" };
        writeln!(out, "\n{}", title.bold())?;
        comparison.problems.iter().try_for_each(|text| terminal::item(out, text))?;
    }
    Ok(())
}

fn summary(out: &mut dyn Write, comparison: &Comparison) -> io::Result<()> {
    if comparison.differences.is_empty() {
        let text = if comparison.partial { "no difference in the readable parts" } else { "no difference" };
        return writeln!(out, "{}", text.bold());
    }
    let of = |gravity: Gravity| comparison.differences.iter().filter(|it| it.gravity == gravity).count();
    let counts = [(of(Gravity::Grave), "grave"), (of(Gravity::Notable), "notable"), (of(Gravity::Note), "to know")];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    let total = comparison.differences.len();
    let word = if total == 1 { "difference" } else { "differences" };
    writeln!(out, "{} {}", format!("{total} {word}:").bold(), counts.join(", "))
}

fn one(out: &mut dyn Write, difference: &Difference, verbose: bool) -> io::Result<()> {
    let sign = match difference.gravity {
        Gravity::Grave => "✗".red(),
        Gravity::Notable => "!".yellow(),
        Gravity::Note => "·".normal(),
    };
    let what = match difference.kind {
        Kind::OnlyInA => "only in A",
        Kind::OnlyInB => "only in B",
        Kind::NicknameDiffers => "another nickname",
        Kind::TrustDiffers => "other trust",
        Kind::TrustObjectDiffers => "trust stored in another form",
        Kind::KeyOnlyInA => "private key only in A",
        Kind::KeyOnlyInB => "private key only in B",
        Kind::KeyEncryptionDiffers => "key encrypted differently",
        Kind::RenewedInA => "renewed in A",
        Kind::RenewedInB => "renewed in B",
        Kind::CertificateDiffers => "another certificate",
        Kind::CrlOnlyInA => "only in A",
        Kind::CrlOnlyInB => "only in B",
        Kind::SaltDiffers => "salt of the password",
        Kind::PasswordDiffers => "another password",
    };
    let sides = match (&difference.a, &difference.b) {
        (Some(a), Some(b)) => format!(" (A: {a}; B: {b})"),
        (Some(one), None) | (None, Some(one)) => format!(" ({one})"),
        (None, None) => String::new(),
    };
    let line = format!("{}: {what}{sides}", difference.name);
    terminal::paragraph(out, &format!("{sign} "), 2, &line)?;
    terminal::paragraph(out, "  → ", 4, &difference.consequence)?;
    match &difference.sha256 {
        Some(sha256) if verbose => writeln!(out, "    {}", cell(sha256).dimmed()),
        _ => Ok(()),
    }
}
