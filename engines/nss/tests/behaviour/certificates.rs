//! Certificates: nicknames, trust letters, NSS's judgement, chains and names.

use nssight_fixtures::authority::{Identity, Spec, Usage as CertificateUsage};
use nssight_fixtures::nssdb::DbFormat;
use nssight_nss::{Certificate, ChainError, ErrorCode, Usage};

use crate::tools::{BOTH, Database, PKI, certificates, usual};

/// Objections as depth and error.
fn objections(errors: &[ChainError]) -> Vec<(u32, ErrorCode)> {
    errors.iter().map(|objection| (objection.depth, objection.error.code)).collect()
}

#[test]
fn nicknames_are_found_without_any_change() {
    let names = [
        "plain",
        "with blanks in it",
        "  leading and trailing  ",
        "\"quoted\" and 'quoted'",
        "Schlüssel ☂",
        "a/b\\c%d",
    ];
    let identities = [&PKI.ca, &PKI.other_ca, &PKI.intermediate, &PKI.server, &PKI.client, &PKI.ec_client];
    for format in BOTH {
        let made = Database::by_certutil(format, false);
        for (name, identity) in names.into_iter().zip(identities) {
            made.add(name, identity, ",,");
        }
        let built = Database::built(format, |mut builder| {
            for (name, identity) in names.into_iter().zip(identities) {
                builder = builder.x509(name, &identity.certificate, "").expect("OpenSSL encodes what it made");
            }
            builder
        });
        for database in [made, built] {
            let nss = database.open();
            for (name, identity) in names.into_iter().zip(identities) {
                let found =
                    Certificate::find(name, &nss).unwrap_or_else(|error| panic!("{format:?}: {name:?}: {error}"));
                assert_eq!(found.nickname().as_deref(), Some(name), "{format:?}");
                assert_eq!(found.der(), identity.certificate.to_der().expect("DER"), "{format:?}: {name:?}");
            }
            for missing in ["Plain", "plain ", "", "no such thing", "nul\0inside"] {
                let error = Certificate::find(missing, &nss).map(|_| ()).expect_err("not there");
                assert_eq!(error.step, nssight_nss::Step::FindCertificate, "{format:?}: {missing:?}");
            }
        }
    }
}

#[test]
fn trust_letters_are_those_of_certutil() {
    let letters = [",,", "C,,", "T,,", "CT,C,C", "P,,", "p,,", "c,c,c", "CP,,", "pu,,p"];
    for format in BOTH {
        for letters in letters {
            let made = Database::by_certutil(format, false);
            made.add("ca", &PKI.ca, letters);
            made.add_identity("client", &PKI.client);
            let built =
                Database::built(format, |builder| certificates(usual(builder), &[("other", &PKI.other_ca, letters)]));
            for database in [made, built] {
                let listed = database.listed_by_certutil();
                assert!(listed.len() >= 2, "{listed:?}");
                let (nss, _slot) = database.unlocked();
                for (nickname, trust) in listed {
                    let certificate = Certificate::find(&nickname, &nss).expect("it is there");
                    assert_eq!(certificate.trust().to_string(), trust, "{format:?}: {nickname} imported as {letters}");
                }
            }
        }
    }
}

#[test]
fn a_good_client_certificate_verifies() {
    for format in BOTH {
        let made = Database::by_certutil(format, false);
        made.add("ca", &PKI.ca, "CT,C,C");
        made.add_identity(crate::tools::NICKNAME, &PKI.client);
        for database in [made, Database::built(format, usual)] {
            let (nss, _slot) = database.unlocked();
            let certificate = Certificate::find(crate::tools::NICKNAME, &nss).expect("it is there");
            assert_eq!(certificate.verify(Usage::SslClient), [], "{format:?}");
            assert!(certificate.trust().to_string().contains('u'), "{format:?}");
            assert_eq!(certificate.key_bits(), 2048);
            assert_eq!(certificate.subject(), "CN=client,O=nssight lab");
            assert_eq!(certificate.issuer_name(), "CN=Test CA,O=nssight lab");
            let (from, to) = certificate.validity().expect("it has one");
            assert_eq!(to - from, 61 * 24 * 3600 * 1_000_000, "microseconds");
        }
    }
}

/// A label, the certificate, its usage, and the expected objections.
type Case<'a> = (&'a str, &'a Identity, Usage, &'a [(u32, ErrorCode)]);

#[test]
fn every_objection_is_listed() {
    let pki = &*PKI;
    let cases: [Case<'_>; 5] = [
        ("expired", &pki.expired, Usage::SslClient, &[(0, ErrorCode::SEC_ERROR_EXPIRED_CERTIFICATE)]),
        ("stranger", &pki.stranger, Usage::SslClient, &[(0, ErrorCode::SEC_ERROR_UNKNOWN_ISSUER)]),
        ("signer", &pki.signer, Usage::SslClient, &[(0, ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE)]),
        ("client", &pki.client, Usage::SslServer, &[(0, ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE)]),
        ("server", &pki.server, Usage::SslServer, &[]),
    ];
    for format in BOTH {
        let database = Database::built(format, |builder| certificates(builder, &[("ca", &pki.ca, "CT,,")]));
        let nss = database.open();
        for (what, identity, usage, expected) in &cases {
            let certificate =
                Certificate::from_der(&identity.certificate.to_der().expect("DER"), &nss).expect("it is one");
            let found = certificate.verify(*usage);
            assert_eq!(objections(&found), *expected, "{format:?}: {what}: {found:?}");
            assert!(found.iter().all(|objection| objection.subject == certificate.subject()), "{what}: {found:?}");
        }
    }
}

#[test]
fn an_issuer_without_trust_is_named_at_its_depth() {
    for format in BOTH {
        for (trust, usage) in [(",,", Usage::SslClient), ("C,,", Usage::SslClient), ("T,,", Usage::SslServer)] {
            let database = Database::built(format, |builder| certificates(builder, &[("ca", &PKI.ca, trust)]));
            let nss = database.open();
            let identity = if usage == Usage::SslServer { &PKI.server } else { &PKI.client };
            let certificate =
                Certificate::from_der(&identity.certificate.to_der().expect("DER"), &nss).expect("it is one");
            let found = certificate.verify(usage);
            assert_eq!(
                objections(&found),
                [(1, ErrorCode::SEC_ERROR_UNTRUSTED_ISSUER)],
                "{format:?}: {trust} {usage:?}"
            );
            assert_eq!(found[0].subject, "CN=Test CA,O=nssight lab");
        }
    }
}

/// NSS reports errors about the certificate as an issuer, at depth 1, and not about the certificate itself.
#[test]
fn a_certificate_that_issued_itself_is_its_own_issuer() {
    let own = Identity::self_signed(&Spec::new("own", CertificateUsage::Client)).expect("a certificate");
    for format in BOTH {
        let database = Database::built(format, |builder| certificates(builder, &[("own", &own, "")]));
        let nss = database.open();
        let found = Certificate::find("own", &nss).expect("it is there").verify(Usage::SslClient);
        assert!(!found.is_empty() && found.iter().all(|objection| objection.depth == 1), "{format:?}: {found:?}");
    }
}

#[test]
fn a_chain_goes_up_as_far_as_nss_knows() {
    for format in BOTH {
        let all: &[(&str, _, &str)] =
            &[("root", &PKI.ca, "CT,,"), ("middle", &PKI.intermediate, ""), ("leaf", &PKI.deep_client, "")];
        for (known, expected) in [(all, 3), (&all[1..], 2), (&all[2..], 1)] {
            let database = Database::built(format, |builder| certificates(builder, known));
            let nss = database.open();
            let leaf = Certificate::find("leaf", &nss).expect("it is there");
            let chain = leaf.chain();
            assert_eq!(chain.len(), expected, "{format:?}");
            assert_eq!(chain[0].der(), leaf.der());
            for pair in chain.windows(2) {
                assert_eq!(pair[0].issuer_name(), pair[1].subject());
            }
            assert_eq!(chain.last().is_some_and(Certificate::is_self_issued), expected == 3);
            let good = leaf.verify(Usage::SslClient);
            assert_eq!(good.is_empty(), expected == 3, "{format:?}: {good:?}");
        }
    }
}

#[test]
fn names_are_compared_as_nss_compares_them() {
    let database = Database::built(DbFormat::Sql, usual);
    let nss = database.open();
    let certificate = Certificate::from_der(&PKI.server.certificate.to_der().expect("DER"), &nss).expect("it is one");
    assert_eq!(certificate.valid_for_host("localhost"), Ok(()));
    assert_eq!(certificate.valid_for_host("LOCALHOST"), Ok(()));
    for wrong in ["server", "localhost.", "127.0.0.1", "", "nul\0inside"] {
        assert!(certificate.valid_for_host(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn data_that_is_not_a_certificate_is_refused() {
    let database = Database::built(DbFormat::Sql, usual);
    let nss = database.open();
    let der = PKI.server.certificate.to_der().expect("DER");
    for bad in [&[][..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"hello", &der[..der.len() / 2]] {
        assert!(Certificate::from_der(bad, &nss).is_err(), "{} bytes", bad.len());
    }
}
