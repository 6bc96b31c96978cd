//! Trust: what the databases store, and the letters of certutil for it.

use serde::Serialize;

/// Where the trust of a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustSource {
    /// An NSS trust object (class 0xce534353), written by NSS before 3.114.
    NssTrust,
    /// A PKCS#11 trust object (class 0x0b), written by NSS since 3.114 and invisible to older versions.
    Pkcs11Trust,
    /// The flags in a `cert8.db` record.
    Dbm,
    /// No trust is stored: the same as `,,`.
    None,
}

/// The stored values, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawTrust {
    /// Attribute values of a trust object; the meaning of the numbers depends on [`TrustSource`].
    Object {
        /// For TLS servers.
        server: Option<u32>,
        /// For TLS clients.
        client: Option<u32>,
        /// For e-mail.
        email: Option<u32>,
        /// For code signing.
        code: Option<u32>,
        /// The step-up flag of an NSS trust object.
        step_up: bool,
    },
    /// The three flag words of `cert8.db` (`CERTDB_*` of certdb.h).
    Flags {
        /// TLS.
        ssl: u16,
        /// E-mail.
        email: u16,
        /// Object signing.
        object_signing: u16,
    },
    /// Nothing stored.
    Absent,
}

/// The trust of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// Kind of object it was read from.
    pub source: TrustSource,
    /// Stored values.
    pub raw: RawTrust,
    /// TLS, as `CERTDB_*` flags.
    pub ssl: Flags,
    /// E-mail, as `CERTDB_*` flags.
    pub email: Flags,
    /// Object signing, as `CERTDB_*` flags.
    pub object_signing: Flags,
}

/// Trust flags of one field, numbered as in certdb.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Flags(pub u16);

impl Flags {
    /// `p`: a decision about this certificate itself. Without [`Flags::TRUSTED`] it is distrust.
    pub const TERMINAL: u16 = 0x0001;
    /// `P`: a trusted peer.
    pub const TRUSTED: u16 = 0x0002;
    /// `c`: a valid CA.
    pub const VALID_CA: u16 = 0x0008;
    /// `C`: a CA trusted to issue server certificates.
    pub const TRUSTED_CA: u16 = 0x0010;
    /// `u`: its private key is available.
    pub const USER: u16 = 0x0040;
    /// `T`: a CA trusted to issue client certificates.
    pub const TRUSTED_CLIENT_CA: u16 = 0x0080;
    const MUST_VERIFY: u16 = 0x0400;
    const TRUST_UNKNOWN: u16 = 0x0800;

    /// Whether all of these bits are set.
    pub fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }

    /// Whether certificates for TLS servers issued by this CA are trusted (`C`), in the field for TLS.
    pub fn is_trusted_ca(self) -> bool {
        self.has(Flags::TRUSTED_CA)
    }

    /// Whether the certificate is actively distrusted (`p` without `P`).
    pub fn is_distrusted(self) -> bool {
        self.has(Flags::TERMINAL) && !self.has(Flags::TRUSTED)
    }

    /// The letters in the order and with the omissions of `EncodeFlags` in lib/certdb/certdb.c.
    pub fn letters(self) -> String {
        let mut letters = String::new();
        let mut put = |shown: bool, letter| {
            if shown {
                letters.push(letter);
            }
        };
        let any_ca = Flags::TRUSTED_CA | Flags::TRUSTED_CLIENT_CA;
        put(self.has(Flags::VALID_CA) && self.0 & any_ca == 0, 'c');
        put(self.is_distrusted(), 'p');
        put(self.has(Flags::TRUSTED_CA), 'C');
        put(self.has(Flags::TRUSTED_CLIENT_CA), 'T');
        put(self.has(Flags::TRUSTED), 'P');
        put(self.has(Flags::USER), 'u');
        letters
    }
}

impl Trust {
    /// No trust stored.
    pub const ABSENT: Trust = Trust {
        source: TrustSource::None,
        raw: RawTrust::Absent,
        ssl: Flags(0),
        email: Flags(0),
        object_signing: Flags(0),
    };

    /// From an NSS trust object; values as in lib/util/pkcs11n.h, for example 0xce534352.
    pub(crate) fn from_nss(
        server: Option<u32>,
        client: Option<u32>,
        email: Option<u32>,
        code: Option<u32>,
        step_up: bool,
    ) -> Trust {
        let level = |value: Option<u32>| Level::of_nss(value);
        Trust {
            source: TrustSource::NssTrust,
            raw: RawTrust::Object { server, client, email, code, step_up },
            ssl: ssl_flags(level(server), level(client)),
            email: level(email).flags(),
            object_signing: level(code).flags(),
        }
    }

    /// From a PKCS#11 3.2 trust object.
    pub(crate) fn from_pkcs11(
        server: Option<u32>,
        client: Option<u32>,
        email: Option<u32>,
        code: Option<u32>,
    ) -> Trust {
        let level = |value: Option<u32>| match value {
            Some(1) => Level::Trusted,
            Some(2) => Level::Anchor,
            Some(3) => Level::Distrusted,
            _ => Level::Unspecified,
        };
        Trust {
            source: TrustSource::Pkcs11Trust,
            raw: RawTrust::Object { server, client, email, code, step_up: false },
            ssl: ssl_flags(level(server), level(client)),
            email: level(email).flags(),
            object_signing: level(code).flags(),
        }
    }

    /// From the flag words of `cert8.db`, as NSS shows them: softoken turns the words into attribute values
    /// first (`lg_FindTrustAttribute` in lib/softoken/legacydb/lgattr.c), which loses some combinations.
    pub(crate) fn from_dbm(ssl: u16, email: u16, object_signing: u16) -> Trust {
        let client = if ssl & Flags::TRUSTED_CLIENT_CA != 0 { Level::Anchor } else { Level::Unspecified };
        Trust {
            source: TrustSource::Dbm,
            raw: RawTrust::Flags { ssl, email, object_signing },
            ssl: ssl_flags(Level::of_word(ssl), client),
            email: Level::of_word(email).flags(),
            object_signing: Level::of_word(object_signing).flags(),
        }
    }

    /// Whether a trust object contains nothing but "unknown" and "not trusted".
    pub(crate) fn only_distrusts(&self) -> bool {
        let RawTrust::Object { server, client, email, code, step_up } = self.raw else {
            return false;
        };
        let harmless = |value: Option<u32>| match self.source {
            TrustSource::Pkcs11Trust => matches!(value, None | Some(0 | 3)),
            _ => matches!(value, None | Some(NSS_UNKNOWN | NSS_NOT_TRUSTED)),
        };
        !step_up && [server, client, email, code].into_iter().all(harmless)
    }

    /// The three fields as `certutil -L` prints them, but without `u`, which is not stored: `u` means that a key
    /// was found, and certutil looks for it in different places before and after login.
    pub fn letters(&self) -> String {
        self.letters_with(false)
    }

    /// As [`Trust::letters`], with `u` in each field when `user` is true.
    pub fn letters_with(&self, user: bool) -> String {
        let user = if user { Flags::USER } else { 0 };
        [self.ssl, self.email, self.object_signing].map(|flags| Flags(flags.0 | user).letters()).join(",")
    }
}

const NSS_UNKNOWN: u32 = 0xce53_4355;
const NSS_NOT_TRUSTED: u32 = 0xce53_435a;

/// One trust attribute, in whatever form it was stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Trusted,
    Anchor,
    ValidCa,
    Distrusted,
    Unspecified,
}

impl Level {
    fn of_nss(value: Option<u32>) -> Level {
        match value {
            Some(0xce53_4351) => Level::Trusted,
            Some(0xce53_4352) => Level::Anchor,
            Some(NSS_NOT_TRUSTED) => Level::Distrusted,
            Some(0xce53_435b) => Level::ValidCa,
            _ => Level::Unspecified,
        }
    }

    fn of_word(word: u16) -> Level {
        if word & Flags::TRUSTED_CA != 0 {
            Level::Anchor
        } else if word & Flags::TRUSTED != 0 {
            Level::Trusted
        } else if word & (Flags::MUST_VERIFY | Flags::TRUST_UNKNOWN) != 0 {
            Level::Unspecified
        } else if word & Flags::VALID_CA != 0 {
            Level::ValidCa
        } else if word & Flags::TERMINAL != 0 {
            Level::Distrusted
        } else {
            Level::Unspecified
        }
    }

    fn flags(self) -> Flags {
        Flags(match self {
            Level::Trusted => Flags::TRUSTED | Flags::TERMINAL,
            Level::Anchor => Flags::TRUSTED_CA | Flags::VALID_CA,
            Level::ValidCa => Flags::VALID_CA,
            Level::Distrusted => Flags::TERMINAL,
            Level::Unspecified => 0,
        })
    }
}

/// The field for TLS joins two attributes: an anchor for clients becomes `T`, everything else of the client
/// value is added to that of the server (`cert_trust_from_stan_trust` in lib/pki/pki3hack.c). The step-up flag (`g`) is
/// stored, but neither certutil nor python-nss shows it on NSS 3.87.1, in either format (measured), and nothing uses it.
fn ssl_flags(server: Level, client: Level) -> Flags {
    let client = if client == Level::Anchor { Flags::TRUSTED_CLIENT_CA | Flags::VALID_CA } else { client.flags().0 };
    Flags(server.flags().0 | client)
}
