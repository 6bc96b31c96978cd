//! Certificate fields for reports.
use nssight_diagnosis::derive::dates::Validity;
use nssight_diagnosis::derive::signatures::Signer;
use nssight_nss::kinds::{self, NewerKind};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::sha::{sha1, sha256, sha384, sha512};
use openssl::x509::X509;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

/// The issuer's name as DER.
pub fn issuer(der: &[u8]) -> Option<Vec<u8>> {
    Some(parse(der)?.issuer().as_raw().to_vec())
}

/// The subject's name as DER.
pub fn subject_name(der: &[u8]) -> Option<Vec<u8>> {
    Some(parse(der)?.subject().as_raw().to_vec())
}

/// The answer of a verification, without the errors that a negative one leaves in OpenSSL's queue, where a later call would find them
/// (ERR_get_error(3)).
pub fn verified<T>(verify: impl FnOnce() -> Result<T, ErrorStack>) -> Option<T> {
    let answer = verify().ok();
    drop(ErrorStack::get());
    answer
}

/// Whether the key of the second certificate made the signature of the first one.
pub fn is_signed_by(der: &[u8], issuer: &[u8]) -> bool {
    verified(|| X509::from_der(der)?.verify(&*X509::from_der(issuer)?.public_key()?)).unwrap_or(false)
}

/// Whether the key of the second certificate cannot have made the signature of the first one, because it is of another kind or length.
pub fn is_by_another_kind_of_key(der: &[u8], issuer: &[u8]) -> bool {
    let Ok(certificate) = X509::from_der(der) else { return false };
    let Ok(key) = X509::from_der(issuer).and_then(|issuer| issuer.public_key()) else { return false };
    let by = certificate.signature_algorithm().object().nid().signature_algorithms().map(|them| them.pkey);
    // Any RSA key can sign with RSASSA-PSS (RFC 4055, 1.2).
    let kind = |nid: Nid| if nid == Nid::RSASSAPSS { Nid::RSAENCRYPTION } else { nid };
    let is_other_kind = by.is_some_and(|nid| kind(nid) != kind(Nid::from_raw(key.id().as_raw())));
    let signature = certificate.signature().len();
    is_other_kind || key.rsa().is_ok() && signature != key.size()
}

/// Whether the subject key identifier follows from the key (RFC 5280, 4.2.1.2; RFC 7093, 2), so that another key has another identifier.
pub fn identifies_its_key(der: &[u8]) -> bool {
    let Some(certificate) = parse(der) else { return false };
    let identifier = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0),
        _ => None,
    });
    let info = certificate.public_key();
    let bits = &info.subject_public_key.data;
    let hashes =
        |data: &[u8]| [sha1(data).to_vec(), sha256(data).to_vec(), sha384(data).to_vec(), sha512(data).to_vec()];
    let is_hash = |wanted: &[u8]| {
        [bits.as_ref(), info.raw].into_iter().flat_map(hashes).any(|hash| wanted == &hash[..20] || wanted == hash)
    };
    identifier.is_some_and(is_hash)
}

/// The first common name of the subject.
pub fn common_name(der: &[u8]) -> Option<String> {
    Some(parse(der)?.subject().iter_common_name().next()?.as_str().ok()?.to_owned())
}

/// The period of validity.
pub fn validity(der: &[u8]) -> Option<Validity> {
    let certificate = parse(der)?;
    let validity = certificate.validity();
    Some(Validity { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
}

/// The signature type of a certificate's key (RFC 3279, 4055, 5480 and 8410).
pub fn signer(der: &[u8]) -> Option<Signer> {
    Some(match parse(der)?.public_key().algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => Signer::Rsa,
        "1.2.840.113549.1.1.10" => Signer::RsaPss,
        "1.2.840.10045.2.1" => Signer::Ec,
        "1.2.840.10040.4.1" => Signer::Dsa,
        "1.3.101.112" => Signer::Ed25519,
        _ => return None,
    })
}

/// The subject's name, as NSS writes names.
pub fn subject(der: &[u8]) -> String {
    subject_name(der).map_or_else(|| "unreadable".to_owned(), |name| nssight_wire::name_from_der(&name))
}

/// Whether a certificate may be used by a TLS client.
pub enum ClientUsage {
    /// It may, or it has no restriction.
    Fit,
    /// Its extended key usage allows servers but not clients.
    ServersOnly,
    /// It is restricted to another use, given as text.
    Unfit(String),
}

/// Whether a certificate allows use by a TLS client (RFC 5280, 4.2.1.3 and 4.2.1.12).
pub fn client_usage(der: &[u8]) -> ClientUsage {
    let Some(certificate) = parse(der) else { return ClientUsage::Unfit("it cannot be read".to_owned()) };
    if let Some(usage) = certificate.key_usage().ok().flatten()
        && !usage.value.digital_signature()
    {
        return ClientUsage::Unfit("its key usage has no digitalSignature".to_owned());
    }
    match certificate.extended_key_usage().ok().flatten() {
        Some(usage) if usage.value.client_auth || usage.value.any => ClientUsage::Fit,
        Some(usage) if usage.value.server_auth => ClientUsage::ServersOnly,
        Some(_) => ClientUsage::Unfit("its extended key usage has no clientAuth".to_owned()),
        None => ClientUsage::Fit,
    }
}

/// The reason why a certificate does not allow use by a TLS server, if any (RFC 5280, 4.2.1.3 and 4.2.1.12).
pub fn server_trouble(der: &[u8]) -> Option<String> {
    let Some(certificate) = parse(der) else { return Some("it cannot be read".to_owned()) };
    let usage = certificate.key_usage().ok().flatten();
    // Every TLS key exchange needs one of these three.
    if usage
        .is_some_and(|it| !(it.value.digital_signature() || it.value.key_encipherment() || it.value.key_agreement()))
    {
        return Some("its key usage allows no TLS key exchange".to_owned());
    }
    let extended = certificate.extended_key_usage().ok().flatten()?;
    let is_fit = extended.value.server_auth || extended.value.any;
    (!is_fit).then(|| "its extended key usage has no serverAuth".to_owned())
}

/// Whether a certificate shows that its issuer is not a root: either its authority key identifier names the issuer's own issuer, or it
/// belongs to the public web, whose roots issue only to CAs (CA/Browser Forum, Baseline Requirements, 6.1.7).
pub fn is_below_an_intermediate(der: &[u8]) -> bool {
    /// The list of precertificate timestamps (RFC 6962, 3.3), and the prefix of the CA/Browser Forum's policies.
    const TIMESTAMPS: &str = "1.3.6.1.4.1.11129.2.4.2";
    const POLICIES: &str = "2.23.140.1.2.";
    let Some(certificate) = parse(der) else { return false };
    certificate.iter_extensions().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => {
            identifier.authority_cert_issuer.iter().flatten().any(|name| match name {
                GeneralName::DirectoryName(name) => name.as_raw() != certificate.issuer().as_raw(),
                _ => false,
            })
        }
        ParsedExtension::CertificatePolicies(policies) => {
            policies.iter().any(|policy| policy.policy_id.to_id_string().starts_with(POLICIES))
        }
        _ => extension.oid.to_id_string() == TIMESTAMPS,
    })
}

/// Subject, issuer and dates in one line.
pub fn one_line(der: &[u8]) -> String {
    let Some(certificate) = parse(der) else {
        return format!("unreadable, {} bytes", der.len());
    };
    let validity = certificate.validity();
    let day = |time: x509_parser::time::ASN1Time| time.to_datetime().date();
    format!(
        "{}, from {}, valid {} to {}",
        nssight_wire::name_from_der(certificate.subject().as_raw()),
        nssight_wire::name_from_der(certificate.issuer().as_raw()),
        day(validity.not_before),
        day(validity.not_after)
    )
}

/// Whether the certificate is valid at this time.
pub fn is_in_date(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| certificate.validity().is_valid())
}

/// Whether it may sign certificates, according to basic constraints and key usage (RFC 5280, 4.2.1.9 and 4.2.1.3).
pub fn is_ca(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    let signs = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    certificate.is_ca() && signs
}

/// The names that a TLS client compares with a host: the subject alternative names, or the common name if there are none (NSS, certdb.c,
/// CERT_VerifyCertName).
pub fn names(der: &[u8]) -> Vec<String> {
    match named(der) {
        (names, From::Alternative) => names,
        (names, From::CommonName) => names.iter().map(|name| format!("{name} (common name)")).collect(),
    }
}

/// As [`names`], without the types of the names.
pub fn plain_names(der: &[u8]) -> Vec<String> {
    named(der).0
}

/// Whether a CA permits the host names of a certificate below it (RFC 5280, 4.2.1.10). Unreadable constraints permit everything: this
/// function looks for a cause and does not establish trust.
pub fn permits(authority: &[u8], der: &[u8]) -> bool {
    let Some(authority) = parse(authority) else { return true };
    let Some(constraints) = authority.name_constraints().ok().flatten() else { return true };
    let within = |name: &str, base: &GeneralName<'_>| match base {
        GeneralName::DNSName(base) => {
            let (name, base) = (name.to_ascii_lowercase(), base.trim_start_matches('.').to_ascii_lowercase());
            base.is_empty() || name.strip_suffix(&base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }
        _ => false,
    };
    let hosts = plain_names(der).into_iter().filter(|name| name.parse::<std::net::IpAddr>().is_err());
    hosts.into_iter().all(|name| {
        let excluded = constraints.value.excluded_subtrees.iter().flatten();
        let permitted = constraints.value.permitted_subtrees.iter().flatten();
        let mut named = permitted.filter(|tree| matches!(tree.base, GeneralName::DNSName(_))).peekable();
        let is_permitted = named.peek().is_none() || named.any(|tree| within(&name, &tree.base));
        is_permitted && !excluded.into_iter().any(|tree| within(&name, &tree.base))
    })
}

/// The source of the names.
enum From {
    Alternative,
    CommonName,
}

fn named(der: &[u8]) -> (Vec<String>, From) {
    let Some(certificate) = parse(der) else { return (Vec::new(), From::Alternative) };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    // Names of other kinds, such as e-mail addresses, do not replace the common name (RFC 6125, 6.4.4; X509_check_host(3)).
    if !names.is_empty() {
        return (names, From::Alternative);
    }
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    names.extend(common.map(str::to_owned));
    (names, From::CommonName)
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string())).ok()
}

/// The kind of a certificate's key, if older NSS does not support it.
pub fn newer_kind(der: &[u8]) -> Option<&'static NewerKind> {
    kinds::of_algorithm(&parse(der)?.public_key().algorithm.algorithm.to_id_string())
}
