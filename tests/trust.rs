//! How our side judges a peer's chain and our own certificate: with NSS, against a server with OpenSSL, which sends any chain that it is
//! given. Each case has the cause, the component and the confidence that a check must give; a mere oddity must pass.

mod common;

use common::servers::{Selfserv, selfserv_with};
use common::world::{World, authority, fact, hold, home, localhost, told, unidentified};
use common::{Case, diagnose, run_beside};
use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use nssight_fixtures::crl::List;
use nssight_fixtures::endpoint::ClientAuth;
use nssight_fixtures::nssdb::DbFormat;
use nssight_nss::library::{nss_release, verifies_by_pkix};

#[test]
fn our_own_trust_store() {
    let other = authority("Other CA");
    let peer = || other.issue(&localhost()).unwrap();
    let with = |trust: &str| World::apart(peer()).store("peer-ca", &other, trust);
    let sub = other.issue(&Spec::new("Sub CA", Usage::Authority)).unwrap();
    let expired = other.renewed(&Spec::new("Other CA", Usage::Authority).valid(-40 * DAY, -DAY)).unwrap();
    let plain = Identity::self_signed(&Spec::new("Plain CA", Usage::Authority).without_constraints()).unwrap();
    let leaf = peer();
    let root_sent = |ca: &Identity| {
        let mut peer = ca.issue(&localhost()).unwrap();
        peer.chain.push(ca.certificate.clone());
        peer
    };
    hold(vec![
        ("no letters", "fail ca-untrusted client-db certain", with(",,")),
        (
            "no letters, in the legacy format",
            "fail ca-untrusted client-db certain",
            World { format: DbFormat::Dbm, ..with(",,") },
        ),
        (
            "a trusted namesake beside it",
            "fail ca-untrusted client-db certain",
            with(",,").store("namesake", &authority("Other CA"), "CT,C,C"),
        ),
        ("no trust row", "fail ca-untrusted client-db certain", with("")),
        ("T only", "fail ca-untrusted client-db certain", with("T,,")),
        ("mail only", "fail ca-untrusted client-db certain", with(",C,")),
        ("c only", "fail ca-untrusted client-db certain", with("c,,")),
        ("no letters, nobody asks for ours", "fail ca-untrusted client-db certain", with(",,").anonymous()),
        (
            "no letters, root sent",
            "fail ca-untrusted client-db certain",
            World::apart(root_sent(&other)).store("peer-ca", &other, ",,"),
        ),
        (
            "no letters, behind an intermediate",
            "fail ca-untrusted client-db certain",
            World::apart(sub.issue(&localhost()).unwrap()).store("peer-ca", &other, ",,"),
        ),
        (
            "no letters, intermediate stored",
            "fail ca-untrusted client-db certain",
            World::apart(sub.issue(&localhost()).unwrap())
                .alone()
                .store("peer-ca", &other, ",,")
                .store("sub", &sub, ",,"),
        ),
        ("self-signed peer stored", "fail ca-untrusted client-db certain", {
            let own = Identity::self_signed(&localhost()).unwrap();
            World::apart(own.clone()).store("peer", &own, ",,")
        }),
        ("distrusted CA", "fail peer-cert-distrusted client-db certain", with("p,,")),
        (
            "distrusted certificate",
            "fail peer-cert-distrusted client-db certain",
            World::apart(leaf.clone()).store("peer-ca", &other, "CT,C,C").store("peer", &leaf, "p,p,p"),
        ),
        (
            "distrusted intermediate",
            "fail peer-cert-distrusted client-db certain",
            World::apart(sub.issue(&localhost()).unwrap())
                .store("peer-ca", &other, "CT,C,C")
                .store("sub", &sub, "p,p,p"),
        ),
        (
            "expired copy",
            "fail ca-expired client-db certain",
            World::apart(peer()).store("peer-ca", &expired, "CT,C,C"),
        ),
        (
            "expired copy, renewed one sent",
            "fail ca-expired client-db certain",
            World::apart(root_sent(&other)).store("peer-ca", &expired, "CT,C,C"),
        ),
        (
            "trust of a newer NSS",
            if nss_release() < (3, 114) { "fail trust-too-new client-db certain" } else { "pass - - certain" },
            World { newer: Some(other.certificate.clone()), ..with("CT,C,C") },
        ),
        ("no CA at all", "fail ca-missing client-db certain", {
            let own = Identity::self_signed(&Spec::new("client", Usage::Client)).unwrap();
            World { client: Some(own), stored: Vec::new(), ..World::apart(peer()) }
        }),
        (
            "no CA at all, no certificate of ours",
            "fail ca-missing client-db certain",
            World { stored: Vec::new(), ..World::apart(peer()) }.anonymous().store("somebody", &peer(), ",,"),
        ),
        (
            "an empty database",
            "fail ca-missing client-config likely",
            World { stored: Vec::new(), ..World::apart(root_sent(&other)) }.anonymous(),
        ),
        (
            "a CA without constraints and letters",
            "fail ca-untrusted client-db certain",
            World::apart(plain.issue(&localhost()).unwrap()).store("peer-ca", &plain, ",,"),
        ),
        (
            "a CA without constraints and trust for clients",
            "fail ca-untrusted client-db certain",
            World::apart(plain.issue(&localhost()).unwrap()).store("peer-ca", &plain, "T,,"),
        ),
    ]);
}

#[test]
fn a_peer_of_another_ca() {
    let other = authority("Other CA");
    let peer = || other.issue(&localhost()).unwrap();
    let rebuilt = authority("Home CA");
    let root_sent = |ca: &Identity| {
        let mut peer = ca.issue(&localhost()).unwrap();
        peer.chain.push(ca.certificate.clone());
        peer
    };
    let full = |ca: &Identity| ca.issue(&localhost().naming_the_issuers_issuer()).unwrap();
    hold(vec![
        ("unknown root, not sent", "fail peer-cert-untrusted peer likely", World::apart(peer())),
        ("unknown root, sent", "fail peer-cert-untrusted peer likely", World::apart(root_sent(&other))),
        (
            "unknown root, told by the key identifier",
            "fail peer-cert-untrusted peer likely",
            World::apart(full(&other)),
        ),
        (
            "self-signed",
            "fail peer-cert-untrusted peer likely",
            World::apart(Identity::self_signed(&localhost()).unwrap()),
        ),
        (
            "a CA of the same name with another key",
            "fail peer-cert-untrusted peer likely",
            World::apart(rebuilt.issue(&localhost()).unwrap()),
        ),
        ("the same, root sent", "fail peer-cert-untrusted peer likely", World::apart(root_sent(&rebuilt))),
        ("nobody asks for ours", "fail peer-cert-untrusted peer likely", World::apart(peer()).anonymous()),
        // No key identifier shows whether the key differs or the signature is broken, but the kinds of key do.
        ("a CA of the same name with another kind of key", "fail peer-cert-untrusted peer likely", {
            let before = Identity::self_signed(
                &Spec::new("Home CA", Usage::Authority).key(KeyKind::Rsa(2048)).without_key_identifiers(),
            );
            World::together(&before.unwrap(), unidentified(&home(), localhost()))
        }),
        ("a sub CA here, its root not", "fail peer-cert-untrusted client-db likely", {
            let sub = other.issue(&Spec::new("Blue", Usage::Authority)).unwrap();
            World::apart(sub.issue(&localhost()).unwrap()).store("sub", &sub, ",,")
        }),
        // Of two certificates of an issuer NSS selects the more recent one, and here that is the untrusted root; libpkix tries both.
        (
            "a root that hides a cross-certificate",
            if verifies_by_pkix() { "pass - - certain" } else { "fail peer-cert-untrusted peer likely" },
            {
                let home = home();
                let older = Spec::new("Other CA", Usage::Authority).valid(-2 * DAY, 60 * DAY);
                let crossed = home.certify(&other, &older).unwrap();
                let mut peer = peer();
                peer.chain = vec![crossed.certificate, other.certificate.clone()];
                World::together(&home, peer)
            },
        ),
    ]);
}

#[test]
fn an_intermediate_that_is_not_sent() {
    let home = home();
    let behind = |sub: &Identity, spec: Spec| World::together(&home, sub.issue(&spec).unwrap()).alone();
    let named = home.issue(&Spec::new("Home Intermediate CA", Usage::Authority)).unwrap();
    let unnamed = home.issue(&Spec::new("Blue", Usage::Authority)).unwrap();
    let lower = named.issue(&Spec::new("Blue", Usage::Authority)).unwrap();
    let mut half = lower.issue(&localhost().naming_the_issuers_issuer()).unwrap();
    half.chain.truncate(1);
    hold(vec![
        (
            "told by the key identifier",
            "fail peer-chain-incomplete peer certain",
            behind(&unnamed, localhost().naming_the_issuers_issuer()),
        ),
        ("told by its name", "fail peer-chain-incomplete peer likely", behind(&named, localhost())),
        ("the upper one of two", "fail peer-chain-incomplete peer likely", World::together(&home, half)),
    ]);
}

#[test]
fn a_chain_that_is_not_valid() {
    let home = home();
    let of = |peer: Identity| World::together(&home, peer);
    let sub = home.issue(&Spec::new("Sub CA", Usage::Authority)).unwrap();
    let constrained = home.issue(&Spec::new("Constrained CA", Usage::Authority).permitted("other.example")).unwrap();
    let short = home.issue(&Spec::new("Short CA", Usage::Authority).path_length(0)).unwrap();
    let below = short.issue(&Spec::new("Lower CA", Usage::Authority)).unwrap();
    let critical = home.issue(&Spec::new("Critical CA", Usage::Authority).critical_extension()).unwrap();
    let no_ca = home.issue(&Spec::new("no CA", Usage::Server)).unwrap();
    let bare = home.issue(&Spec::new("Bare CA", Usage::Authority).without_constraints()).unwrap();
    let leaf = home.issue(&localhost()).unwrap();
    let mut broken_above = sub.issue(&localhost()).unwrap();
    broken_above.chain = vec![sub.with_broken_signature().unwrap().certificate];
    const INVALID: &str = "fail peer-cert-invalid peer certain";
    hold(vec![
        ("name constraints", INVALID, of(constrained.issue(&localhost()).unwrap())),
        ("path length", INVALID, of(below.issue(&localhost()).unwrap())),
        ("critical extension", INVALID, of(home.issue(&localhost().critical_extension()).unwrap())),
        ("critical extension above", INVALID, of(critical.issue(&localhost()).unwrap())),
        ("an issuer that is no CA", INVALID, of(no_ca.issue(&localhost()).unwrap())),
        ("an intermediate without constraints", INVALID, of(bare.issue(&localhost()).unwrap())),
        ("a broken signature", INVALID, of(leaf.with_broken_signature().unwrap())),
        (
            "a broken signature without key identifiers",
            "fail peer-cert-invalid peer likely",
            of(unidentified(&home, localhost()).with_broken_signature().unwrap()),
        ),
        ("a broken signature above", INVALID, of(broken_above)),
    ]);
}

/// NSS reports a name that is not permitted for the certificate with that name, with the depth of the CA above it.
#[test]
fn the_report_names_the_certificate_that_nss_rejects() {
    let home = home();
    let constrained = home.issue(&Spec::new("Constrained CA", Usage::Authority).permitted("other.example")).unwrap();
    let critical = home.issue(&Spec::new("Critical CA", Usage::Authority).critical_extension()).unwrap();
    for (issuer, whose) in
        [(&constrained, "the peer's certificate"), (&critical, "the CA CN=Critical CA,O=nssight lab")]
    {
        let peer = issuer.issue(&localhost()).unwrap();
        for tls13 in [false, true] {
            let run = World::together(&home, peer.clone()).diagnosed(tls13);
            let summary = run.report()["verdict"]["summary"].as_str().unwrap().to_owned();
            // libpkix has no error code other than that for a chain that was not found.
            let whole = summary.trim_end_matches(" does not permit its name (SEC_ERROR_UNKNOWN_ISSUER)");
            assert!(whole.ends_with(whose), "{summary}");
        }
    }
}

#[test]
fn harmless_oddities_pass() {
    let (home, other) = (home(), authority("Other CA"));
    let leaf = other.issue(&localhost()).unwrap();
    // More recent than the root with the same name and key.
    let younger = Spec::new("Other CA", Usage::Authority).valid(-DAY / 2, 60 * DAY);
    let crossed = home.certify(&other, &younger).unwrap();
    let sends = |above: &[&Identity]| {
        let mut peer = leaf.clone();
        peer.chain = above.iter().map(|link| link.certificate.clone()).collect();
        peer
    };
    let expired = other.renewed(&Spec::new("Other CA", Usage::Authority).valid(-40 * DAY, -DAY)).unwrap();
    let plain = Identity::self_signed(&Spec::new("Plain CA", Usage::Authority).without_constraints()).unwrap();
    let unrelated = Identity::self_signed(&Spec::new("Old CA", Usage::Authority).valid(-40 * DAY, -DAY)).unwrap();
    let namesake = authority("Other CA");
    const PASS: &str = "pass - - certain";
    let apart = |peer: Identity| World {
        client: Some(home.issue(&Spec::new("client", Usage::Client)).unwrap()),
        ..World::together(&home, peer)
    };
    hold(vec![
        ("cross-signed, cross-certificate sent", PASS, apart(sends(&[&crossed]))),
        ("cross-signed, the untrusted root sent too", PASS, apart(sends(&[&crossed, &other]))),
        (
            "cross-signed, both stored",
            PASS,
            apart(leaf.clone()).store("crossed", &crossed, ",,").store("other", &other, ",,"),
        ),
        (
            "renewed CA beside the expired one",
            PASS,
            apart(leaf.clone()).store("old", &expired, "CT,C,C").store("new", &other, "CT,C,C"),
        ),
        ("renewed CA, expired one sent", PASS, apart(sends(&[&expired])).store("new", &other, "CT,C,C")),
        (
            "an expired CA that nobody uses",
            PASS,
            apart(leaf.clone()).store("other", &other, "CT,C,C").store("old", &unrelated, "CT,C,C"),
        ),
        (
            "the same CA under two nicknames",
            PASS,
            apart(leaf.clone()).store("other", &other, "CT,C,C").store("other again", &other, "CT,C,C"),
        ),
        (
            "a namesake with another key, not trusted",
            PASS,
            apart(leaf.clone()).store("namesake", &namesake, ",,").store("other", &other, "CT,C,C"),
        ),
        (
            "a namesake with another key, trusted",
            PASS,
            apart(leaf.clone()).store("other", &other, "CT,C,C").store("namesake", &namesake, "CT,C,C"),
        ),
        ("a trusted peer without its CA", PASS, apart(leaf.clone()).store("peer", &leaf, "P,,")),
        (
            "a CA without constraints, with trust",
            PASS,
            apart(plain.issue(&localhost()).unwrap()).store("plain", &plain, "C,,"),
        ),
        // OpenSSL would not accept our certificate.
        (
            "a CA without constraints for both",
            PASS,
            World { client_auth: ClientAuth::None, ..World::together(&plain, plain.issue(&localhost()).unwrap()) },
        ),
        ("our own self-signed certificate", "pass - - certain", {
            let own = Identity::self_signed(&Spec::new("client", Usage::Client)).unwrap();
            World { takes: vec![own.certificate.clone()], client: Some(own), ..apart(leaf.clone()) }
                .store("other", &other, "CT,C,C")
        }),
    ]);
}

/// An objection of NSS is a warning: the peer decides.
#[test]
fn the_layer_of_our_certificate_reports_objections_of_nss() {
    let home = home();
    let server = home.issue(&localhost()).unwrap();
    let spec = || Spec::new("client", Usage::Client);
    let no_ca = home.issue(&Spec::new("no CA", Usage::Server)).unwrap();
    let revoked = home.issue(&spec()).unwrap();
    let list = List { revoked: &[&revoked.certificate], updates: (-DAY, DAY), is_broken: false };
    let with = |client: &Identity| World {
        client: Some(client.clone()),
        client_auth: ClientAuth::None,
        ..World::together(&home, server.clone())
    };
    let broken = home.issue(&spec()).unwrap().with_broken_signature().unwrap();
    for (world, status, cause) in [
        (with(&home.issue(&spec()).unwrap()), "pass", None),
        (with(&Identity::self_signed(&spec()).unwrap()), "pass", None),
        (with(&broken), "warn", Some("cert-invalid")),
        (with(&home.issue(&spec().critical_extension()).unwrap()), "warn", Some("cert-invalid")),
        (with(&no_ca.issue(&spec()).unwrap()), "warn", Some("cert-invalid")),
        (with(&revoked).list(&list, &home), "warn", Some("cert-revoked")),
    ] {
        let run = world.diagnosed(false);
        let report = run.report();
        let probes = report["probes"].as_array().unwrap();
        let certificate = probes.iter().find(|probe| probe["layer"] == "certificate").unwrap();
        assert_eq!((certificate["status"].as_str(), certificate["cause"].as_str()), (Some(status), cause), "{run:#?}");
        assert_eq!(run.code, Some(0), "{run:#?}");
        assert!(!run.stdout.contains("-t CT"), "nothing here wants trust: {run:#?}");
    }
}

/// An NSS server that trusts no CA for clients names none, and refuses every client.
#[test]
fn an_nss_server_without_trust_for_clients() {
    for version in ["tls1.2", "tls1.3"] {
        let case = Case::new();
        let server = selfserv_with(&case, Selfserv { version, trust: "C,," });
        let database = case.database(DbFormat::Sql);
        let run = run_beside(&mut diagnose(&database, &case.password_file(), server.port), &database);
        assert_eq!(told(&run), "fail client-cert-rejected peer likely", "{run:#?}");
        assert_eq!(fact(&run, "our-ca.listed"), ["any CA is acceptable"], "{run:#?}");
    }
}

#[test]
fn our_own_certificate() {
    let home = home();
    let server = home.issue(&localhost()).unwrap();
    let plain = Identity::self_signed(&Spec::new("Plain CA", Usage::Authority).without_constraints()).unwrap();
    let client = |spec: Spec, ca: &Identity| ca.issue(&spec).unwrap();
    let spec = || Spec::new("client", Usage::Client);
    let constrained = home.issue(&Spec::new("Constrained CA", Usage::Authority).permitted("other.example")).unwrap();
    let short = home.issue(&Spec::new("Short CA", Usage::Authority).path_length(0)).unwrap();
    let below = short.issue(&Spec::new("Lower CA", Usage::Authority)).unwrap();
    let of = |client: Identity| World { client: Some(client), ..World::together(&home, server.clone()) };
    let lenient = |world: World| World { client_auth: ClientAuth::None, ..world };
    let revoked = client(spec(), &home);
    let list = List { revoked: &[&revoked.certificate], updates: (-DAY, DAY), is_broken: false };
    const REJECTED: &str = "fail client-cert-rejected client-db likely";
    hold(vec![
        (
            "its CA without constraints and letters",
            "fail ca-untrusted client-db certain",
            World {
                stored: vec![("own-ca".to_owned(), plain.certificate.clone(), ",,".to_owned())],
                ..World::together(&plain, plain.issue(&localhost()).unwrap())
            },
        ),
        ("a broken signature", REJECTED, of(client(spec(), &home).with_broken_signature().unwrap())),
        ("a critical extension", REJECTED, of(client(spec().critical_extension(), &home))),
        ("name constraints", REJECTED, of(client(spec().names(&["client.example"]), &constrained))),
        ("path length", REJECTED, of(client(spec(), &below))),
        (
            "a broken signature that nobody looks at",
            "pass - - certain",
            lenient(of(client(spec(), &home).with_broken_signature().unwrap())),
        ),
        ("revoked by our own list", "pass - - certain", of(revoked.clone()).list(&list, &home)),
    ]);
}
