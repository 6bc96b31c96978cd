//! The relation of the requested name to the names in the peer's certificate, with the help of this host's resolver.
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nssight_diagnosis::derive::name::relation;
use nssight_diagnosis::fact::fact::PeerNameRelation as Relation;

use crate::{hosts, x509};

/// Maximum number of names of a certificate to look up; the peer chose these names.
const LOOKED_UP: usize = 3;
/// Time limit for all of these lookups together.
const PATIENCE: Duration = Duration::from_secs(1);

/// The relation according to the certificate alone; `None` without a certificate.
pub(crate) fn by_certificate(host: &str, chain: &[Vec<u8>]) -> Option<Relation> {
    Some(relation(host, &x509::plain_names(chain.first()?), &hosts::search_domains()))
}

/// As [`by_certificate`], for a name that was looked up: an alias has the address of an official name.
pub(crate) fn by_address(host: &str, chain: &[Vec<u8>], addresses: &[IpAddr], patience: Duration) -> Option<Relation> {
    let told = by_certificate(host, chain)?;
    if told != Relation::Far || addresses.is_empty() || host.parse::<IpAddr>().is_ok() {
        return Some(told);
    }
    let until = Instant::now() + PATIENCE.min(patience);
    let names = x509::plain_names(chain.first()?);
    let official = names.iter().filter(|name| is_host(name)).take(LOOKED_UP);
    let leads_there = |name: &String| {
        let left = until.saturating_duration_since(Instant::now());
        hosts::addresses_of(name, left).iter().any(|address| addresses.contains(address))
    };
    Some(if official.into_iter().any(leads_there) { Relation::SameAddress } else { told })
}

/// Whether this is a name with a domain, of the characters that host names may have (RFC 1123, 2.1).
fn is_host(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    name.len() <= 253 && name.contains('.') && name.chars().all(plain) && name.parse::<IpAddr>().is_err()
}
