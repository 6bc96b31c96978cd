//! Certificates that take each other's place: renewals, and unrelated certificates under the same nickname.

use std::collections::{BTreeMap, HashSet};

use time::OffsetDateTime;

use crate::difference::{Difference, Gravity, Held, Kind};
use crate::facts::{Facts, stamp};
use crate::trust;

/// Pairs certificates that are not the same but take each other's place: by nickname, then by subject. Paired certificates
/// are removed from `left`.
pub(crate) fn pair(left: &mut [Vec<Held<'_>>; 2], now: OffsetDateTime, differences: &mut Vec<Difference>) {
    let facts = |held: &Held<'_>| Facts::of(&held.certificate.der);
    // The newest first: of several under one name, those that are in use are compared.
    let sorted = |side: &[Held<'_>]| -> Vec<usize> {
        let mut order: Vec<usize> = (0..side.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(facts(&side[*index]).map(|facts| facts.not_after)));
        order
    };
    let orders = [sorted(&left[0]), sorted(&left[1])];
    let mut taken: [HashSet<usize>; 2] = [HashSet::new(), HashSet::new()];
    for by_nickname in [true, false] {
        let key = |held: &Held<'_>| -> Option<Vec<u8>> {
            if by_nickname {
                held.certificate.nicknames.first().map(|nickname| nickname.text.clone().into_bytes())
            } else {
                facts(held).map(|facts| facts.names.subject.into_vec())
            }
        };
        let mut there: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for index in orders[1].iter().rev().filter(|index| !taken[1].contains(index)) {
            if let Some(key) = key(&left[1][*index]) {
                there.entry(key).or_default().push(*index);
            }
        }
        for index in &orders[0] {
            if taken[0].contains(index) {
                continue;
            }
            let here = left[0][*index];
            let partner = key(&here).and_then(|key| there.get_mut(&key)?.pop());
            if let Some(partner) = partner {
                differences.push(succession(here, left[1][partner], now));
                taken[0].insert(*index);
                taken[1].insert(partner);
            }
        }
    }
    for (side, taken) in left.iter_mut().zip(&taken) {
        let mut index = 0;
        side.retain(|_| {
            index += 1;
            !taken.contains(&(index - 1))
        });
    }
}

/// Two certificates in one place.
fn succession(a: Held<'_>, b: Held<'_>, now: OffsetDateTime) -> Difference {
    let (here, there) = (Facts::of(&a.certificate.der), Facts::of(&b.certificate.der));
    let shown = |facts: &Option<Facts>| match facts {
        Some(facts) => format!("{}, serial {}, to {}", facts.subject, facts.serial, stamp(facts.not_after)),
        None => "unreadable".to_owned(),
    };
    let (shown_a, shown_b) = (shown(&here), shown(&there));
    let mut difference = Difference {
        kind: Kind::CertificateDiffers,
        gravity: Gravity::Grave,
        name: a.name(),
        sha256: None,
        a: Some(shown_a),
        b: Some(shown_b),
        consequence: "in B another certificate has the same nickname: to peers it is a different identity".to_owned(),
    };
    let (Some(here), Some(there)) = (here, there) else { return difference };
    if here.names.subject != there.names.subject {
        return difference;
    }
    let key = if here.public_key == there.public_key { "the same key" } else { "a new key" };
    let (newer, older, kind) = if here.not_after > there.not_after {
        ("A", (&there, "B"), Kind::RenewedInA)
    } else {
        ("B", (&here, "A"), Kind::RenewedInB)
    };
    difference.kind = kind;
    let expired = older.0.not_after < now;
    difference.gravity = if expired { Gravity::Grave } else { Gravity::Notable };
    let until = stamp(older.0.not_after);
    difference.consequence = match (here.not_after == there.not_after && here.not_before == there.not_before, expired) {
        (true, _) => {
            difference.kind = Kind::CertificateDiffers;
            difference.gravity = Gravity::Notable;
            format!("another certificate of the same subject, with {key} and the same dates")
        }
        (false, true) => format!(
            "{newer} has the renewed certificate, with {key}; the certificate of {} expired on {until}",
            older.1
        ),
        (false, false) => format!(
            "{newer} has the renewed certificate, with {key}; the certificate of {} is valid until {until}",
            older.1
        ),
    };
    if (here.is_ca || there.is_ca) && here.public_key != there.public_key {
        difference.gravity = Gravity::Grave;
        difference.consequence.push_str("; signatures by one key do not verify with the other key");
    }
    if a.key.is_some() != b.key.is_some() {
        let without = if a.key.is_some() { "B" } else { "A" };
        difference.consequence.push_str(&format!("; {without} has no private key for its certificate"));
        difference.gravity = Gravity::Grave;
    }
    let (trust_a, trust_b) = (a.certificate.trust, b.certificate.trust);
    if trust_a.letters() != trust_b.letters() {
        let (what, gravity) = trust::consequence(&trust_a, &trust_b);
        difference.consequence.push_str(&format!("; trust {} and {}: {what}", trust_a.letters(), trust_b.letters()));
        difference.gravity = difference.gravity.min(gravity);
    }
    difference
}
