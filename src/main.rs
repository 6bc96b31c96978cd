//! nssight walks every layer of a mutual TLS connection over NSS and names the one that fails.

mod catalogue;
mod cli;
mod diagnose;
mod exit;
mod password;
mod report;
mod supervisor;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Diagnose(options) => diagnose::run(&options),
        Command::Checks => catalogue::checks(),
        Command::Causes => catalogue::causes(),
        Command::Worker => worker::run(),
    }
}
