//! A case: one peer, one fault, one TLS version, and the allowed verdicts.

use serde::Deserialize;

pub(crate) use nssight_peers::{Asks, Tls};

use crate::peer::Peer;

/// A fault, and the allowed verdict.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Fault {
    /// Its name.
    pub id: String,
    /// A sentence about it.
    pub title: String,
    /// The peers to test; if empty, every real server.
    #[serde(default)]
    pub peers: Vec<String>,
    /// The TLS versions to test; if empty, both.
    #[serde(default)]
    pub over: Vec<Tls>,
    /// The server's identity, by its name in [`crate::pki`].
    #[serde(default = "good")]
    pub server: String,
    /// The client's identity, or `none`.
    #[serde(default = "good")]
    pub client: String,
    /// The client's name for the server.
    #[serde(default = "localhost")]
    pub host: String,
    /// Additional command-line arguments.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Trust flags of the servers' CA in the client's database, or `none` if it is not in the database.
    #[serde(default = "trusted")]
    pub authorities: String,
    /// Trust flags of the clients' own CA there, or `none`. It needs no trust.
    #[serde(default = "untrusted")]
    pub own_authority: String,
    /// Further certificates there: nickname, certificate and trust flags.
    #[serde(default)]
    pub store: Vec<[String; 3]>,
    /// Revocation lists there.
    #[serde(default)]
    pub lists: Vec<Revokes>,
    /// Whether the server requires a client certificate.
    #[serde(default)]
    pub asks: Asks,
    /// The format of the client's database.
    #[serde(default)]
    pub database: Database,
    /// Other oddities of the database.
    #[serde(default)]
    pub odd: Vec<Odd>,
    /// The password that the client is given.
    #[serde(default)]
    pub password: Password,
    /// Whether client and server have a TLS version in common.
    #[serde(default)]
    pub versions: Versions,
    /// When and how the peer `late` decides.
    #[serde(default)]
    pub judge: Judge,
    /// The network of the peer `network`.
    #[serde(default)]
    pub network: Network,
    /// The engines to test, if not all possible ones.
    #[serde(default)]
    pub engines: Vec<Engine>,
    /// The allowed verdict.
    pub expect: Expectation,
    /// The allowed verdict for some peers, versions or engines.
    #[serde(default, rename = "where")]
    pub exceptions: Vec<Exception>,
}

fn good() -> String {
    "good".to_owned()
}

fn localhost() -> String {
    "localhost".to_owned()
}

fn trusted() -> String {
    "CT,C,C".to_owned()
}

fn untrusted() -> String {
    ",,".to_owned()
}

/// A revocation list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revokes {
    /// The CA that signed it.
    pub by: String,
    /// The certificates that it revokes.
    #[serde(default)]
    pub revokes: Vec<String>,
    /// The times of this update and the next one, in days from now.
    pub days: (i64, i64),
}

/// How a server judges its client, and when.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Judge {
    /// Delay of the decision in milliseconds.
    #[serde(default)]
    pub after: u64,
    /// Whether it refuses.
    #[serde(default)]
    pub refuses: bool,
    /// Whether it sends data before it has read the client's flight.
    #[serde(default)]
    pub speaks_first: bool,
    /// Number of session tickets.
    #[serde(default)]
    pub tickets: usize,
}

/// A separate network; see `fixtures/networks.sh`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Network {
    /// The names in the peer's certificate.
    #[serde(default)]
    pub names: Vec<String>,
    /// Additional lines of the hosts file.
    #[serde(default)]
    pub hosts: String,
    /// The order of name sources.
    pub switch: Option<String>,
    /// Additional lines of `resolv.conf`.
    #[serde(default)]
    pub resolver: String,
    /// Commands to run before the check.
    #[serde(default)]
    pub setup: String,
}

/// Another expectation for some peers, versions or engines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// Names of peers; if empty, every peer.
    #[serde(default)]
    pub peers: Vec<String>,
    /// TLS versions; if empty, each.
    #[serde(default)]
    pub versions: Vec<Tls>,
    /// Engines; if empty, each.
    #[serde(default)]
    pub engines: Vec<Engine>,
    /// The allowed verdict.
    pub expect: Expectation,
}

/// The allowed verdict.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    /// `pass` or `fail`.
    pub status: String,
    /// The layer, if there is only one right answer.
    pub layer: Option<String>,
    /// Causes that are right; empty if nothing fails.
    #[serde(default)]
    pub causes: Vec<String>,
    /// Components that are right; empty for any.
    #[serde(default)]
    pub components: Vec<String>,
    /// Words that its sentences must contain.
    #[serde(default)]
    pub says: Vec<String>,
    /// Minimum confidence.
    pub least: Sure,
    /// Maximum confidence.
    #[serde(default = "certain")]
    pub most: Sure,
}

fn certain() -> Sure {
    Sure::Certain
}

/// The confidence of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sure {
    /// One explanation among several.
    Possible,
    /// The evidence points here.
    Likely,
    /// Every other cause is ruled out.
    Certain,
}

/// Declares an enum that the data spells in kebab case.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub(crate) enum $name { $($(#[$doc])* $variant,)+ }
    };
}

words! {
    /// The format of the client's database.
    Database {
        /// `cert9.db` and `key4.db`.
        #[default]
        Sql,
        /// `cert8.db` and `key3.db`.
        Dbm,
    }
}

words! {
    /// An oddity of the client's database.
    Odd {
        /// Nothing.
        #[default]
        Nothing,
        /// It also contains the key of saved logins.
        SavedLogins,
        /// A key waits for its certificate.
        RequestOutstanding,
        /// The certificate's own key is missing, and another key waits for its certificate.
        OtherKey,
        /// The key of the certificate is missing.
        NoKey,
        /// The requested nickname has an additional letter.
        MisspeltNickname,
        /// The requested nickname is entirely different.
        OtherNickname,
        /// The requested nickname has the token's name as prefix.
        TokenName,
        /// The nickname has blanks and non-ASCII letters.
        LongNickname,
        /// The directory's name has blanks and non-ASCII letters.
        LongPath,
        /// Forty additional CAs without trust.
        Many,
        /// SQLite's write-ahead log is on.
        Wal,
        /// A database of the other format exists next to it, without our certificate.
        Beside,
        /// The argument has no format prefix.
        KindUnsaid,
        /// The database directory does not exist.
        Missing,
        /// cert9.db is truncated.
        CertificatesCut,
        /// key4.db is truncated.
        KeysCut,
        /// The key file is that of another database.
        KeysForeign,
        /// The key file does not exist.
        KeysMissing,
        /// The key is on a SoftHSM token.
        OnToken,
        /// Its module is listed, but the file does not exist.
        ModuleMissing,
        /// The token has a name other than the requested one.
        TokenAbsent,
    }
}

words! {
    /// The password that the client is given.
    Password {
        /// The right one, in a file.
        #[default]
        Right,
        /// The right one, with a Windows line end.
        Crlf,
        /// The right one, with the token's name before it.
        ForToken,
        /// The right one, after a line with a remark.
        Lines,
        /// Another one.
        Wrong,
        /// None, although the database has one.
        None,
        /// The database has the empty password, and none is given.
        EmptyNone,
        /// The database has the empty password, and the file is empty.
        EmptyFile,
        /// The database has the empty password, and another one is given.
        EmptyWrong,
        /// The file does not exist.
        FileMissing,
        /// The right one, followed by a blank.
        Blank,
        /// In an environment variable.
        Environment,
    }
}

words! {
    /// Whether client and server have a TLS version in common.
    Versions {
        /// The client offers TLS 1.2 and 1.3.
        #[default]
        Common,
        /// The client only offers the version that the server does not support.
        Apart,
    }
}

/// The TLS library of the client, which determines the place of its credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Engine {
    /// NSS with a database.
    #[serde(rename = "nss")]
    Nss,
    /// OpenSSL with files.
    #[serde(rename = "openssl")]
    OpenSsl,
}

impl Engine {
    /// Both engines.
    pub(crate) const ALL: [Self; 2] = [Self::Nss, Self::OpenSsl];

    /// The spelling in the data and in the names of cases.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nss => "nss",
            Self::OpenSsl => "openssl",
        }
    }
}

impl Fault {
    /// Whether the fault is possible without a database: it only concerns certificate and key, and the servers' CA.
    fn is_without_database(&self) -> bool {
        let is_usual = self.authorities == trusted() && self.own_authority == untrusted();
        let has_more = !self.store.is_empty() || !self.lists.is_empty() || !self.odd.is_empty();
        is_usual && !has_more && self.database == Database::Sql && self.password == Password::Right
    }

    /// Whether the fault is tested with this peer, version and engine.
    pub(crate) fn is_tried(&self, peer: &Peer, version: Tls, engine: Engine) -> bool {
        let named = self.peers.iter().any(|name| name == peer.name);
        let by_engine = if self.engines.is_empty() {
            engine == Engine::Nss || self.is_without_database()
        } else {
            self.engines.contains(&engine)
        };
        (named || self.peers.is_empty() && peer.is_usual())
            && (self.over.is_empty() || self.over.contains(&version))
            && by_engine
    }

    /// The allowed verdict for this peer, version and engine.
    pub(crate) fn expected(&self, peer: &str, version: Tls, engine: Engine) -> &Expectation {
        let fits = |exception: &&Exception| {
            let peers = exception.peers.is_empty() || exception.peers.iter().any(|name| name == peer);
            let engines = exception.engines.is_empty() || exception.engines.contains(&engine);
            peers && engines && (exception.versions.is_empty() || exception.versions.contains(&version))
        };
        self.exceptions.iter().find(fits).map_or(&self.expect, |exception| &exception.expect)
    }
}
