//! Certificate fields that matter to a release engineer.
use nssight_nss::kinds;
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::{PublicKey, RSAPublicKey};

/// The fields that link a certificate to its issuer, as DER: names are compared as such and not as they are displayed.
#[derive(Debug, Clone)]
pub struct Names {
    /// Subject (RFC 5280, 4.1.2.6).
    pub subject: Box<[u8]>,
    /// Issuer (RFC 5280, 4.1.2.4).
    pub issuer: Box<[u8]>,
    /// Subject key identifier (RFC 5280, 4.2.1.2).
    pub subject_key_id: Option<Box<[u8]>>,
    /// Key identifier of the authority key identifier (RFC 5280, 4.2.1.1).
    pub authority_key_id: Option<Box<[u8]>>,
}

impl Names {
    /// Whether the subject is the issuer too.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

/// The fields of a certificate.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Subject, for people.
    pub subject: String,
    /// Issuer, for people.
    pub issuer: String,
    /// Both as DER, and the key identifiers.
    pub names: Names,
    /// Hexadecimal, as it is in the certificate.
    pub serial: String,
    /// Begin of the validity.
    pub not_before: OffsetDateTime,
    /// End of the validity.
    pub not_after: OffsetDateTime,
    /// Kind and size of its public key.
    pub key: KeyFacts,
    /// The public key with its algorithm (SubjectPublicKeyInfo), DER.
    pub public_key: Vec<u8>,
    /// Subject alternative names, for people.
    pub alternative_names: Vec<String>,
    /// `None` if the extension is missing, which means every usage.
    pub extended_key_usage: Option<Vec<String>>,
    /// Whether its basic constraints mark it as a CA.
    pub is_ca: bool,
}

/// Kind and size of a public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyFacts {
    /// RSA, EC, DSA, or the object identifier.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bits of the modulus, the curve's field or the prime; absent where the kind is unknown.
    pub bits: Option<usize>,
}

impl std::fmt::Display for KeyFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bits {
            Some(bits) => write!(f, "{} {bits}", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}

impl Facts {
    /// `None` if the bytes are not a certificate.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut facts = Self {
            subject: nssight_wire::name_from_der(certificate.subject().as_raw()),
            issuer: nssight_wire::name_from_der(certificate.issuer().as_raw()),
            names: Names {
                subject: certificate.subject().as_raw().into(),
                issuer: certificate.issuer().as_raw().into(),
                subject_key_id: None,
                authority_key_id: None,
            },
            serial: hex(certificate.raw_serial()),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            key: key(&certificate),
            public_key: certificate.public_key().raw.to_vec(),
            alternative_names: Vec::new(),
            extended_key_usage: None,
            is_ca: false,
        };
        for extension in certificate.extensions() {
            facts.take(extension.parsed_extension());
        }
        Some(facts)
    }

    fn take(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                self.alternative_names = names.general_names.iter().map(general_name).collect();
            }
            ParsedExtension::BasicConstraints(constraints) => self.is_ca = constraints.ca,
            ParsedExtension::SubjectKeyIdentifier(id) => self.names.subject_key_id = Some(id.0.into()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.names.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.into());
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let known = [
                    (usage.any, "any"),
                    (usage.server_auth, "TLS server"),
                    (usage.client_auth, "TLS client"),
                    (usage.code_signing, "code signing"),
                    (usage.email_protection, "e-mail"),
                    (usage.time_stamping, "time stamping"),
                    (usage.ocsp_signing, "OCSP signing"),
                ];
                let named = known.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
                let other = usage.other.iter().map(ToString::to_string);
                self.extended_key_usage = Some(named.chain(other).collect());
            }
            _ => {}
        }
    }

    /// Whole days until it expires; negative once it has.
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.not_after - now).whole_seconds().div_euclid(24 * 60 * 60)
    }
}

fn key(certificate: &X509Certificate<'_>) -> KeyFacts {
    let info = certificate.public_key();
    // The parser counts an EC point's bytes; P-521's 66 are 521 bits.
    let named = match info.parsed() {
        Ok(PublicKey::RSA(key)) => Some(("RSA", bit_length(key.modulus))),
        Ok(PublicKey::EC(point)) => Some(("EC", if point.key_size() == 528 { 521 } else { point.key_size() })),
        Ok(PublicKey::DSA(_)) => {
            // The length is that of the prime, the first of the parameters (RFC 3279, 2.3.2).
            let prime = info.algorithm.parameters.as_ref().and_then(|parameters| first_integer(parameters.data));
            return KeyFacts { kind: "DSA".to_owned(), bits: prime.map(bit_length) };
        }
        _ => None,
    };
    let algorithm = info.algorithm.algorithm.to_id_string();
    match (named, algorithm.as_str()) {
        (_, RSA_PSS) => {
            let modulus = RSAPublicKey::from_der(&info.subject_public_key.data).ok().map(|(_, key)| key.modulus);
            KeyFacts { kind: "RSA-PSS".to_owned(), bits: modulus.map(bit_length) }
        }
        (Some((kind, bits)), _) => KeyFacts { kind: kind.to_owned(), bits: Some(bits) },
        (None, other) => {
            let known = kinds::name_of_algorithm(other);
            KeyFacts { kind: known.map_or(algorithm.clone(), str::to_owned), bits: None }
        }
    }
}

/// A key that may sign with PSS only (id-RSASSA-PSS, RFC 4055, 1.2).
const RSA_PSS: &str = "1.2.840.113549.1.1.10";

/// The content of an INTEGER at the start of a SEQUENCE's content.
fn first_integer(content: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = content.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        ..=0x7f => (usize::from(*first), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => rest.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    (*tag == 2).then(|| rest.get(..length))?
}

fn bit_length(number: &[u8]) -> usize {
    let digits = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize)
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::RFC822Name(name) => (*name).to_owned(),
        GeneralName::URI(name) => (*name).to_owned(),
        GeneralName::DirectoryName(name) => name.to_string(),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from));
            address.map_or_else(|_| hex(bytes), |address| address.to_string())
        }
        other => format!("{other}"),
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// RFC 3339 in UTC, to the second.
pub fn stamp(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}
