//! `nssight exporter`: ten thousand scrapes of a cached result, its resident memory after a thousand of them and after all, and the number
//! of answers per second.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::Change;
use nssight_fixtures::nssdb::DbFormat;

use super::{Failure, binary};

const SCRAPES: usize = 10_000;
const FIRST: usize = 1_000;
const PROMETHEUS: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n\
                          X-Prometheus-Scrape-Timeout-Seconds: 10\r\n";

/// Ended when this part is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let lab = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql)?;
    let targets = directory.path().join("targets.toml");
    fs::write(
        &targets,
        "[[target]]\nname = \"t\"\nconfig = \"client.conf\"\nadmin-password-file = \"admin-password\"\n",
    )?;
    let mut command = Command::new(binary("nssight"));
    command.args(["exporter", "--listen", "127.0.0.1:0", "--cache", "3600"]).arg(&targets);
    let mut exporter = Running(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(exporter.0.stderr.take().ok_or("the exporter has no standard error")?).lines();
    let line = lines.next().ok_or("the exporter does not listen")??;
    let address = line.rsplit("http://").next().ok_or("the exporter says no address")?.to_owned();
    std::thread::spawn(move || lines.count());

    println!("{SCRAPES} scrapes of a cached result by nssight exporter");
    for (what, path, kept) in [
        ("one connection", "/probe?target=t", true),
        ("a connection each", "/probe?target=t", false),
        ("reports as HTML", "/report?target=t", true),
    ] {
        let mut stream = TcpStream::connect(&address)?;
        let (mut early, started) = (0, Instant::now());
        for number in 1..=SCRAPES {
            if !kept {
                stream = TcpStream::connect(&address)?;
            }
            scrape(&mut stream, path)?;
            if number == FIRST {
                early = resident_kib(exporter.0.id())?;
            }
        }
        let (late, rate) = (resident_kib(exporter.0.id())?, SCRAPES as f64 / started.elapsed().as_secs_f64());
        println!(
            "{what:<18} {rate:>7.0} a second; memory after {FIRST}: {:.1} MiB, after {SCRAPES}: {:.1} MiB ({:+.2} MiB, aim: flat)",
            early as f64 / 1024.0,
            late as f64 / 1024.0,
            (late as f64 - early as f64) / 1024.0,
        );
    }
    match lab.connections() {
        1 => println!("connections to the bridge: 1\n"),
        more => return Err(format!("{more} connections were opened where one walk serves all").into()),
    }
    Ok(())
}

/// One request with its complete answer.
fn scrape(stream: &mut TcpStream, path: &str) -> Result<(), Failure> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{PROMETHEUS}\r\n").as_bytes())?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err("the exporter closed the connection".into());
        }
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            return Err(head.into());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.ok_or("an answer has no length")?.parse()?;
        if bytes.len() >= end + 4 + length {
            return Ok(());
        }
    }
}

/// VmRSS of proc_pid_status(5).
fn resident_kib(process: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("there is no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
