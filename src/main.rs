//! nssight checks every layer of a mutual TLS connection and names the layer that fails.

mod bundle;
mod catalogue;
mod check;
mod cli;
mod clients;
mod compare;
mod db;
mod diagnose;
mod exit;
mod explain;
mod exporter;
mod lab;
mod listen;
mod manual;
mod models;
mod others;
mod password;
mod process_model;
mod repeat;
mod selftest;
mod settings;
mod signals;
mod trace;
mod triage;
mod unpack;
mod version;

use std::process::ExitCode;

use nssight_runner::worker;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(error) => return exit::refused(&error),
    };
    match cli.command {
        Command::Diagnose(options) => match diagnose::plan(&options) {
            Ok(plan) if !options.trace_against.is_empty() => trace::against::run(&plan, &options),
            Ok(plan) => diagnose::run(&plan, &options),
            Err(code) => code,
        },
        Command::Check(options) => check::run(&options),
        Command::Clients(options) => clients::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Db(command) => db::run(&command),
        Command::Explain(options) => explain::run(&options),
        Command::Exporter(options) => exporter::run(&options),
        Command::Listen(options) => listen::run(&options),
        Command::Lab(command) => lab::run(command),
        Command::Selftest(options) => selftest::run(&options),
        Command::Checks(options) => catalogue::checks(options.format),
        Command::Causes(options) => catalogue::causes(&options),
        Command::Schema(options) => catalogue::schema(options.document),
        Command::ProcessModel(options) => process_model::run(&options),
        Command::Bundle(options) => bundle::run(&options),
        Command::Trace(options) => trace::run(&options),
        Command::Triage(options) => triage::run(&options),
        Command::Completion(options) => manual::completion(options.shell),
        Command::Manual(options) => manual::run(&options.share),
        Command::Worker => worker::run().map_or_else(exit::usage, |()| ExitCode::SUCCESS),
        Command::Model => process_model::run::run(),
        Command::Keep(options) => clients::keep(&options),
    }
}
