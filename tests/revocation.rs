//! Revocation lists in our database, and serial numbers that a CA gave twice.

mod common;

use common::world::{World, hold, hold_over, home, localhost};
use nssight_fixtures::authority::{DAY, Identity, Spec, Usage};
use nssight_fixtures::crl::List;
use nssight_nss::library::{nss_release, verifies_by_pkix};

#[test]
fn revocation_lists() {
    let home = home();
    let leaf = home.issue(&localhost()).unwrap();
    let sub = home.issue(&Spec::new("Sub CA", Usage::Authority)).unwrap();
    let of = |list: List<'_>| World::together(&home, leaf.clone()).list(&list, &home);
    let list = List { revoked: &[&leaf.certificate], updates: (-DAY, DAY), is_broken: false };
    let none = List { revoked: &[], ..list };
    hold(vec![
        ("revoked", "fail peer-cert-revoked peer certain", of(list)),
        (
            "its CA revoked",
            "fail peer-cert-revoked peer certain",
            World::together(&home, sub.issue(&localhost()).unwrap())
                .list(&List { revoked: &[&sub.certificate], ..list }, &home),
        ),
        ("a list without it", "pass - - certain", of(none)),
        ("an expired list without it", "pass - - certain", of(List { updates: (-9 * DAY, -DAY), ..none })),
        (
            "an expired list with it",
            "fail peer-cert-revoked peer certain",
            of(List { updates: (-9 * DAY, -DAY), ..list }),
        ),
        ("a broken list with it", "pass - - certain", of(List { is_broken: true, ..list })),
    ]);
}

#[test]
fn a_serial_number_given_twice() {
    let home = home();
    let numbered = home.issue(&localhost().serial(7)).unwrap();
    let again = home.issue(&Spec::new("old peer", Usage::Server).serial(7)).unwrap();
    let client = home.issue(&Spec::new("client", Usage::Client).serial(7)).unwrap();
    let old = Identity::self_signed(&Spec::new("Home CA", Usage::Authority).serial(1)).unwrap();
    let new = Identity::self_signed(&Spec::new("Home CA", Usage::Authority).serial(1)).unwrap();
    let mut rebuilt = new.issue(&localhost()).unwrap();
    rebuilt.chain.push(new.certificate.clone());
    hold(vec![
        (
            "of an old certificate in our database",
            "fail cert-duplicate-serial peer likely",
            World::together(&home, numbered.clone()).store("old", &again, ",,"),
        ),
        (
            "of our own",
            "fail cert-duplicate-serial peer likely",
            World { client: Some(client), ..World::together(&home, numbered) },
        ),
    ]);
    // Only before TLS 1.3 does the wire show which certificates these are.
    hold_over(
        &[false],
        vec![(
            "of a CA that was rebuilt",
            // libpkix has judged the chain before NSS 3.110 checks the serial number; NSS 3.132 checks the number first.
            if verifies_by_pkix() && nss_release() < (3, 132) {
                "fail peer-cert-untrusted peer likely"
            } else {
                "fail cert-duplicate-serial client-db likely"
            },
            World::together(&old, rebuilt.clone()),
        )],
    );
    hold_over(
        &[true],
        vec![(
            "of a CA that was rebuilt",
            if verifies_by_pkix() && nss_release() < (3, 132) {
                "fail peer-cert-untrusted peer possible"
            } else {
                "fail cert-duplicate-serial peer likely"
            },
            World::together(&old, rebuilt),
        )],
    );
}
