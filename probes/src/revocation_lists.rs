//! Revocation lists of our own database, for reports that monitor their dates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::certificates::fingerprint;
use crate::expiry::Urgency;

/// A database has one list per CA (RFC 5280, 5); a user may have imported any number.
pub(crate) const LISTS_AT_MOST: usize = 64;

/// Longer lists are not read: the parser needs several times the length of a list in memory.
const BYTES_AT_MOST: usize = 32 * 1024 * 1024;

/// A revocation list of a CA that a certificate of this check has as its issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeenRevocationList {
    /// Issuer, as in RFC 4514.
    pub issuer: String,
    /// When the CA made it, RFC 3339 in UTC.
    pub this_update: String,
    /// When the next one is due, RFC 3339 in UTC; `null` where the list does not say. NSS goes on using a list after that.
    pub next_update: Option<String>,
    /// SHA-256 of the DER, in hexadecimal.
    pub sha256: String,
    /// How soon the next one must be imported; absent where there is time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
}

impl SeenRevocationList {
    /// Parses the fields that a report shows of a list; `None` if this is not a list, if it is too long, or if its dates are invalid.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        if der.len() > BYTES_AT_MOST {
            return None;
        }
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        let next_update = list.next_update().map(|next| next.to_datetime().format(&Rfc3339));
        Some(Self {
            issuer: nssight_wire::name_from_der(list.issuer().as_raw()),
            this_update: list.last_update().to_datetime().format(&Rfc3339).ok()?,
            next_update: next_update.transpose().ok()?,
            sha256: fingerprint(der),
            urgency: None,
        })
    }
}
