//! `resolve`: which addresses does the bridge's name have, and who says so?

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nssight_diagnosis::fact::fact::{self, HostShortOf, NameSource, NameState};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::{ErrorInfo, Layer, Notes, Outcome};

use crate::ask::ask;
use crate::resources;
use crate::target::Endpoint;
use crate::walk::{Probe, Walk};

/// Names are looked up whatever the database says.
pub const PROBE: Probe = Probe { layer: Layer::Resolve, needs: &[Layer::Config], run };

const HOSTS: &str = "/etc/hosts";
/// The second opinion from DNS may take this long.
const DNS_PATIENCE: Duration = Duration::from_secs(2);

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    if let Some(why) = &walk.settings.no_network {
        return notes.skip(why.clone());
    }
    let Some(bridge) = &walk.target().bridge else {
        return notes.skip("no bridge was named");
    };
    let Endpoint { host, port } = &bridge.value;
    if let Ok(address) = host.parse::<IpAddr>() {
        walk.addresses = vec![SocketAddr::new(address, *port)];
        notes.put(fact::NAME_ADDRESS.text(address));
        notes.put(NameState::IsAddress);
        notes.put(NameSource::NotAsked);
        return notes.pass(format!("{address} is an address, there is no name to look up"));
    }
    match look_up(host, *port, walk.remaining()) {
        Ok(addresses) if !addresses.is_empty() => {
            for address in &addresses {
                notes.put(fact::NAME_ADDRESS.text(address.ip()));
            }
            walk.addresses = addresses;
            notes.put(NameState::Resolved);
            judge_source(host, &walk.addresses, notes)
        }
        Ok(_) => {
            notes.put(NameState::NoAddress);
            notes.fail(signal::NAME_NOT_FOUND, format!("{host} has no address"))
        }
        Err(Trouble::NoAnswer) => {
            let summary = format!("the resolver gave no answer for {host} before the deadline");
            notes.put(NameState::NoAnswer);
            notes.fail(signal::NAME_TRY_AGAIN, summary)
        }
        Err(Trouble::NoThread(error)) => {
            notes.put(resources::missing(&error).unwrap_or(HostShortOf::Processes));
            notes.fail(signal::HOST_RESOURCES, format!("no thread could be started to look {host} up: {error}"))
        }
        Err(Trouble::Refused(error)) => {
            let text = error.to_string();
            let library = "resolver".to_owned();
            let code = i64::from(error.raw_os_error().unwrap_or(0));
            // Of what getaddrinfo(3) says std keeps the words only.
            let (shown, state, name) = match Signal::in_line(&text.to_lowercase()) {
                Some(signal::NAME_TRY_AGAIN) => (signal::NAME_TRY_AGAIN, NameState::TryAgain, "EAI_AGAIN"),
                _ => (signal::NAME_NOT_FOUND, NameState::NotFound, "getaddrinfo"),
            };
            notes.put(state);
            let info = ErrorInfo { library, code, name: name.to_owned(), text };
            let summary = format!("{host} has no address: {error}");
            notes.fail(shown, summary).error(info)
        }
    }
}

enum Trouble {
    NoAnswer,
    Refused(io::Error),
    NoThread(io::Error),
}

/// getaddrinfo knows no deadline; it gets a thread, which is left behind when it does not come back.
fn look_up(host: &str, port: u16, patience: Duration) -> Result<Vec<SocketAddr>, Trouble> {
    let (answer, wait) = mpsc::channel();
    let name = host.to_owned();
    let asking = move || answer.send((name.as_str(), port).to_socket_addrs().map(Vec::from_iter));
    thread::Builder::new().spawn(asking).map_err(Trouble::NoThread)?;
    match wait.recv_timeout(patience) {
        Ok(Ok(mut addresses)) => {
            let mut seen = Vec::new();
            addresses.retain(|address| {
                !seen.contains(address) && {
                    seen.push(*address);
                    true
                }
            });
            Ok(addresses)
        }
        Ok(Err(error)) => Err(Trouble::Refused(error)),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(Trouble::NoAnswer),
    }
}

/// An entry in the hosts file wins over DNS on nearly every system, also when it is years old.
fn judge_source(host: &str, addresses: &[SocketAddr], mut notes: Notes) -> Outcome {
    let summary = format!("{host} is {}", addresses.iter().map(|a| a.ip().to_string()).collect::<Vec<_>>().join(", "));
    let hosts = in_hosts_file(host);
    if hosts.is_empty() {
        notes.put(NameSource::Dns);
        return notes.pass(summary);
    }
    for (line, address) in &hosts {
        notes.put(fact::NAME_HOSTS_ENTRY.text(format!("{HOSTS}:{line} says {address}")));
    }
    if hosts.iter().all(|(_, address)| address.is_loopback()) {
        notes.put(NameSource::HostsLoopback);
        return notes.pass(summary);
    }
    match ask_dns(host) {
        Some(dns) if !dns.is_empty() => {
            let list = dns.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
            notes.put(fact::NAME_DNS.text(&list));
            if hosts.iter().any(|(_, address)| dns.contains(address)) {
                notes.put(NameSource::HostsSameAsDns);
                return notes.pass(summary);
            }
            let (line, address) = &hosts[0];
            let summary = format!("{HOSTS}:{line} says {host} is {address}, DNS says {list}");
            notes.put(NameSource::HostsDiffers);
            notes.warn(signal::NAME_REMARK, summary)
        }
        _ => {
            notes.put(fact::NAME_DNS.text("no answer, so the hosts entry cannot be compared"));
            notes.put(NameSource::HostsOnly);
            notes.pass(summary)
        }
    }
}

/// Line numbers and addresses of a name in the hosts file (hosts(5)).
fn in_hosts_file(host: &str) -> Vec<(usize, IpAddr)> {
    let mut text = String::new();
    let file = fs::File::open(HOSTS).map(|file| file.take(4 * 1024 * 1024));
    if file.and_then(|mut file| file.read_to_string(&mut text)).is_err() {
        return Vec::new();
    }
    let entry = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse::<IpAddr>().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, entry(line)?))).collect()
}

/// The name service switch can be asked for DNS alone, by getent(1).
fn ask_dns(host: &str) -> Option<Vec<IpAddr>> {
    let answer = ask("getent", &["-s", "dns", "ahosts", "--", host], DNS_PATIENCE)?;
    let mut addresses: Vec<IpAddr> =
        answer.text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Some(addresses)
}
