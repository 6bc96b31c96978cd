//! A running `nssight exporter`, and the subset of HTTP that the tests need.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::fresh;

/// A running exporter, ended when this value is dropped.
pub struct Exporter {
    pub child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Exporter {
    pub fn start(targets: &Path, options: &[&str]) -> Self {
        let mut command = fresh();
        command.args(["exporter", "--listen", "127.0.0.1:0"]).args(options).arg(targets);
        Self::spawn(&mut command)
    }

    /// Starts a command that becomes an exporter on a port that the kernel chooses, and waits until it listens.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (listening, address) = mpsc::channel();
        let kept = log.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // The log is filled first: a test that gets the address may look up the protocol there.
                kept.lock().unwrap().extend([line.as_str(), "\n"]);
                let said = line.split_once("listening on ").and_then(|(_, rest)| rest.split_once("://"));
                if let Some((_, address)) = said {
                    // In JSON a quotation mark ends the address.
                    let address = address.split('"').next().unwrap_or_default().trim().to_owned();
                    let _ = listening.send(address);
                }
            }
        });
        let Ok(address) = address.recv_timeout(Duration::from_secs(20)) else {
            let _ = child.kill();
            panic!("the exporter does not listen: {:?}, {}", child.wait(), log.lock().unwrap());
        };
        Self { child, address: address.parse().unwrap(), log, reader: Some(reader) }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, for at most this long.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The log is complete once the other end of the pipe is closed.
                self.reader.take().map(JoinHandle::join);
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Processes that it started and that still exist.
    pub fn children(&self) -> Vec<u32> {
        children_of(self.child.id())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(self.address, path, headers)
    }

    pub fn probe(&self, target: &str) -> Metrics {
        let answer = self.get(&format!("/probe?target={target}"));
        assert_eq!(answer.status, 200, "{answer:#?}");
        Metrics::read(&answer.body)
    }

    pub fn metrics(&self) -> Metrics {
        Metrics::read(&self.get("/metrics").body)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the exporter's log:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes with this parent.
pub fn children_of(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of_parent = |number: &u32| {
        // proc_pid_stat(5): the command's name in parentheses, then the state and the parent.
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let fields =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        fields.and_then(|fields| fields.get(1)?.parse().ok()) == Some(parent)
    };
    numbers.filter(of_parent).collect()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
    pub took: Duration,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends a request on a separate connection.
pub fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(address, "HTTP/1.1", path, headers)
}

/// With HTTP/1.0 every server sends the answer in one piece.
pub fn request(address: SocketAddr, version: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET {path} {version}\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {path}: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned(), took: started.elapsed() }
}

/// Samples of an exposition: each series as written, with its value.
#[derive(Debug)]
pub struct Metrics(pub BTreeMap<String, f64>);

impl Metrics {
    pub fn read(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Self(
            samples
                .map(|line| {
                    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} is no sample"));
                    (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?} has no value")))
                })
                .collect(),
        )
    }

    /// The value of the only series with this prefix.
    pub fn value(&self, beginning: &str) -> Option<f64> {
        let mut found = self.0.iter().filter(|(series, _)| series.starts_with(beginning));
        let value = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none(), "{beginning} begins more than one series of {self:#?}");
        value
    }

    /// A label of the only series of this name.
    pub fn label(&self, name: &str, label: &str) -> Option<String> {
        let series = self.0.keys().find(|series| series.starts_with(&format!("{name}{{")))?;
        let (_, rest) = series.split_once(&format!("{label}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    }
}
