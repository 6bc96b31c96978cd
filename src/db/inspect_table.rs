//! `nssight db inspect` for a terminal.

use std::io::{self, Write};

use colored::Colorize;
use comfy_table::{Cell, Color, ColumnConstraint};
use nssight_inventory::facts::Names;
use nssight_inventory::views::{CertificateView, Inspection, KeyView, chain};
use nssight_reports::terminal::{self, cell};

/// Certificates with fewer days left are shown in yellow, and expired ones in red.
const SOON: i64 = 30;
/// A table is laid out in memory as a whole, so longer ones are split, each part with its own header.
const ROWS: usize = 1000;
/// Nicknames up to this length are not broken.
const NICKNAME_WHOLE: usize = 30;

/// Writes the whole inspection, or the certificates of one nickname in detail.
pub(super) fn write(
    out: &mut dyn Write,
    inspection: &Inspection,
    shown: Option<&[&CertificateView]>,
    verbose: bool,
) -> io::Result<()> {
    if let Some(shown) = shown {
        for (index, view) in shown.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            detail(out, inspection, view)?;
        }
        return Ok(());
    }
    head(out, inspection)?;
    files(out, inspection)?;
    certificates(out, inspection, verbose)?;
    keys(out, inspection)?;
    if !inspection.crls.is_empty() {
        heading(out, &format!("Revocation lists ({})", inspection.crls.len()))?;
        for list in &inspection.crls {
            writeln!(out, "  {}, {} revoked", cell(&list.issuer), list.revoked)?;
        }
    }
    remarks(out, inspection)
}

fn heading(out: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(out, "\n{}", text.bold())
}

fn head(out: &mut dyn Write, inspection: &Inspection) -> io::Result<()> {
    writeln!(out, "{} {}", inspection.format.bold(), cell(&inspection.directory).bold())?;
    let reads =
        inspection.choice.reads.as_deref().map_or("nothing".to_owned(), |format| format!("the {format}: files"));
    let mut rows = vec![["NSS reads".to_owned(), format!("{reads}: {}", inspection.choice.reason)]];
    let password = &inspection.password;
    let mut text = match password.state {
        "none" => "never set, not even to an empty password".to_owned(),
        other => other.to_owned(),
    };
    if let (Some(encryption), Some(iterations), Some(salt)) =
        (&password.encryption, password.iterations, password.salt_length)
    {
        text = format!("{text}; check value in {encryption}, {iterations} iterations, {salt} bytes of salt");
    }
    if let Some(given) = password.given {
        text = format!("{text}; the given password is {given}");
    }
    rows.push(["password".to_owned(), text]);
    if let Some(report) = &inspection.signatures {
        let text = format!("{} good, {} bad, {} missing", report.good, report.bad, report.missing);
        rows.push(["signatures".to_owned(), text]);
    }
    let generation = &inspection.generation;
    let mut written = match generation.certificate_columns {
        0 => Vec::new(),
        columns @ ..=120 => vec![format!("by NSS before 3.114 ({columns} columns)")],
        columns => vec![format!("by NSS 3.114 or later at least once ({columns} columns)")],
    };
    written.extend(generation.merged.iter().map(|id| format!("merged with {id}")));
    if !written.is_empty() {
        rows.push(["written".to_owned(), written.join("; ")]);
    }
    terminal::pairs(out, &rows)
}

fn files(out: &mut dyn Write, inspection: &Inspection) -> io::Result<()> {
    heading(out, "Files")?;
    let mut table = terminal::table(&["name", "content", "bytes", "mode", "owner", "modified"]);
    for file in &inspection.files {
        let content = match (&file.link, &file.error) {
            (_, Some(error)) => format!("{}: {error}", file.content),
            (Some(target), None) => format!("{}, link to {}", file.content, cell(target)),
            (None, None) => file.content.clone(),
        };
        let owner = format!("{}:{}", file.uid, file.gid);
        table.add_row([
            cell(&file.name),
            content,
            file.size.to_string(),
            file.mode.clone(),
            owner,
            day(&file.modified),
        ]);
    }
    terminal::write_table(out, &table)
}

/// The date of a time stamp.
fn day(stamp: &str) -> String {
    stamp.split('T').next().unwrap_or(stamp).to_owned()
}

fn certificates(out: &mut dyn Write, inspection: &Inspection, verbose: bool) -> io::Result<()> {
    heading(out, &format!("Certificates ({})", inspection.certificates.len()))?;
    if inspection.certificates.is_empty() {
        return writeln!(out, "  none");
    }
    let mut columns = vec!["nickname", "trust", "private key", "key", "until", "left"];
    if verbose {
        columns.extend(["subject", "issuer", "serial", "names", "usage", "SHA-256"]);
    } else {
        columns.push("subject");
    }
    for part in inspection.certificates.chunks(ROWS) {
        let mut table = terminal::table(&columns);
        for view in part {
            table.add_row(row(view, verbose));
        }
        // Only the subject wraps, unless a nickname is itself long.
        let long = part.iter().any(|view| terminal::columns_of(view.name()) > NICKNAME_WHOLE);
        for column in table.column_iter_mut().take(6).skip(usize::from(long)) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        terminal::write_table(out, &table)?;
    }
    Ok(())
}

fn row(view: &CertificateView, verbose: bool) -> Vec<Cell> {
    let mut row: Vec<Cell> = vec![
        Cell::new(view.nickname.as_deref().map_or("-".to_owned(), cell)),
        Cell::new(&view.trust),
        Cell::new(private_key(view)),
        Cell::new(view.key.as_ref().map_or("?".to_owned(), ToString::to_string)),
        Cell::new(view.not_after.as_deref().map_or("?".to_owned(), day)),
        left(view),
        Cell::new(cell(&view.subject)),
    ];
    if verbose {
        row.extend([
            Cell::new(cell(&view.issuer)),
            Cell::new(&view.serial),
            Cell::new(cell(&view.alternative_names.join(", "))),
            Cell::new(usage(view)),
            Cell::new(&view.sha256),
        ]);
    }
    row
}

fn private_key(view: &CertificateView) -> &'static str {
    match view.private_key {
        "none" => "-",
        "matches" => "yes",
        "identifier-only" => "yes (by identifier)",
        _ => "another one",
    }
}

fn usage(view: &CertificateView) -> String {
    let usage = view.extended_key_usage.as_ref().map_or("any".to_owned(), |usage| usage.join(", "));
    if view.is_ca { format!("CA; {usage}") } else { usage }
}

fn left(view: &CertificateView) -> Cell {
    let Some(days) = view.days_left else { return Cell::new("?") };
    let cell = Cell::new(if days < 0 { "expired".to_owned() } else { format!("{days} d") });
    match days {
        _ if !terminal::in_colour() => cell,
        ..0 => cell.fg(Color::Red),
        0..SOON => cell.fg(Color::Yellow),
        _ => cell.fg(Color::Green),
    }
}

fn keys(out: &mut dyn Write, inspection: &Inspection) -> io::Result<()> {
    heading(out, &format!("Private keys ({})", inspection.private_keys.len()))?;
    if inspection.private_keys.is_empty() {
        return writeln!(out, "  none");
    }
    let opened = inspection.private_keys.iter().any(|key| key.decrypted.is_some());
    let mut columns = vec!["id", "type", "certificate", "encryption"];
    columns.extend(opened.then_some("decrypted"));
    let mut table = terminal::table(&columns);
    for key in &inspection.private_keys {
        let encryption = match key.iterations {
            Some(iterations) => format!("{}, {iterations} iterations", key.encryption),
            None => key.encryption.clone(),
        };
        let mut row = vec![key.id.clone(), key.kind.clone(), owner(key), encryption];
        row.extend(opened.then(|| key.decrypted.clone().unwrap_or_default()));
        table.add_row(row);
    }
    terminal::write_table(out, &table)
}

fn owner(key: &KeyView) -> String {
    match (key.certificates.is_empty(), &key.nickname) {
        (false, _) => cell(&key.certificates.join(", ")),
        (true, Some(nickname)) => format!("none (the key's name is {})", cell(nickname)),
        (true, None) => "none".to_owned(),
    }
}

fn remarks(out: &mut dyn Write, inspection: &Inspection) -> io::Result<()> {
    let others =
        inspection.not_understood.iter().map(|(what, count)| format!("{count} objects not interpreted: {what}"));
    let texts: Vec<String> = inspection.remarks.iter().map(|remark| remark.text.clone()).chain(others).collect();
    if !texts.is_empty() {
        heading(out, "Remarks")?;
        texts.iter().try_for_each(|text| terminal::item(out, text))?;
    }
    if !inspection.problems.is_empty() {
        heading(out, if inspection.partial { "Damage; the lists are incomplete" } else { "Damage" })?;
        inspection.problems.iter().try_for_each(|text| terminal::item(out, text))?;
    }
    Ok(())
}

/// One certificate with everything, and its chain as a tree.
fn detail(out: &mut dyn Write, inspection: &Inspection, view: &CertificateView) -> io::Result<()> {
    writeln!(out, "{}", cell(view.name()).bold())?;
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    let left = view.days_left.map_or(String::new(), |days| match days {
        ..0 => " (expired)".to_owned(),
        days => format!(" ({days} days left)"),
    });
    let rows = [
        ["subject", &view.subject],
        ["issuer", &view.issuer],
        ["serial", &view.serial],
        ["valid", &format!("{} to {}{left}", text(&view.not_before), text(&view.not_after))],
        ["key", &view.key.as_ref().map_or("?".to_owned(), ToString::to_string)],
        ["names", &view.alternative_names.join(", ")],
        ["usage", &usage(view)],
        ["trust", &format!("{} (kept as: {})", view.trust, view.trust_source)],
        ["private key", private_key(view)],
        ["SHA-256", &view.sha256],
    ];
    terminal::pairs(out, &rows.map(|row| row.map(str::to_owned)))?;
    writeln!(out, "  chain")?;
    let links = chain(inspection, view);
    let top = links.last().copied().unwrap_or(view);
    let whole = top.names.as_ref().is_some_and(Names::is_self_issued);
    let mut depth = 0;
    if !whole {
        writeln!(out, "    {} (not in this database)", cell(&top.issuer))?;
        depth = 1;
    }
    for link in links.iter().rev() {
        let branch = if depth == 0 { String::new() } else { format!("{}└─ ", "   ".repeat(depth - 1)) };
        writeln!(out, "    {branch}{} [{}]", cell(link.name()), link.trust)?;
        depth += 1;
    }
    Ok(())
}
