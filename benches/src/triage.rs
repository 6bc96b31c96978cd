//! Compares `nssight triage` with `grep -ciE` for the same alternatives on the same gigabyte: once a log of a busy bridge, of which nearly
//! every line is recognised, and once a host's journal, of which one line in two hundred is.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use super::{Competitor, Failure, binary, in_turn};

const SIZE: usize = 1 << 30;
const RUNS: usize = 3;

pub(crate) fn run() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("sigul_bridge.log");
    let words = Command::new(binary("nssight")).args(["triage", "--patterns"]).output()?;
    let words = String::from_utf8(words.stdout)?;
    let alternatives: Vec<String> = words.lines().map(escape).collect();
    for (name, line) in [("a bridge's log", bridge as fn(&mut String, u64)), ("a journal", journal)] {
        write(&log, line)?;
        let mut grep = Command::new("grep");
        grep.arg("-ciE").arg(alternatives.join("|")).arg(&log);
        let mut triage = Command::new(binary("nssight"));
        triage.arg("triage").arg(&log);
        let mut both = [Competitor::new("grep -ciE", grep)?, Competitor::new("nssight triage", triage)?];
        // grep stops at the first match if its output is /dev/null.
        both[0].command.stdout(File::create(directory.path().join("count"))?);
        // The first round warms the page cache.
        in_turn(&mut both, RUNS)?;
        let [grep, triage] = both.map(|contestant| contestant.medians());
        let rate = |wall: f64| SIZE as f64 / wall / (1 << 20) as f64;
        let (grep_wall, triage_wall) = (grep.wall.as_secs_f64(), triage.wall.as_secs_f64());
        println!(
            "1 GiB of {name}: grep -ciE {:.0} MiB/s, nssight triage {:.0} MiB/s",
            rate(grep_wall),
            rate(triage_wall)
        );
        println!(
            "triage / grep: throughput {:.2} (aim 0.5), peak memory {:.1} MiB (aim 100)",
            grep_wall / triage_wall,
            triage.peak_kib as f64 / 1024.0
        );
    }
    println!();
    Ok(())
}

fn escape(word: &str) -> String {
    word.chars().flat_map(|c| c.is_ascii_punctuation().then_some('\\').into_iter().chain([c])).collect()
}

fn write(path: &Path, line: fn(&mut String, u64)) -> Result<(), Failure> {
    let mut file = BufWriter::new(File::create(path)?);
    let (mut text, mut written) = (String::new(), 0);
    for number in 0.. {
        line(&mut text, number);
        if text.len() > 1 << 20 {
            file.write_all(text.as_bytes())?;
            written += text.len();
            text.clear();
            if written >= SIZE {
                break;
            }
        }
    }
    Ok(file.flush()?)
}

/// The time this many seconds into a month.
fn day_and_time(second: u64) -> String {
    let (day, hour, minute) = (1 + second / 86400 % 28, second / 3600 % 24, second / 60 % 60);
    format!("{day:02} {hour:02}:{minute:02}:{:02}", second % 60)
}

/// One request; one in a hundred ends with an end of file.
fn bridge(text: &mut String, number: u64) {
    let at = format!("2026-11-{},{:03}", day_and_time(number), number * 7919 % 1000);
    let end = match number % 100 {
        0 => format!("{at} INFO: NSPR I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file.\n"),
        _ => String::new(),
    };
    let _ = write!(
        text,
        "{at} DEBUG: Waiting for the server to connect\n{at} DEBUG: Waiting for the client to connect\n{at} INFO: Client with \
         CN 'builder{}' connected\n{at} INFO: Request: op='sign-rpm', user='builder', key='release'\n{end}{at} DEBUG: Request \
         handling finished\n",
        number % 50
    );
}

fn journal(text: &mut String, number: u64) {
    let at = format!("Nov {} host", day_and_time(number));
    let _ = writeln!(
        text,
        "{at} httpd[{}]: 10.0.0.{} - - \"GET /repos/{}/primary.xml.gz HTTP/1.1\" 200 {} \"-\" \"libdnf (generic; Linux.x86_64)\"",
        number % 999,
        number % 255,
        number * 7,
        number * 13
    );
    if number.is_multiple_of(200) {
        let _ = writeln!(
            text,
            "{at} sigul_bridge[12]: INFO: NSPR I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file."
        );
    }
}
