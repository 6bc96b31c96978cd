//! A flaw on our side is not the peer's: our own copy of a CA, our own chain, or our own configuration.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::world::{World, authority, hold, home, localhost};
use common::{Case, binary, run};
use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use nssight_fixtures::endpoint::{ClientAuth, Endpoint, Options};
use nssight_nss::library::verifies_by_pkix;
use openssl::x509::X509;

const CA: Usage = Usage::Authority;

/// The peer's certificate is behind an intermediate CA; our database has this copy of the root.
fn with_root(spec: Spec) -> World {
    let home = home();
    let sub = home.issue(&Spec::new("Sub CA", CA)).unwrap();
    let copy = home.renewed(&spec).unwrap();
    let stored = vec![("own-ca".to_owned(), copy.certificate, "CT,C,C".to_owned())];
    World { stored, ..World::together(&home, sub.issue(&localhost()).unwrap()) }
}

#[test]
fn a_flaw_of_our_own_copy_of_a_ca_is_not_certainly_the_peers() {
    const OPEN: &str = "fail peer-cert-invalid peer likely";
    let home = home();
    let sub = home.issue(&Spec::new("Sub CA", CA)).unwrap();
    // NSS takes the most recent certificate of a CA, so ours hides the one that the peer sends.
    let recent = Spec::new("Sub CA", CA).critical_extension().valid(-DAY / 2, 60 * DAY);
    let replaced = World::together(&home, sub.issue(&localhost()).unwrap());
    hold(vec![
        ("a root with a path length", OPEN, with_root(Spec::new("Home CA", CA).path_length(0))),
        ("a root that permits other names", OPEN, with_root(Spec::new("Home CA", CA).permitted("other.example"))),
        // NSS does not look at the extensions of a root that it trusts.
        (
            "a root with a critical extension",
            "pass - - certain",
            with_root(Spec::new("Home CA", CA).critical_extension()),
        ),
        (
            "an intermediate in place of the one that was sent",
            // libpkix tries both.
            if verifies_by_pkix() { "pass - - certain" } else { OPEN },
            replaced.store("sub", &home.certify(&sub, &recent).unwrap(), ",,"),
        ),
        ("an unrestricted root", "pass - - certain", with_root(Spec::new("Home CA", CA))),
    ]);
}

#[test]
fn an_equal_key_identifier_is_no_equal_key() {
    let before = Identity::self_signed(&Spec::new("Home CA", CA).fixed_key_identifier()).unwrap();
    let after = Identity::self_signed(&Spec::new("Home CA", CA).fixed_key_identifier()).unwrap();
    hold(vec![(
        "a CA that was made anew",
        "fail peer-cert-invalid peer likely",
        World::together(&before, after.issue(&localhost()).unwrap()),
    )]);
}

#[test]
fn a_renewed_ca_counts_more_than_its_expired_certificate() {
    let other = authority("Other CA");
    let expired = other.renewed(&Spec::new("Other CA", CA).valid(-40 * DAY, -DAY)).unwrap();
    let peer = || World::apart(other.issue(&localhost()).unwrap());
    const UNTRUSTED: &str = "fail ca-untrusted client-db certain";
    hold(vec![
        (
            "only the expired one is trusted",
            UNTRUSTED,
            peer().store("old", &expired, "CT,,").store("new", &other, ",,"),
        ),
        ("the expired one is distrusted", UNTRUSTED, peer().store("old", &expired, "p,,").store("new", &other, ",,")),
    ]);
}

/// Files with certificates and keys.
struct Files {
    case: Case,
}

impl Files {
    fn new() -> Self {
        Self { case: Case::new() }
    }

    fn keep(&self, name: &str, certificates: &[&X509]) -> String {
        let path = self.case.path(name);
        let pem: Vec<u8> = certificates.iter().flat_map(|it| it.to_pem().unwrap()).collect();
        fs::write(&path, pem).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    fn key(&self, identity: &Identity) -> String {
        let path = self.case.path("own.key");
        fs::write(&path, identity.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// The verdict, with these variables.
    fn told(&self, words: &[&str], variables: &[(&str, &str)]) -> String {
        let mut command = binary();
        command.args(["diagnose", "--format", "json", "--timeout", "5"]).args(words).envs(variables.iter().copied());
        let report = run(&mut command).report();
        let text = |name: &str| report["verdict"][name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {}", text("status"), text("cause"), text("component"), text("confidence"))
    }
}

#[test]
fn a_flaw_of_our_own_file_of_cas_is_not_certainly_the_peers() {
    let home = home();
    let peer = home.issue(&Spec::new("Sub CA", CA)).unwrap().issue(&localhost()).unwrap();
    let files = Files::new();
    for tls13 in [false, true] {
        let options = Options { client_auth: ClientAuth::None, ..Options::new(&peer, &peer) };
        let endpoint = Endpoint::start(if tls13 { options.tls13() } else { options.tls12() }).unwrap();
        let address = format!("localhost:{}", endpoint.port());
        for (copy, wanted) in [
            (Spec::new("Home CA", CA).path_length(0), "fail peer-cert-invalid peer likely"),
            (Spec::new("Home CA", CA).permitted("other.example"), "fail peer-cert-invalid peer likely"),
            (Spec::new("Home CA", CA).valid(-40 * DAY, -DAY), "fail ca-expired client-files certain"),
            (Spec::new("Home CA", CA).valid(3 * DAY, 60 * DAY), "fail ca-expired client-files likely"),
            (Spec::new("Home CA", CA), "pass - - certain"),
        ] {
            let file = files.keep("ca.pem", &[&home.renewed(&copy).unwrap().certificate]);
            assert_eq!(
                files.told(&[&address, "--cacert", &file], &[]),
                wanted,
                "{}",
                files.case.path("ca.pem").display()
            );
        }
    }
}

/// The key does belong to the certificate: it is OpenSSL that can compare nothing.
#[test]
fn a_configuration_without_algorithms_is_found_before_the_files() {
    let home = home();
    let client = home.issue(&Spec::new("client", Usage::Client)).unwrap();
    let files = Files::new();
    let (own, key) = (files.keep("own.pem", &[&client.certificate]), files.key(&client));
    let ca = files.keep("ca.pem", &[&home.certificate]);
    let configuration = files.case.path("openssl.cnf");
    fs::write(&configuration, "openssl_conf = a\n[a]\nproviders = b\n[b]\nlegacy = c\n[c]\nactivate = 1\n").unwrap();
    let words = ["--cert", &own, "--key", &key, "--cacert", &ca, "localhost:1", "--until", "private-key"];
    let variables = [("OPENSSL_CONF", configuration.to_str().unwrap())];
    assert_eq!(files.told(&words, &variables), "fail openssl-config-unusable client-config certain");
    assert_eq!(files.told(&words, &[]), "pass - - certain");
}

/// OpenSSL refuses to send a weak CA, before it has seen anything of the peer.
#[test]
fn a_weak_ca_in_our_own_file_is_ours() {
    let home = home();
    let client = home.issue(&Spec::new("client", Usage::Client)).unwrap();
    let weak = Identity::self_signed(&Spec::new("Old CA", CA).key(KeyKind::Rsa(1024))).unwrap();
    let files = Files::new();
    let own = files.keep("own.pem", &[&client.certificate, &weak.certificate]);
    let (key, ca) = (files.key(&client), files.keep("ca.pem", &[&home.certificate]));
    let words = ["--cert", &own, "--key", &key, "--cacert", &ca, "localhost:1", "--until", "private-key"];
    let told = files.told(&words, &[]);
    assert!(told.starts_with("fail cert-weak-policy client-files"), "{told}");
}

#[test]
fn a_server_sends_its_whole_chain_to_clients_that_verify_it() {
    let home = home();
    let of = |ca: &Identity| ca.issue(&localhost()).unwrap();
    let sub = |spec: Spec| home.issue(&spec).unwrap();
    let named = || Spec::new("Sub CA", CA);
    let short = sub(Spec::new("Short CA", CA).path_length(0));
    let expired = sub(named().valid(-40 * DAY, -DAY));
    let crossing = authority("Crossing CA");
    let crossed = crossing.certify(&home, &Spec::new("Home CA", CA)).unwrap();
    let signer = sub(named());
    let relabelled = home.certify(&signer, &named().fixed_key_identifier()).unwrap();
    let signed = of(&signer);
    const INVALID: &str = "fail cert-invalid server certain";
    for (what, identity, authorities, wanted) in [
        ("healthy", of(&sub(named())), vec![&home], "pass - - certain"),
        ("an expired intermediate", of(&expired), vec![&home], "fail ca-expired server certain"),
        ("an intermediate that is no CA", of(&sub(Spec::new("no CA", Usage::Server))), vec![&home], INVALID),
        ("a path length", of(&short.issue(&named()).unwrap()), vec![&home], INVALID),
        ("names that are not permitted", of(&sub(named().permitted("other.example"))), vec![&home], INVALID),
        ("an unknown critical extension", of(&sub(named().critical_extension())), vec![&home], INVALID),
        (
            "a key identifier that the issuer does not have",
            Identity { chain: vec![relabelled.certificate.clone()], ..signed.clone() },
            vec![&home],
            INVALID,
        ),
        (
            "an issuer with two key identifiers",
            Identity { chain: vec![relabelled.certificate, signer.certificate.clone()], ..signed },
            vec![&home],
            "pass - - certain",
        ),
        // Both have the key that signed.
        ("a cross-certificate before the root", of(&home), vec![&crossed, &home], "pass - - certain"),
    ] {
        let files = Files::new();
        let chain: Vec<&X509> = [&identity.certificate].into_iter().chain(&identity.chain).collect();
        let (own, key) = (files.keep("own.pem", &chain), files.key(&identity));
        let ca = files.keep("ca.pem", &authorities.iter().map(|it| &it.certificate).collect::<Vec<_>>());
        for name in ["localhost", "localhost."] {
            let words = ["--role", "server", "--cert", &own, "--key", &key, "--cacert", &ca, "--servername", name];
            assert_eq!(files.told(&words, &[]), wanted, "{what}, {name}");
        }
    }
}

#[test]
fn a_name_counts_only_in_a_form_that_clients_accept() {
    const MISSING: &str = "fail cert-name server certain";
    let home = home();
    for (names, wanted, told) in [
        (&["127.0.0.1"][..], "127.0.0.1", "pass - - certain"),
        (&["DNS:127.0.0.1"], "127.0.0.1", MISSING),
        (&["*.lab.example"], "sign.lab.example", "pass - - certain"),
        (&["*.lab.example"], "SIGN.lab.example.", "pass - - certain"),
        (&["*.lab.example"], "lab.example", MISSING),
        (&["*.example"], "sign.example", MISSING),
        (&["*.example", "sign.example"], "sign.example", "pass - - certain"),
    ] {
        let own = home.issue(&Spec::new("own", Usage::Server).names(names)).unwrap();
        let files = Files::new();
        let (certificate, key) = (files.keep("own.pem", &[&own.certificate]), files.key(&own));
        let ca = files.keep("ca.pem", &[&home.certificate]);
        let words =
            ["--role", "server", "--cert", &certificate, "--key", &key, "--cacert", &ca, "--servername", wanted];
        assert_eq!(files.told(&words, &[]), told, "{names:?}, {wanted}");
    }
}
