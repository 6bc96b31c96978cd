//! `nssight clients` for a terminal.

use std::io::{self, Write};

use colored::Colorize;
use comfy_table::{Cell, Color};
use nssight_reports::terminal::{self, cell};

use super::Comparison;
use super::attempt::Outcome;

/// Writes the table and what it proves.
pub(super) fn write(out: &mut dyn Write, comparison: &Comparison) -> io::Result<()> {
    let heading = format!("{}, {} connections", comparison.peer, comparison.connections);
    writeln!(out, "{}", cell(&heading).bold())?;
    let columns =
        ["client", "library", "initialised", "password", "connected", "handshake", "agreed", "result", "time"];
    let mut table = terminal::table(&columns);
    for attempt in &comparison.clients {
        let (result, colour) = match attempt.outcome {
            Outcome::Pass => ("pass", Color::Green),
            Outcome::FailedLocally => ("failed at the database", Color::Red),
            Outcome::FailedToConnect => ("not connected", Color::Red),
            Outcome::FailedInHandshake => ("failed", Color::Red),
            Outcome::Absent => ("not on this host", Color::Grey),
        };
        let yes = |did: bool| if did { "yes" } else { "no" };
        let result = Cell::new(result);
        table.add_row([
            Cell::new(attempt.client),
            Cell::new(&attempt.library),
            Cell::new(attempt.initialised),
            Cell::new(attempt.password),
            Cell::new(yes(attempt.connected)),
            Cell::new(yes(attempt.handshake)),
            Cell::new(attempt.agreed.as_deref().unwrap_or("-")),
            if terminal::in_colour() { result.fg(colour) } else { result },
            Cell::new(format!("{} ms", attempt.duration_ms)),
        ]);
    }
    terminal::write_table(out, &table)?;
    let errors: Vec<String> = comparison
        .clients
        .iter()
        .filter_map(|attempt| Some(format!("{}: {}", attempt.client, attempt.error.as_ref()?)))
        .collect();
    if !errors.is_empty() {
        writeln!(out, "\n{}", "Errors".bold())?;
        errors.iter().try_for_each(|error| terminal::item(out, error))?;
    }
    writeln!(out, "\n{}", "What it proves".bold())?;
    terminal::item(out, &comparison.conclusion.text)
}
