//! The cost of tracing: a request of the double-TLS client with and without tracing, and a call that does nothing.

use std::path::Path;
use std::process::Command;

use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::Change;
use nssight_fixtures::nssdb::DbFormat;

use crate::walk::python;
use crate::{Competitor, Failure, binary, in_turn};

/// The difference is a few milliseconds, which needs more runs to detect than a ratio of two programs.
const RUNS: usize = 61;
const POLLS: u64 = 1_000_000;
/// Calls `PR_Poll` with nothing to wait for, this many times. The function is looked up as by a program linked with
/// NSPR.
const POLL: &str = "
import ctypes, sys
ctypes.CDLL('libnspr4.so', mode=ctypes.RTLD_GLOBAL)
poll = ctypes.CDLL(None).PR_Poll
poll.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint)
for _ in range(int(sys.argv[1])):
    poll(None, 0, 0)
";

pub(crate) fn run() -> Result<(), Failure> {
    request()?;
    polls()
}

fn request() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let lab = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql)?;
    let mut contestants =
        [Competitor::new("traced", traced(&python(&lab)))?, Competitor::new("untraced", python(&lab))?];
    in_turn(&mut contestants, RUNS)?;
    let [with, without] = contestants.each_ref().map(|contestant| contestant.medians().wall.as_secs_f64());
    println!("a double-TLS request by the python-nss client, medians of {RUNS} runs in turn");
    println!("traced {:.1} ms, untraced {:.1} ms", with * 1e3, without * 1e3);
    println!(
        "traced / untraced: wall {:.3} (aim: 1.03), {:.1} ms more (aim: 5)\n",
        with / without,
        (with - without) * 1e3
    );
    Ok(())
}

fn polls() -> Result<(), Failure> {
    let mut plain = Command::new("/usr/bin/python3");
    plain.args(["-c", POLL, &POLLS.to_string()]);
    let mut contestants = [Competitor::new("traced", traced(&plain))?, Competitor::new("untraced", plain)?];
    in_turn(&mut contestants, 5)?;
    let [with, without] = contestants.each_ref().map(|contestant| contestant.medians().wall.as_secs_f64());
    println!("{POLLS} calls of PR_Poll, medians of 5 runs in turn");
    println!("traced {with:.2} s, untraced {without:.2} s");
    println!("each call: {:.0} ns more (aim: 1000)\n", (with - without) / POLLS as f64 * 1e9);
    Ok(())
}

fn traced(command: &Command) -> Command {
    let mut traced = Command::new(binary("nssight"));
    traced.args(["trace", "--output", "/dev/null", "--"]);
    traced.arg(Path::new(command.get_program())).args(command.get_args());
    traced
}
