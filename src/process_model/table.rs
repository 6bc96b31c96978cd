//! `nssight process-model` for a terminal: the matrix, followed by its conclusions.

use std::io::{self, Write};

use colored::Colorize;
use comfy_table::{Cell as TableCell, Color};
use nssight_reports::terminal;

use super::matrix::{Cell, Matrix, Row, what};
use crate::models::Step;

/// Writes the matrix.
pub(super) fn write(out: &mut dyn Write, matrix: &Matrix, verbose: bool) -> io::Result<()> {
    writeln!(out, "{}", format!("NSS {}, {}", matrix.nss, terminal::printable(&matrix.database)).bold())?;
    let mut columns = vec!["process model"];
    // A step that no run reached, such as a handshake without --connect, gets no column.
    let tried = |step: &&Step| matrix.models.iter().any(|row| row.cell(**step).tried() > 0);
    let steps: Vec<Step> = Step::ALL.iter().filter(tried).copied().collect();
    columns.extend(steps.iter().map(|step| step.title()));
    let mut table = terminal::table(&columns);
    let bindings = matrix.models.iter().any(|row| row.binding != "c");
    for row in &matrix.models {
        let title = match (bindings, row.binding) {
            (true, "python") => format!("python: {}", row.model.title()),
            _ => row.model.title().to_owned(),
        };
        let mut cells = vec![TableCell::new(title)];
        cells.extend(steps.iter().map(|step| shown(row, row.cell(*step))));
        table.add_row(cells);
    }
    terminal::write_table(out, &table)?;
    if !matrix.password_channels.is_empty() {
        writeln!(out, "\n{}", "The password from every source".bold())?;
        let mut table = terminal::table(&["way", "takes", "login", "why"]);
        for channel in &matrix.password_channels {
            let login = channel.error.clone().unwrap_or_else(|| "ok".to_owned());
            let why = channel.why.clone().unwrap_or_default();
            table.add_row([channel.channel.to_owned(), channel.takes.to_owned(), login, why]);
        }
        terminal::write_table(out, &table)?;
    }
    writeln!(out, "\n{}", "Conclusions".bold())?;
    if matrix.conclusions.is_empty() {
        terminal::item(out, "no model differs from a fresh process")?;
    }
    for conclusion in &matrix.conclusions {
        let head = conclusion.cause.as_ref().map(|cause| format!("{cause}: ")).unwrap_or_default();
        terminal::item(out, &format!("{head}{}", conclusion.text))?;
    }
    for row in matrix.models.iter().filter(|row| row.trouble.is_some()) {
        terminal::item(out, &format!("{}: {}", row.model.title(), row.trouble.as_deref().unwrap_or_default()))?;
    }
    if verbose && matrix.models.iter().all(|row| row.context_differences.is_empty()) {
        let text = "parent and child have the same ids, groups, capabilities, label, seccomp mode, limits, namespaces, \
                    descriptors, signal masks and environment";
        terminal::item(out, text)?;
    }
    if verbose {
        for row in matrix.models.iter().filter(|row| !row.context_differences.is_empty()) {
            writeln!(out, "\n{}", format!("Different environment: {} (parent, child)", row.model.title()).bold())?;
            for [name, parent, child] in &row.context_differences {
                terminal::item(out, &format!("{name}: {parent}, {child}"))?;
            }
        }
    }
    Ok(())
}

fn shown(row: &Row, cell: &Cell) -> TableCell {
    let tried = cell.tried();
    let text = match cell {
        _ if tried == 0 => "-".to_owned(),
        Cell { repeated: 1.., .. } if row.runs > 1 => format!("{} of {tried} repeated", cell.repeated),
        Cell { repeated: 1.., .. } => "repeated".to_owned(),
        cell if cell.good() => "ok".to_owned(),
        cell if row.runs > 1 && cell.hung > 0 => format!("{} of {} hung", cell.hung, row.runs),
        Cell { hung: 1.., .. } => "hung".to_owned(),
        cell => what(cell),
    };
    let colour = match (tried, cell.good() && cell.repeated == 0) {
        (0, _) => Color::Grey,
        (_, true) => Color::Green,
        (_, false) => Color::Red,
    };
    let shown = TableCell::new(text);
    if terminal::in_colour() { shown.fg(colour) } else { shown }
}
