//! Private keys: linked with their certificates, and proven to match.

use nssight_fixtures::authority::Identity;
use nssight_fixtures::nssdb::DbBuilder;
use nssight_nss::key::KeyKind;
use nssight_nss::{Certificate, PrivateKey, Slot};

use crate::tools::{BOTH, Database, NICKNAME, PKI, certificates, usual};

fn two_identities(builder: DbBuilder) -> DbBuilder {
    usual(builder)
        .x509_identity("ec client", &PKI.ec_client.certificate, &PKI.ec_client.key, "")
        .expect("OpenSSL encodes what it made")
}

fn find(nickname: &str, nss: &nssight_nss::Nss) -> (Certificate, PrivateKey) {
    let certificate = Certificate::find(nickname, nss).unwrap_or_else(|error| panic!("{nickname}: {error}"));
    let key = PrivateKey::find(&certificate).unwrap_or_else(|error| panic!("{nickname}: {error}"));
    (certificate, key)
}

#[test]
fn a_key_proves_its_own_certificate_and_no_other() {
    for format in BOTH {
        let made = Database::by_certutil(format, false);
        made.add_identity(NICKNAME, &PKI.client);
        made.add_identity("ec client", &PKI.ec_client);
        for database in [made, Database::built(format, two_identities)] {
            let (nss, slot) = database.unlocked();
            let (rsa_certificate, rsa) = find(NICKNAME, &nss);
            let (ec_certificate, ec) = find("ec client", &nss);
            assert_eq!((rsa.kind(), ec.kind()), (KeyKind::Rsa, KeyKind::Ec));
            let session_copy = rsa.in_session(&slot).expect("it is unwrapped");
            for _ in 0..3 {
                assert_eq!(rsa.proves(&rsa_certificate), Ok(true), "{format:?}");
                assert_eq!(session_copy.proves(&rsa_certificate), Ok(true), "{format:?}");
                assert_eq!(ec.proves(&ec_certificate), Ok(true), "{format:?}");
            }
            let others: [(&PrivateKey, &Identity); 4] =
                [(&rsa, &PKI.server), (&rsa, &PKI.ec_client), (&ec, &PKI.ca), (&ec, &PKI.client)];
            for (key, identity) in others {
                let other =
                    Certificate::from_der(&identity.certificate.to_der().expect("DER"), &nss).expect("it is one");
                assert_eq!(key.proves(&other), Ok(false), "{format:?}: {:?} for {}", key.kind(), other.subject());
            }
        }
    }
}

#[test]
fn a_certificate_alone_has_no_key() {
    for format in BOTH {
        let database = Database::built(format, |builder| certificates(builder, &[("alone", &PKI.client, "")]));
        let (nss, _slot) = database.unlocked();
        let certificate = Certificate::find("alone", &nss).expect("it is there");
        let error = PrivateKey::find(&certificate).map(|_| ()).expect_err("there is no key");
        assert_eq!(error.step, nssight_nss::Step::FindPrivateKey, "{format:?}");
    }
}

#[test]
fn a_key_is_found_once_its_certificate_is_stored() {
    for format in BOTH {
        let database = Database::built(format, |builder| {
            builder.pkey("key alone", &PKI.client.key).expect("OpenSSL encodes what it made")
        });
        {
            let (nss, slot) = database.unlocked();
            assert!(slot.certificates().is_empty(), "{format:?}");
            let from_elsewhere =
                Certificate::from_der(&PKI.client.certificate.to_der().expect("DER"), &nss).expect("it is one");
            assert!(PrivateKey::find(&from_elsewhere).is_err(), "{format:?}: NSS goes from stored certificates only");
        }
        database.add("joined later", &PKI.client, "");
        let (nss, _slot) = database.unlocked();
        let (certificate, key) = find("joined later", &nss);
        assert_eq!(key.proves(&certificate), Ok(true), "{format:?}");
    }
}

#[test]
fn a_locked_key_is_not_found() {
    for format in BOTH {
        let database = Database::built(format, usual);
        let nss = database.open();
        let certificate = Certificate::find(NICKNAME, &nss).expect("certificates need no password");
        assert!(PrivateKey::find(&certificate).is_err(), "{format:?}");
        let slot = Slot::internal_key(&nss).expect("a slot");
        assert!(!slot.is_logged_in(), "{format:?}: nothing was offered");
    }
}

#[test]
fn keys_under_an_empty_password_need_no_login() {
    for format in BOTH {
        let database = Database::built_with(DbBuilder::new(format).password(b""), format, two_identities);
        let nss = database.open();
        for nickname in [NICKNAME, "ec client"] {
            let (certificate, key) = find(nickname, &nss);
            assert_eq!(key.proves(&certificate), Ok(true), "{format:?}: {nickname}");
        }
    }
}
