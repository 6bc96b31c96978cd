//! Protocol versions.

use std::fmt;

/// A TLS protocol version as on the wire; versions compare in the order of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlsVersion(pub u16);

impl TlsVersion {
    /// SSL 3.0 (RFC 6101)
    pub const SSL_3_0: TlsVersion = TlsVersion(0x0300);
    /// TLS 1.0 (RFC 2246)
    pub const TLS_1_0: TlsVersion = TlsVersion(0x0301);
    /// TLS 1.1 (RFC 4346)
    pub const TLS_1_1: TlsVersion = TlsVersion(0x0302);
    /// TLS 1.2 (RFC 5246)
    pub const TLS_1_2: TlsVersion = TlsVersion(0x0303);
    /// TLS 1.3 (RFC 8446)
    pub const TLS_1_3: TlsVersion = TlsVersion(0x0304);

    /// Whether this is one of SSL 3.0 to TLS 1.3.
    pub fn is_known(self) -> bool {
        (Self::SSL_3_0..=Self::TLS_1_3).contains(&self)
    }

    /// The number alone, `1.2`; the whole name for anything that is not a TLS version.
    pub(crate) fn number(self) -> String {
        let name = self.to_string();
        name.strip_prefix("TLS ").unwrap_or(&name).to_owned()
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0300 => f.write_str("SSL 3.0"),
            minor @ 0x0301..=0x0304 => write!(f, "TLS 1.{}", minor - 0x0301),
            // RFC 8446 drafts announced themselves as 0x7f00 + draft number.
            draft @ 0x7f00..=0x7fff => write!(f, "TLS 1.3 draft {}", draft - 0x7f00),
            other => write!(f, "version 0x{other:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_and_ordered() {
        assert_eq!(TlsVersion::TLS_1_2.to_string(), "TLS 1.2");
        assert_eq!(TlsVersion(0x0300).to_string(), "SSL 3.0");
        assert_eq!(TlsVersion(0x7f1c).to_string(), "TLS 1.3 draft 28");
        assert_eq!(TlsVersion(0x1a1a).to_string(), "version 0x1a1a");
        assert_eq!(TlsVersion::TLS_1_3.number(), "1.3");
        assert!(TlsVersion::TLS_1_2 < TlsVersion::TLS_1_3);
    }
}
