//! Compares `nssight check` of many targets with `xargs -P` and `tstclnt`, which does the same handshakes with the same databases, and with
//! the floor, which does no more than necessary. Each target has its own database, or all share one. Measures the memory of all processes
//! together, and the growth of time with the number of targets.
//!
//! The number of PBKDF2 runs, 2 ms each, dominates. nssight logs in first, as clients do, and NSS then checks the integrity of everything
//! it reads: 7 runs for the trust of a CA, once. `tstclnt` logs in when its certificate is requested. Whether it pays for the CA's trust,
//! possibly twice, depends on the certificates that it holds by then: it does not if the endpoint also sends its root certificate, but
//! these endpoints, like most, do not send it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nssight_fixtures::authority::{Identity, Spec, Usage};
use nssight_fixtures::endpoint::Options;
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use nssight_runner::targets::jobs_by_default;
use openssl::ssl::{Ssl, SslContext, SslStream};

use wait4::Wait4;

use crate::{Figures, NICKNAME, PASSWORD, binary, floor};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Number of targets in the comparison.
const TARGETS: usize = 500;
/// Number of targets for the growth.
const FEW: usize = 100;
const MANY: usize = 2000;
const ROUNDS: usize = 3;
/// Databases with their own keys and salts; the directories of all targets are copies of these.
const BUILT: usize = 20;
const STACK: usize = 256 * 1024;
/// A TLS 1.3 client is done, and may have ended, before the endpoint is.
const CLIENT_SETTLE_TIME: Duration = Duration::from_secs(5);
const SAMPLE: Duration = Duration::from_millis(50);

/// Which databases the targets have.
#[derive(Clone, Copy)]
enum Databases {
    /// Each target has its own.
    Own,
    /// All share one.
    One,
}

pub(crate) fn run() -> Result<(), Failure> {
    // xargs gets the same number.
    let jobs = jobs_by_default();
    let fleet = Fleet::start(MANY)?;
    for (databases, what, peer_aim, floor_aim) in
        [(Databases::Own, "as many databases", "0.5", "1.15"), (Databases::One, "one database", "0.4", "none")]
    {
        let (mut own, mut tstclnt, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(fleet.nssight(TARGETS, jobs, databases)?);
            tstclnt.push(fleet.tstclnt(TARGETS, jobs, databases)?);
            floor.push(fleet.floor(TARGETS, jobs, databases)?);
        }
        println!("{TARGETS} targets of {what}, {jobs} at once, TLS 1.3, EC, medians of {ROUNDS} runs in turn");
        let all = [("nssight check", own), ("xargs and tstclnt", tstclnt), ("xargs and the floor", floor)];
        let [own, tstclnt, floor] = all.map(|(name, runs)| {
            let median = medians(&runs);
            let (wall, cpu) = (median.wall.as_secs_f64(), median.cpu.as_secs_f64());
            let peak = median.peak_kib / 1024;
            println!("{name:<20} wall {wall:>6.2} s, CPU {cpu:>6.2} s, peak memory of all processes {peak} MiB");
            (wall, cpu)
        });
        println!("nssight / tstclnt: wall {:.2} (aim: {peer_aim}), CPU {:.2}", own.0 / tstclnt.0, own.1 / tstclnt.1);
        println!("nssight / floor: wall {:.2}, CPU {:.2} (aim: {floor_aim})", own.0 / floor.0, own.1 / floor.1);
    }
    let each = |figures: &Figures, count: usize| figures.wall.as_secs_f64() * 1e3 / count as f64;
    let few = each(&fleet.nssight(FEW, jobs, Databases::Own)?, FEW);
    let many = fleet.nssight(MANY, jobs, Databases::Own)?;
    let peak = many.peak_kib / 1024;
    let many = each(&many, MANY);
    println!("{FEW} targets: {few:.1} ms each; {MANY} targets: {many:.1} ms each, peak memory {peak} MiB (aim: 150)");
    println!("a target of {MANY} / a target of {FEW}: {:.2} (linear: 1.0)\n", many / few);
    Ok(())
}

fn medians(runs: &[Figures]) -> Figures {
    fn median<T: Ord + Copy>(runs: &[Figures], of: impl Fn(&Figures) -> T) -> T {
        let mut values: Vec<T> = runs.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    }
    Figures {
        wall: median(runs, |run| run.wall),
        cpu: median(runs, |run| run.cpu),
        peak_kib: median(runs, |run| run.peak_kib),
    }
}

impl Databases {
    fn number(self, target: usize) -> usize {
        match self {
            Self::Own => target,
            Self::One => 0,
        }
    }
}

/// Endpoints, each with its own address, and databases, each in its own directory.
struct Fleet {
    directory: tempfile::TempDir,
    floor: PathBuf,
    port: u16,
    handshakes: Arc<AtomicUsize>,
}

impl Fleet {
    fn start(count: usize) -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let ca = Identity::self_signed(&Spec::new("Bench CA", Usage::Authority))?;
        fs::write(directory.path().join("pw"), format!("{PASSWORD}\n"))?;
        for number in 0..BUILT {
            let client = ca.issue(&Spec::new("client", Usage::Client))?;
            DbBuilder::new(DbFormat::Sql)
                .password(PASSWORD.as_bytes())
                .x509_identity(NICKNAME, &client.certificate, &client.key, "")?
                .x509("ca", &ca.certificate, "CT,C,C")?
                .build(&directory.path().join(format!("built-{number}")))?;
        }
        for number in 0..count {
            copy(&directory.path().join(format!("built-{}", number % BUILT)), &database(directory.path(), number))?;
        }
        let handshakes = Arc::new(AtomicUsize::new(0));
        let mut port = 0;
        for number in 0..count {
            let listener = TcpListener::bind((address(number), port))?;
            port = listener.local_addr()?.port();
            let name = address(number).to_string();
            let identity = ca.issue(&Spec::new("bridge", Usage::Server).names(&[&name]))?;
            let context = Options::new(&identity, &ca).context()?;
            let handshakes = handshakes.clone();
            thread::Builder::new().stack_size(STACK).spawn(move || {
                for stream in listener.incoming().flatten() {
                    let _ = serve(&context, stream, &handshakes);
                }
            })?;
        }
        let floor = floor::compile(directory.path())?;
        Ok(Self { directory, floor, port, handshakes })
    }

    fn nssight(&self, count: usize, jobs: usize, databases: Databases) -> Result<Figures, Failure> {
        let mut text = format!(
            "[defaults]\nnickname = '{NICKNAME}'\npassword-file = 'pw'\nuntil = 'outer-handshake'\ntimeout = 30\n"
        );
        for number in 0..count {
            let (host, port, db) = (address(number), self.port, databases.number(number));
            text += &format!("[[target]]\nname = 't{number}'\ndb = 'sql:db-{db}'\nbridge = '{host}:{port}'\n");
        }
        let file = self.directory.path().join("targets.toml");
        fs::write(&file, text)?;
        let before = self.handshakes.load(Ordering::SeqCst);
        let mut command = Command::new(binary("nssight"));
        command.arg("check").arg(&file).args(["--format", "ndjson", "--jobs", &jobs.to_string()]);
        let (figures, status) = watch(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
        self.all_done(before, count)?;
        if status.success() { Ok(figures) } else { Err("a target did not pass".into()) }
    }

    fn tstclnt(&self, count: usize, jobs: usize, databases: Databases) -> Result<Figures, Failure> {
        let line = |host, database: &Path| format!("-h {host} -d {}\n", database.display());
        let mut command = Command::new("xargs");
        command.args(["-P", &jobs.to_string(), "-n", "4", "tstclnt", "-4", "-Q", "-n", NICKNAME]);
        command.args(["-p", &self.port.to_string(), "-W"]).arg(self.password());
        // tstclnt ends with 1 if its standard input is empty; the endpoints' count shows how many succeeded.
        self.each(command, count, databases, line)
    }

    fn floor(&self, count: usize, jobs: usize, databases: Databases) -> Result<Figures, Failure> {
        let (password, port) = (self.password(), self.port);
        let line =
            |host, database: &Path| format!("{} {} {NICKNAME} {host} {port}\n", database.display(), password.display());
        let mut command = Command::new("xargs");
        command.args(["-P", &jobs.to_string(), "-n", "5"]).arg(&self.floor);
        self.each(command, count, databases, line)
    }

    fn password(&self) -> PathBuf {
        self.directory.path().join("pw")
    }

    /// Runs xargs with one line per target.
    fn each(
        &self,
        mut xargs: Command,
        count: usize,
        databases: Databases,
        line: impl Fn(Ipv4Addr, &Path) -> String,
    ) -> Result<Figures, Failure> {
        let database = |number| DbFormat::Sql.directory(&database(self.directory.path(), databases.number(number)));
        let lines: String = (0..count).map(|number| line(address(number), Path::new(&database(number)))).collect();
        let list = self.directory.path().join("list");
        fs::write(&list, lines)?;
        let before = self.handshakes.load(Ordering::SeqCst);
        let (figures, _) = watch(xargs.stdin(File::open(list)?).stdout(Stdio::null()).stderr(Stdio::null()))?;
        self.all_done(before, count)?;
        Ok(figures)
    }

    fn all_done(&self, before: usize, count: usize) -> Result<(), Failure> {
        let patience = Instant::now() + CLIENT_SETTLE_TIME;
        loop {
            let done = self.handshakes.load(Ordering::SeqCst) - before;
            if done == count {
                return Ok(());
            } else if Instant::now() < patience {
                thread::sleep(SAMPLE)
            } else {
                return Err(format!("{done} of {count} handshakes were completed").into());
            }
        }
    }
}

/// Every address from 127.1.0.1 to 127.250.250.250 belongs to this host.
fn address(number: usize) -> Ipv4Addr {
    let part = |by: usize| u8::try_from(number / by % 250).unwrap_or_default() + 1;
    Ipv4Addr::new(127, part(62_500), part(250), part(1))
}

fn database(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("db-{number}"))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A handshake with a client certificate, and then a read until the client disconnects.
fn serve(context: &SslContext, stream: TcpStream, handshakes: &AtomicUsize) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut session = SslStream::new(Ssl::new(context)?, stream)?;
    session.accept()?;
    handshakes.fetch_add(1, Ordering::SeqCst);
    let mut buffer = [0; 4096];
    while session.read(&mut buffer)? > 0 {}
    session.shutdown()?;
    Ok(())
}

/// Runs a command to its end. Returns the kernel's figures for it and its children, and the maximum memory of all of them at one time.
fn watch(command: &mut Command) -> io::Result<(Figures, ExitStatus)> {
    let started = Instant::now();
    let mut child = command.spawn()?;
    let (pid, ended) = (child.id(), AtomicBool::new(false));
    let (finished, peak_kib) = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !ended.load(Ordering::SeqCst) {
                peak = peak.max(resident(pid) + children(pid).into_iter().map(resident).sum::<u64>());
                thread::sleep(SAMPLE);
            }
            peak
        });
        let finished = child.wait4();
        ended.store(true, Ordering::SeqCst);
        (finished, sampler.join().unwrap_or_default())
    });
    let finished = finished?;
    let cpu = finished.rusage.utime + finished.rusage.stime;
    Ok((Figures { cpu, wall: started.elapsed(), peak_kib }, finished.status))
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Shared pages count for each process (proc(5), VmRSS).
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|text| text.parse().ok()).unwrap_or(0)
}
