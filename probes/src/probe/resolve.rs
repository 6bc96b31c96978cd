//! `resolve`: which addresses does the bridge's name have, and from which source?

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use nssight_diagnosis::derive::source::{Told, source};
use nssight_diagnosis::fact::fact::{self, HostShortOf, NameSource, NameState};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::{ErrorInfo, Layer, Notes, Outcome};

use crate::hosts::{self, HOSTS};
use crate::resources;
use crate::target::{Endpoint, Family};
use crate::walk::{Probe, Walk};

/// Names are resolved whatever the state of the database.
pub const PROBE: Probe = Probe { layer: Layer::Resolve, needs: &[Layer::Config], run };

/// Time limit for the second opinion from DNS.
const DNS_PATIENCE: Duration = Duration::from_secs(2);

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    if let Some(why) = &walk.settings.no_network {
        return notes.skip(why.clone());
    }
    let Some(Endpoint { host, port }) = walk.target().connects_to() else {
        return notes.skip("no peer is configured");
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        walk.addresses = vec![SocketAddr::new(address, *port)];
        notes.put(fact::NAME_ADDRESS.text(address));
        notes.put(NameState::IsAddress);
        notes.put(NameSource::NotAsked);
        return notes.pass(format!("{address} is an address, so no name lookup is needed"));
    }
    let family = walk.target().family;
    let is_wanted = |address: &SocketAddr| match family {
        Some(Family::V4) => address.is_ipv4(),
        Some(Family::V6) => address.is_ipv6(),
        None => true,
    };
    let found = look_up(host, *port, walk.remaining());
    match found.map(|addresses| addresses.into_iter().filter(is_wanted).collect::<Vec<_>>()) {
        Ok(addresses) if !addresses.is_empty() => {
            for address in &addresses {
                notes.put(fact::NAME_ADDRESS.text(address.ip()));
            }
            walk.addresses = addresses;
            notes.put(NameState::Resolved);
            told(host, &walk.addresses, DNS_PATIENCE.min(walk.remaining()), notes)
        }
        Ok(_) => {
            notes.put(NameState::NoAddress);
            let kind = match family {
                Some(Family::V4) => "IPv4 address",
                Some(Family::V6) => "IPv6 address",
                None => "address",
            };
            notes.fail(signal::NAME_NOT_FOUND, format!("{host} has no {kind}"))
        }
        Err(Trouble::NoAnswer) => {
            let summary = format!("the resolver did not answer for {host} before the deadline");
            notes.put(NameState::NoAnswer);
            notes.fail(signal::NAME_TRY_AGAIN, summary)
        }
        Err(Trouble::NoThread(error)) => {
            notes.put(resources::missing(&error).unwrap_or(HostShortOf::Processes));
            notes.fail(signal::HOST_RESOURCES, format!("cannot start a thread to look up {host}: {error}"))
        }
        Err(Trouble::Refused(error)) => {
            let text = error.to_string();
            let library = "resolver".to_owned();
            let code = i64::from(error.raw_os_error().unwrap_or(0));
            // Of getaddrinfo(3)'s error, std keeps only the text.
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

/// getaddrinfo has no deadline.
fn look_up(host: &str, port: u16, patience: Duration) -> Result<Vec<SocketAddr>, Trouble> {
    let name = host.to_owned();
    let answer = hosts::within(patience, move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter));
    let answer = answer.map_err(Trouble::NoThread)?;
    let mut seen = Vec::new();
    for address in answer.ok_or(Trouble::NoAnswer)?.map_err(Trouble::Refused)? {
        if !seen.contains(&address) {
            seen.push(address);
        }
    }
    Ok(seen)
}

/// Notes the source. DNS is queried for a second opinion if a line of the hosts file was used.
fn told(host: &str, addresses: &[SocketAddr], patience: Duration, mut notes: Notes) -> Outcome {
    let answers: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
    let list = |addresses: &[IpAddr]| addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    let summary = format!("{host} resolves to {}", list(&answers));
    if let Some(order) = hosts::order() {
        notes.put(fact::NAME_ORDER.text(order));
    }
    let entries = hosts::lines_of(host);
    for (line, address) in &entries {
        let used = if answers.contains(address) { "" } else { ", which the resolver did not use" };
        notes.put(fact::NAME_HOSTS_ENTRY.text(format!("{HOSTS}:{line} contains {address}{used}")));
    }
    let lines: Vec<IpAddr> = entries.iter().map(|(_, address)| *address).collect();
    let used = entries.iter().find(|(_, address)| answers.contains(address));
    let is_own = hosts::is_own(host);
    let mut dns = Vec::new();
    if let Some((_, address)) = used
        && !(is_own && address.is_loopback())
    {
        dns = hosts::ask_dns(host, patience).unwrap_or_default();
        notes.put(fact::NAME_DNS.text(match dns.as_slice() {
            [] => "no answer, so the hosts entry cannot be compared".to_owned(),
            dns => list(dns),
        }));
    }
    let source = source(&Told { answers: &answers, lines: &lines, dns: &dns, is_own });
    notes.put(source);
    match (source, used) {
        (NameSource::HostsDiffers, Some((line, address))) => {
            let dns = list(&dns);
            notes.warn(signal::NAME_REMARK, format!("{HOSTS}:{line} maps {host} to {address}, but DNS returns {dns}"))
        }
        _ => notes.pass(summary),
    }
}
