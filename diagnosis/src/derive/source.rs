//! The source of an address: the hosts file, or another source of the name service switch.

use std::net::IpAddr;

use crate::fact::fact::NameSource;

/// The answers of the sources for a name.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The resolver's answer, which clients use.
    pub answers: &'a [IpAddr],
    /// The addresses in the hosts file.
    pub lines: &'a [IpAddr],
    /// The answer of DNS alone; empty if it gave none or was not queried.
    pub dns: &'a [IpAddr],
    /// The name is one of this host's own.
    pub is_own: bool,
}

/// Debian assigns this address to the host's own name (Debian Reference, 5.1.1), and no server listens there for
/// another name.
const OWN_NAME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 1, 1));

/// The source of the answer. A line that the resolver did not use proves nothing, wherever the hosts file stands in the
/// order.
pub fn source(told: &Told<'_>) -> NameSource {
    let used: Vec<&IpAddr> = told.answers.iter().filter(|answer| told.lines.contains(answer)).collect();
    if told.lines.is_empty() {
        return NameSource::Dns;
    }
    if used.is_empty() {
        return NameSource::HostsUnused;
    }
    if used.iter().any(|address| told.dns.contains(address)) {
        return NameSource::HostsSameAsDns;
    }
    let here = used.iter().all(|address| address.is_loopback());
    let own_address = used.iter().any(|address| **address == OWN_NAME);
    match (here && told.is_own, here, told.dns.is_empty()) {
        (true, ..) => NameSource::HostsLoopback,
        (_, true, false) => NameSource::HostsLoopbackOfAnother,
        (_, true, true) if own_address => NameSource::HostsLoopbackOfAnother,
        (_, true, true) => NameSource::HostsLoopback,
        (_, false, true) => NameSource::HostsOnly,
        (_, false, false) => NameSource::HostsDiffers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_where_it_was_used_and_contradicted() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let old = [address("10.0.0.9")];
        let new = [address("10.0.0.5")];
        let (own, home) = ([address("127.0.1.1")], [address("127.0.0.1")]);
        let told = |answers, lines, dns, is_own| source(&Told { answers, lines, dns, is_own });
        assert_eq!(told(&new, &[], &[], false), NameSource::Dns);
        assert_eq!(told(&new, &old, &[], false), NameSource::HostsUnused);
        assert_eq!(told(&old, &old, &new, false), NameSource::HostsDiffers);
        assert_eq!(told(&old, &old, &old, false), NameSource::HostsSameAsDns);
        assert_eq!(told(&old, &old, &[], false), NameSource::HostsOnly);
        assert_eq!(told(&own, &own, &[], false), NameSource::HostsLoopbackOfAnother);
        assert_eq!(told(&own, &own, &new, true), NameSource::HostsLoopback);
        assert_eq!(told(&home, &home, &[], false), NameSource::HostsLoopback);
        assert_eq!(told(&home, &home, &new, false), NameSource::HostsLoopbackOfAnother);
        let both = [old[0], new[0]];
        assert_eq!(told(&both, &both, &new, false), NameSource::HostsSameAsDns);
    }
}
