//! The relation of the requested name to the names in a certificate.

use std::net::IpAddr;

use super::nickname::edits;
use crate::fact::fact::PeerNameRelation as Relation;

/// Whether a certificate with this name is valid for this host (RFC 6125, 6.4): case is ignored, and a star matches exactly one label, the
/// first.
fn covers(name: &str, host: &str) -> bool {
    match (host.parse::<IpAddr>(), name.parse::<IpAddr>()) {
        (Ok(host), Ok(name)) => return host == name,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => return false,
        (Err(_), Err(_)) => {}
    }
    match name.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// The host of a name with a port after it: `bridge.example:44334`, `[::1]:44334`.
pub fn without_port(host: &str) -> Option<&str> {
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let (name, port) = host.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let plain = (!name.contains(':') && !name.is_empty()).then_some(name);
    bracketed.or(plain).filter(|_| is_port)
}

/// The relation of `host` to the names of a certificate. `search` are the domains that the resolver appends to short names.
pub fn relation(host: &str, names: &[String], search: &[String]) -> Relation {
    let any = |host: &str| names.iter().any(|name| covers(name, host));
    if any(host) {
        return Relation::Same;
    }
    if host.strip_suffix('.').is_some_and(any) {
        return Relation::TrailingDot;
    }
    if without_port(host).is_some_and(any) {
        return Relation::WithPort;
    }
    if host.parse::<IpAddr>().is_ok() {
        let has_address = names.iter().any(|name| name.parse::<IpAddr>().is_ok());
        return if names.is_empty() || has_address { Relation::Far } else { Relation::Address };
    }
    if search.iter().any(|domain| any(&format!("{host}.{}", domain.trim_matches('.')))) {
        return Relation::SearchDomain;
    }
    let short = format!("{}.", host.to_lowercase());
    if !host.contains('.') && names.iter().any(|name| name.to_lowercase().starts_with(&short)) {
        return Relation::Short;
    }
    if names.iter().any(|name| is_misspelt(&host.to_lowercase(), &name.to_lowercase())) {
        Relation::Misspelt
    } else {
        Relation::Far
    }
}

/// Whether the name differs by one or two letters that are changed, missing or swapped. A different number is the name of another host of a
/// series.
fn is_misspelt(host: &str, name: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let numbers = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let at_most = match host.chars().count() {
        0..=4 => 0,
        5..=7 => 1,
        _ => 2,
    };
    !name.starts_with("*.") && numbers(host) == numbers(name) && edits(&letters(host), &letters(name)) <= at_most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_mistakes_are_distinguished_from_another_name() {
        let of = |host: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            relation(host, &names, &["lab.example".to_owned()])
        };
        let rows: [(&str, &[&str], Relation); 22] = [
            ("bridge.example", &["BRIDGE.example"], Relation::Same),
            ("a.example", &["*.example"], Relation::Same),
            ("a.b.example", &["*.example"], Relation::Far),
            ("10.0.0.5", &["10.0.0.5"], Relation::Same),
            ("::1", &["0:0:0:0:0:0:0:1"], Relation::Same),
            ("bridge.example.", &["bridge.example"], Relation::TrailingDot),
            ("bridge.example:44334", &["bridge.example"], Relation::WithPort),
            ("10.0.0.5", &["bridge.example"], Relation::Address),
            ("10.0.0.5", &["10.0.0.6"], Relation::Far),
            ("10.0.0.5", &[], Relation::Far),
            ("bridge", &["bridge.lab.example"], Relation::SearchDomain),
            ("bridge", &["bridge.other.example"], Relation::Short),
            ("brigde.example", &["bridge.example"], Relation::Misspelt),
            ("bridge.exmaple", &["other.example", "bridge.example"], Relation::Misspelt),
            ("localhots", &["localhost"], Relation::Misspelt),
            ("bridge1.example", &["bridge2.example"], Relation::Far),
            ("ca", &["cb"], Relation::Far),
            ("bridge.example", &["sign.example"], Relation::Far),
            ("bridge.example", &["*.example.org"], Relation::Far),
            ("bridge.example", &[], Relation::Far),
            ("", &["bridge"], Relation::Far),
            (".", &["bridge"], Relation::Far),
        ];
        for (host, names, told) in rows {
            assert_eq!(of(host, names), told, "{host} {names:?}");
        }
    }

    #[test]
    fn a_port_behind_a_name_is_seen() {
        for (host, name) in [
            ("bridge.example:44334", Some("bridge.example")),
            ("[::1]:44334", Some("::1")),
            ("10.0.0.5:1", Some("10.0.0.5")),
            ("::1", None),
            ("fe80::1:44334", None),
            ("bridge.example", None),
            ("bridge.example:", None),
            ("bridge:http", None),
            (":44334", None),
        ] {
            assert_eq!(without_port(host), name, "{host}");
        }
    }
}
