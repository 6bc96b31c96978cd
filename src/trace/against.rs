//! `nssight diagnose --trace-against`: traces a program, and then runs a check with a correct client.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use colored::Colorize;
use comfy_table::{ContentArrangement, Table};
use nssight_diagnosis::Status;
use nssight_diagnosis::vocabulary::Outcome;
use nssight_probes::Plan;
use nssight_reports::human::{Detail, Human};
use nssight_reports::sink::Sink;
use nssight_reports::terminal::{self, paragraph, printable};
use nssight_runner::walk;
use nssight_trace::{Against, Side};

use super::{Order, table};
use crate::cli::{DiagnoseOptions, Format};
use crate::{exit, settings};

pub(crate) fn run(plan: &Plan, options: &DiagnoseOptions) -> ExitCode {
    let output = &options.output;
    if !matches!(output.format, Format::Human | Format::Json) {
        return exit::usage_in(output.format, "--trace-against supports only --format human or json");
    }
    let order = Order {
        command: &options.trace_against,
        config: options.walked.config(),
        follow: false,
        timeline: false,
        wire: output.verbose,
        aside: true,
    };
    let prepared = match order.prepare() {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let mut out = match Sink::open(output.output.as_deref(), terminal::stdout(terminal::Kind::Text)) {
        Ok(out) => out,
        Err(error) => return exit::usage(error),
    };
    // The program runs first, so that anything that waits for the next client goes to the program and not to the check.
    // Only before the process protects itself for the passwords does the program also run as it would without nssight.
    let (trace, _) = match prepared.run() {
        Ok(seen) => seen,
        Err(code) => return code,
    };
    let (settings, passwords) = match settings::of_walk(&options.walked, plan) {
        Ok(prepared) => prepared,
        Err(error) => return exit::usage(error),
    };
    let against = Against::new(walk::quietly(&settings, plan, passwords, options.walked.walk.retries), trace);
    let on_terminal = output.output.is_none() && io::stdout().is_terminal();
    let written = match output.format {
        Format::Json => serde_json::to_writer(&mut out, &against).map_err(io::Error::from).and_then(|()| writeln!(out)),
        _ => {
            terminal::choose_colours(output.color, on_terminal);
            human(&mut out, &against, terminal::width(on_terminal))
        }
    };
    match written.and_then(|()| out.keep()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => exit::not_written(&error),
        _ => code(&against),
    }
}

/// 0 if both succeeded, 1 if one of them failed, 3 if that is unknown.
fn code(against: &Against) -> ExitCode {
    let outcomes = [against.reference.verdict.status, against.trace.verdict.status];
    ExitCode::from(match outcomes {
        _ if outcomes.contains(&Outcome::Fail) => exit::FAILED,
        _ if outcomes.contains(&Outcome::Inconclusive) => exit::INCONCLUSIVE,
        _ => exit::PASSED,
    })
}

fn human(out: &mut dyn Write, against: &Against, width: usize) -> io::Result<()> {
    let mut pairs = Table::new();
    pairs.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    pairs.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    pairs.set_header(["", "a correct client", "the program"]);
    for pair in &against.layers {
        let mark = if Some(pair.layer) == against.parting { "  ← first difference" } else { "" };
        let program = format!("{}{mark}", side(pair.program.as_ref()));
        pairs.add_row([
            pair.layer.to_string(),
            terminal::cell(&side(pair.reference.as_ref())),
            terminal::cell(&program),
        ]);
    }
    writeln!(out, "\n{pairs}\n")?;
    paragraph(out, "", 0, &against.conclusion)?;
    let connections = against.reference.connections_opened;
    let text = format!("The check opened {connections} connection{}; the program opened its own.", plural(connections));
    paragraph(out, "", 0, &text)?;
    writeln!(out, "\n{}", "The program".bold())?;
    table::story(out, &against.trace, width)?;
    if against.reference.verdict.status != Outcome::Pass {
        writeln!(out, "\n{}", "A correct client".bold())?;
        Human::new(&mut *out, width, Detail::Normal).verdict(&against.reference)?;
    }
    Ok(())
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn side(side: Option<&Side>) -> String {
    let Some(side) = side else { return "-".to_owned() };
    let sign = match side.status {
        Status::Pass => "✓",
        Status::Warn => "!",
        Status::Fail => "✗",
        Status::Skip => return "- not reached".to_owned(),
    };
    format!("{sign} {}", printable(&side.summary))
}
