//! `nssight clients` for a terminal.

use std::io::{self, IsTerminal, Write};

use colored::Colorize;
use comfy_table::{Cell, Color};
use nssight_reports::terminal::{self, cell};

use super::Comparison;
use super::attempt::{Attempt, Outcome};

const COLUMNS: [&str; 9] =
    ["client", "library", "initialised", "password", "connected", "handshake", "agreed", "result", "time"];
const RESULT: usize = 7;
/// A narrower terminal would break words, so there the clients are printed below each other.
const SIDE_BY_SIDE: usize = 120;

fn result(attempt: &Attempt) -> (&'static str, Color) {
    match attempt.outcome {
        Outcome::Pass => ("pass", Color::Green),
        Outcome::FailedLocally => ("failed at the database", Color::Red),
        Outcome::FailedToConnect => ("not connected", Color::Red),
        Outcome::FailedInHandshake => ("failed", Color::Red),
        Outcome::Absent => ("not on this host", Color::Grey),
    }
}

/// The values in the order of the columns.
fn values(attempt: &Attempt) -> [String; 9] {
    let yes = |did: bool| if did { "yes" } else { "no" }.to_owned();
    [
        attempt.client.to_string(),
        attempt.library.to_string(),
        attempt.initialised.to_string(),
        attempt.password.to_string(),
        yes(attempt.connected),
        yes(attempt.handshake),
        attempt.agreed.as_deref().unwrap_or("-").to_owned(),
        result(attempt).0.to_owned(),
        format!("{} ms", attempt.duration_ms),
    ]
}

/// Writes the table and the conclusion.
pub(super) fn write(out: &mut dyn Write, comparison: &Comparison) -> io::Result<()> {
    let heading = format!("{}, {} connections", comparison.peer, comparison.connections);
    writeln!(out, "{}", cell(&heading).bold())?;
    if io::stdout().is_terminal() && terminal::width(true) < SIDE_BY_SIDE {
        for attempt in &comparison.clients {
            let [client, rest @ ..] = values(attempt);
            writeln!(out, "\n{}", client.bold())?;
            let pairs: Vec<[String; 2]> =
                COLUMNS[1..].iter().zip(rest).map(|(name, value)| [(*name).to_owned(), value]).collect();
            terminal::pairs(out, &pairs)?;
        }
    } else {
        let mut table = terminal::table(&COLUMNS);
        for attempt in &comparison.clients {
            let mut cells = values(attempt).map(Cell::new);
            if terminal::in_colour() {
                cells[RESULT] = Cell::new(result(attempt).0).fg(result(attempt).1);
            }
            table.add_row(cells);
        }
        terminal::write_table(out, &table)?;
    }
    let errors: Vec<String> = comparison
        .clients
        .iter()
        .filter_map(|attempt| Some(format!("{}: {}", attempt.client, attempt.error.as_ref()?)))
        .collect();
    if !errors.is_empty() {
        writeln!(out, "\n{}", "Errors".bold())?;
        errors.iter().try_for_each(|error| terminal::item(out, error))?;
    }
    writeln!(out, "\n{}", "Conclusion".bold())?;
    terminal::item(out, &comparison.conclusion.text)
}
