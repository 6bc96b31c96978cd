//! Trust flags of a certificate, as NSS keeps them and as certutil writes them.

use std::fmt;

/// The three trust fields; the bits are those of certdb.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trust {
    /// For TLS.
    pub ssl: u32,
    /// For S/MIME.
    pub email: u32,
    /// For signed code.
    pub object_signing: u32,
}

const TERMINAL_RECORD: u32 = 0x1;
const TRUSTED: u32 = 0x2;
const SEND_WARN: u32 = 0x4;
const VALID_CA: u32 = 0x8;
const TRUSTED_CA: u32 = 0x10;
const USER: u32 = 0x40;
const TRUSTED_CLIENT_CA: u32 = 0x80;
const INVISIBLE_CA: u32 = 0x100;
const GOVT_APPROVED_CA: u32 = 0x200;

impl Trust {
    /// `C`: certificates of TLS servers that this CA issued are accepted.
    pub fn trusts_servers(&self) -> bool {
        self.ssl & TRUSTED_CA != 0
    }

    /// `T`: certificates of TLS clients that this CA issued are accepted; only a TLS server needs it.
    pub fn trusts_clients(&self) -> bool {
        self.ssl & TRUSTED_CLIENT_CA != 0
    }

    /// `P`: this very certificate is accepted as a TLS peer.
    pub fn trusted_peer(&self) -> bool {
        self.ssl & TRUSTED != 0
    }

    /// `p` without `P`: actively distrusted for TLS.
    pub fn distrusted(&self) -> bool {
        self.ssl & TERMINAL_RECORD != 0 && self.ssl & TRUSTED == 0
    }
}

impl fmt::Display for Trust {
    /// As `certutil -L` prints them: `CT,C,C`, `u,u,u`, `,,`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = |flags: u32| {
            let set = |bit: u32| flags & bit != 0;
            [
                ('c', set(VALID_CA) && !set(TRUSTED_CA) && !set(TRUSTED_CLIENT_CA)),
                ('p', set(TERMINAL_RECORD) && !set(TRUSTED)),
                ('C', set(TRUSTED_CA)),
                ('T', set(TRUSTED_CLIENT_CA)),
                ('P', set(TRUSTED)),
                ('u', set(USER)),
                ('w', set(SEND_WARN)),
                ('I', set(INVISIBLE_CA)),
                ('G', set(GOVT_APPROVED_CA)),
            ]
            .into_iter()
            .filter_map(|(letter, on)| on.then_some(letter))
            .collect::<String>()
        };
        write!(f, "{},{},{}", letters(self.ssl), letters(self.email), letters(self.object_signing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_certutil() {
        let of = |ssl| Trust { ssl, email: 0, object_signing: 0 }.to_string();
        // Bits seen in cert8 records written for these letters by certutil 3.87.1.
        assert_eq!(of(0x98), "CT,,");
        assert_eq!(of(0xd8), "CTu,,");
        assert_eq!(of(0x18), "C,,");
        assert_eq!(of(0x03), "P,,");
        assert_eq!(of(0x01), "p,,");
        assert_eq!(of(0x08), "c,,");
        assert_eq!(of(0x88), "T,,");
    }
}
