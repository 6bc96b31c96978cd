//! The TLS session with the first peer, by NSS or by OpenSSL, depending on which library can use our certificate.

use std::net::IpAddr;

use nssight_diagnosis::Notes;
use nssight_diagnosis::fact::fact;
use nssight_nss::{Certificate, Identity as NssIdentity, Nss, Session as NssSession, TlsOptions, in_memory};
use nssight_nssdb::Database;
use nssight_openssl::{Identity, Options, Session, Trust};
use nssight_session::{Code, Kind, SessionError, TlsSession, Transport};
use openssl::bn::BigNumContext;
use openssl::ec::PointConversionForm;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKeyRef, Private};
use openssl::x509::X509;
use zeroize::Zeroizing;

use crate::credentials::Found;
use crate::probe::nss_db;
use crate::settings::DEFAULT_ORIGIN;
use crate::target::Engine;
use crate::walk::Walk;

type Opened = Result<Box<dyn TlsSession>, SessionError>;

/// Creates a session over this transport. Nothing is sent yet.
pub(crate) fn open(walk: &Walk<'_>, host: &str, transport: Box<dyn Transport>, notes: &mut Notes) -> Opened {
    match (walk.target().engine(), &walk.opened, &walk.files) {
        (Engine::Nss, Some(opened), _) => of_nss(walk, &opened.nss, host, walk.client_auth(), Vec::new(), transport),
        (Engine::Nss, None, Some(files)) => of_files_in_nss(walk, files, host, transport),
        (Engine::Openssl, _, Some(files)) => {
            let trust = files.authorities.clone().map_or(Trust::System, Trust::These);
            of_openssl(walk, host, walk.identity().as_ref(), trust, transport, notes)
        }
        (Engine::Openssl, Some(_), None) => {
            let (identity, authorities) = of_database(walk).map_err(|why| local(READ_DATABASE, why))?;
            of_openssl(walk, host, identity.as_ref(), Trust::These(authorities), transport, notes)
        }
        (_, None, None) => Err(local(READ_DATABASE, "neither a database nor files are configured".to_owned())),
    }
}

const READ_DATABASE: &str = "read the database for OpenSSL";
const GIVE_TO_NSS: &str = "give the key to NSS";

/// An error before the first byte was sent.
fn local(step: &'static str, text: String) -> SessionError {
    SessionError { step, code: Code::System(0), kind: Kind::Other, name: text.clone(), text }
}

fn of_nss(
    walk: &Walk<'_>,
    nss: &Nss,
    host: &str,
    client_auth: Option<NssIdentity>,
    authorities: Vec<Certificate>,
    transport: Box<dyn Transport>,
) -> Opened {
    let target = walk.target();
    let versions = (target.tls.value.0.wire(), target.tls.value.1.wire());
    let options = TlsOptions { host, versions, client_auth, alpn: &target.alpn, authorities };
    Ok(Box::new(NssSession::client(nss, transport, options)?))
}

/// Uses the content of our files in an NSS without a database: nothing is written to disk.
fn of_files_in_nss(walk: &Walk<'_>, files: &Found, host: &str, transport: Box<dyn Transport>) -> Opened {
    let nss = Nss::without_database()?;
    let mut held = Vec::new();
    for authority in files.authorities.iter().flatten() {
        let der = authority.to_der().map_err(|error| local(GIVE_TO_NSS, error.to_string()))?;
        held.push(in_memory::trusted_authority(&der, &nss)?);
    }
    let client_auth = match walk.identity() {
        None => None,
        Some(identity) => {
            let encoded = encoded(&identity).map_err(|error| local(GIVE_TO_NSS, error.to_string()))?;
            for der in &encoded.chain {
                held.push(Certificate::from_der(der, &nss)?);
            }
            let key = in_memory::private_key(&encoded.pkcs8, &encoded.public_value, &nss)?;
            Some(NssIdentity { certificate: Certificate::from_der(&encoded.certificate, &nss)?, key })
        }
    };
    of_nss(walk, &nss, host, client_auth, held, transport)
}

/// Whether NSS accepts the key of our files.
pub(crate) fn nss_takes(identity: &Identity) -> Result<(), SessionError> {
    let encoded = encoded(identity).map_err(|error| local(GIVE_TO_NSS, error.to_string()))?;
    in_memory::private_key(&encoded.pkcs8, &encoded.public_value, &Nss::without_database()?)?;
    Ok(())
}

/// An identity in the form that NSS accepts.
struct Encoded {
    certificate: Vec<u8>,
    chain: Vec<Vec<u8>>,
    pkcs8: Zeroizing<Vec<u8>>,
    /// The RSA modulus or the raw EC point, by which NSS matches key and certificate.
    public_value: Vec<u8>,
}

fn encoded(identity: &Identity) -> Result<Encoded, ErrorStack> {
    Ok(Encoded {
        certificate: identity.certificate.to_der()?,
        chain: identity.chain.iter().map(|it| it.to_der()).collect::<Result<_, _>>()?,
        pkcs8: Zeroizing::new(identity.key.private_key_to_pkcs8()?),
        public_value: public_value(&identity.key)?,
    })
}

fn public_value(key: &PKeyRef<Private>) -> Result<Vec<u8>, ErrorStack> {
    match key.id() {
        Id::RSA | Id::RSA_PSS => Ok(key.rsa()?.n().to_vec()),
        Id::EC => {
            let key = key.ec_key()?;
            let mut context = BigNumContext::new()?;
            key.public_key().to_bytes(key.group(), PointConversionForm::UNCOMPRESSED, &mut context)
        }
        _ => key.raw_public_key(),
    }
}

/// Certificate and key of a database, and the CAs that it trusts for servers, read without NSS.
fn of_database(walk: &Walk<'_>) -> Result<(Option<Identity>, Vec<X509>), String> {
    let database = nss_db::open_natively(walk).ok_or("the database cannot be read without NSS")?;
    let authorities = authorities(&database).map_err(|error| error.to_string())?;
    let identity = match walk.target().nickname() {
        Some(nickname) => {
            let empty = Zeroizing::default();
            let password: &Zeroizing<Vec<u8>> = walk.unlocked_by.as_ref().unwrap_or(&empty);
            Some(identity(&database, &nickname.value, password)?)
        }
        None => None,
    };
    Ok((identity, authorities))
}

/// The CAs that a database trusts for TLS servers.
///
/// # Errors
/// If OpenSSL rejects one of them.
pub fn authorities(database: &Database) -> Result<Vec<X509>, ErrorStack> {
    let trusted = database.certificates.iter().filter(|certificate| certificate.trust.ssl.is_trusted_ca());
    trusted.map(|certificate| X509::from_der(&certificate.der)).collect()
}

/// The certificate of a nickname with its key, and the part of its chain that is in the database.
///
/// # Errors
/// A message for the user.
pub fn identity(database: &Database, nickname: &str, password: &[u8]) -> Result<Identity, String> {
    let said = |error: ErrorStack| error.to_string();
    let wanted = nickname.strip_prefix("NSS Certificate DB:").unwrap_or(nickname);
    let named = |entry: &&nssight_nssdb::Certificate| entry.nicknames.iter().any(|name| name.text == wanted);
    let entry = database.certificates.iter().find(named);
    let entry = entry.ok_or_else(|| format!("the database has no certificate \"{nickname}\""))?;
    let key = database.private_keys.iter().find(|key| key.cka_id == entry.cka_id);
    let key = key.ok_or("the certificate has no private key in the database")?;
    let unlocked = database.unlock(password).map_err(|error| error.to_string())?;
    let key = unlocked.private_key(key).map_err(|error| error.to_string())?;
    let certificate = X509::from_der(&entry.der).map_err(said)?;
    let all: Vec<X509> = database.certificates.iter().filter_map(|entry| X509::from_der(&entry.der).ok()).collect();
    Ok(Identity { chain: issuers(&certificate, &all), certificate, key })
}

/// The issuers that NSS sends: every available issuer except the root (cert_BuildCertChain in certhigh.c omits it).
fn issuers(certificate: &X509, all: &[X509]) -> Vec<X509> {
    let mut chain: Vec<X509> = Vec::new();
    while chain.len() < ISSUERS_AT_MOST {
        let last = chain.last().unwrap_or(certificate);
        let is_issuer = |it: &&X509| it.issued(last) == openssl::x509::X509VerifyResult::OK;
        match all.iter().find(is_issuer) {
            Some(issuer) if issuer.issued(issuer) != openssl::x509::X509VerifyResult::OK => chain.push(issuer.clone()),
            _ => break,
        }
    }
    chain
}

/// NSS itself follows a chain no further (seccomon.h, CERT_MAX_CERT_CHAIN).
const ISSUERS_AT_MOST: usize = 20;

fn of_openssl(
    walk: &Walk<'_>,
    host: &str,
    identity: Option<&Identity>,
    trust: Trust,
    transport: Box<dyn Transport>,
    notes: &mut Notes,
) -> Opened {
    let target = walk.target();
    // If the user requested no version, OpenSSL's own configuration decides.
    let is_asked = target.tls.origin != DEFAULT_ORIGIN;
    let versions = is_asked.then_some((target.tls.value.0.wire(), target.tls.value.1.wire()));
    // An address is not a valid server name (RFC 6066, 3).
    let server_name = host.parse::<IpAddr>().is_err().then_some(host.trim_end_matches('.'));
    let options = Options { host, server_name, versions, identity, trust, alpn: &target.alpn };
    let session = Session::new(transport, options)?;
    notes.put(fact::OPENSSL_SECURITY_LEVEL.number(session.security_level()));
    Ok(Box::new(session))
}
