//! Starts a command from a process with little memory. At an exec the kernel counts the largest resident set of the previous process image,
//! a copy of its parent, as the new program's own (exec_mmap in fs/exec.c), and the benchmark's own memory grows.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::Figures;

/// Argument that makes this program start one command, wait for it, and write its figures to a file.
pub(crate) const MEASURE: &str = "measure";

/// The command, wrapped so that a separate process of this program starts it.
pub(crate) fn started_by_a_small_process(command: &Command, report: &Path) -> io::Result<Command> {
    let mut outer = Command::new(std::env::current_exe()?);
    outer.arg(MEASURE).arg(report).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        outer.current_dir(directory);
    }
    Ok(outer)
}

/// Runs in that process: the command inherits our standard streams.
pub(crate) fn measure(report: &Path, program: &str, words: &[String]) -> io::Result<()> {
    let started = Instant::now();
    let finished = Command::new(program).args(words).spawn()?.wait4()?;
    let wall = started.elapsed();
    let used = finished.rusage;
    let (cpu, peak) = (used.utime + used.stime, used.maxrss / 1024);
    // As in a shell.
    let code = finished.status.code().or(finished.status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    fs::write(report, format!("{} {} {peak} {code}", cpu.as_nanos(), wall.as_nanos()))
}

/// Reads the written figures of a command that may end with these codes.
pub(crate) fn read(report: &Path, name: &str, codes: &[u64]) -> io::Result<Figures> {
    let text = fs::read_to_string(report)?;
    // The file then only contains data of this run.
    fs::write(report, "")?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [cpu, wall, peak_kib, code] if codes.contains(&code) => {
            Ok(Figures { cpu: Duration::from_nanos(cpu), wall: Duration::from_nanos(wall), peak_kib })
        }
        [_, _, _, code] => Err(io::Error::other(format!("{name} ended with {code}"))),
        _ => Err(io::Error::other(format!("{name} could not be measured"))),
    }
}
