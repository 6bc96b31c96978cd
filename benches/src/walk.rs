//! A complete check up to an authenticated request, against the python-nss double-TLS client; and with added latency,
//! against the minimum of the protocol.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::Change;
use nssight_fixtures::nssdb::DbFormat;

use crate::latency;
use crate::{Competitor, RUNS, binary, in_turn, measure};

/// Outer TLS 1.2: two. The request with the inner ClientHello, answered by the server's flight: one. The client's inner
/// flight, answered by the server's Finished: one. The secrets, answered by the reply: one. The TCP connect is not
/// counted, since the relay answers it.
const ROUND_TRIPS: u32 = 5;
const ROUND_TRIP: Duration = Duration::from_millis(50);

pub(crate) fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let directory = tempfile::tempdir()?;
    let lab = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql)?;
    let mut contestants =
        [Competitor::new("nssight", nssight(&lab, None))?, Competitor::new("python-nss", python(&lab))?];
    in_turn(&mut contestants, RUNS)?;
    println!("a whole walk to list-users through the lab, TLS 1.2, EC, medians of {RUNS} runs in turn");
    let [own, other] = contestants.each_ref().map(Competitor::medians);
    for (contestant, figures) in contestants.iter().zip([&own, &other]) {
        let (cpu, wall) = (figures.cpu.as_secs_f64() * 1e3, figures.wall.as_secs_f64() * 1e3);
        println!("{:<12} CPU {cpu:>6.1} ms, wall {wall:>6.1} ms", contestant.name);
    }
    let ratio = own.wall.as_secs_f64() / other.wall.as_secs_f64();
    println!("nssight / python-nss: wall {ratio:.2} (aim: 0.5)\n");

    let config = std::fs::read_to_string(lab.config())?;
    let port = config.lines().find_map(|line| line.strip_prefix("bridge-port: ")).and_then(|port| port.parse().ok());
    let relay = latency::relay(port.ok_or("the lab's configuration has no port")?, ROUND_TRIP)?;
    let mut slow = Competitor::new("nssight", nssight(&lab, Some(relay)))?;
    for _ in 0..RUNS {
        let figures = measure(&mut slow)?;
        slow.figures.push(figures);
    }
    let wall = slow.medians().wall;
    let needed = ROUND_TRIP * ROUND_TRIPS;
    println!("the same with {} ms more a round trip", ROUND_TRIP.as_millis());
    println!(
        "wall {:.1} ms: {} ms for {ROUND_TRIPS} round trips, {:.1} ms beyond them (aim: 30 ms), of which the walk without latency \
         takes {:.1} ms",
        wall.as_secs_f64() * 1e3,
        needed.as_millis(),
        wall.saturating_sub(needed).as_secs_f64() * 1e3,
        own.wall.as_secs_f64() * 1e3,
    );
    Ok(())
}

fn nssight(lab: &Deployment, relay: Option<u16>) -> Command {
    let mut command = Command::new(binary("nssight"));
    command.arg("diagnose").arg("-c").arg(lab.config()).arg("--admin-password-file").arg(lab.admin_password_file());
    if let Some(port) = relay {
        command.args(["--bridge", &format!("localhost:{port}")]);
    }
    command
}

pub(crate) fn python(lab: &Deployment) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/double_tls_client.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).arg("-c").arg(lab.config());
    command.arg("--admin-password-file").arg(lab.admin_password_file()).arg("list-users");
    command
}
