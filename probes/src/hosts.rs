//! The sources of host names on this host: the hosts file, the order in nsswitch.conf, DNS alone, and search domains.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::ask::ask;

/// The hosts file (hosts(5)).
pub(crate) const HOSTS: &str = "/etc/hosts";
const SWITCH: &str = "/etc/nsswitch.conf";
const RESOLVER: &str = "/etc/resolv.conf";
const AT_MOST: u64 = 4 * 1024 * 1024;

fn text(path: &str) -> String {
    let mut text = Vec::new();
    let read = File::open(path).map(|file| file.take(AT_MOST)).and_then(|mut file| file.read_to_end(&mut text));
    if read.is_err() {
        text.clear();
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split('#').next().unwrap_or_default().split_whitespace()
}

/// Line numbers and addresses of a name in the hosts file.
pub(crate) fn lines_of(host: &str) -> Vec<(usize, IpAddr)> {
    let entry = |line: &str| {
        let mut words = words(line);
        let address = words.next()?.parse::<IpAddr>().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    text(HOSTS).lines().enumerate().filter_map(|(index, line)| Some((index + 1, entry(line)?))).collect()
}

/// The order of the sources in nsswitch.conf(5).
pub(crate) fn order() -> Option<String> {
    let text = text(SWITCH);
    let line = text.lines().filter_map(|line| line.trim_start().strip_prefix("hosts:")).next_back()?;
    Some(words(line).collect::<Vec<_>>().join(" "))
}

/// The domains that the resolver appends to a short name (resolv.conf(5)); of several such lines the last one applies.
pub(crate) fn search_domains() -> Vec<String> {
    let text = text(RESOLVER);
    let list = |line: &str| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("search" | "domain")).then(|| words.map(str::to_owned).collect())
    };
    text.lines().filter_map(list).next_back().unwrap_or_default()
}

/// Whether the name is one of this host's own.
pub(crate) fn is_own(host: &str) -> bool {
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    let name = rustix::system::uname();
    let own = name.nodename().to_string_lossy();
    let here = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];
    here.iter().any(|known| known.eq_ignore_ascii_case(host)) || label(&own) == label(host)
}

/// Queries DNS alone, through getent(1) and the name service switch.
pub(crate) fn ask_dns(host: &str, patience: Duration) -> Option<Vec<IpAddr>> {
    let answer = ask("getent", &["-s", "dns", "ahosts", "--", host], patience)?;
    let mut addresses: Vec<IpAddr> =
        answer.text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Some(addresses)
}

/// The resolver's answer for a name, within the deadline.
pub(crate) fn addresses_of(host: &str, patience: Duration) -> Vec<IpAddr> {
    let host = host.to_owned();
    let answer = within(patience, move || (host.as_str(), 0).to_socket_addrs().map(Vec::from_iter));
    let addresses = answer.ok().flatten().and_then(Result::ok).unwrap_or_default();
    addresses.into_iter().map(|address| address.ip()).collect()
}

/// Runs a call that has no deadline in a thread. If it does not return in time, the thread is left behind and there is no answer. An error
/// means that the thread could not be started.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (answer, wait) = mpsc::channel();
    thread::Builder::new().spawn(move || answer.send(work()))?;
    Ok(wait.recv_timeout(patience).ok())
}
