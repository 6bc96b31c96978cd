//! A case: one peer, one fault, one TLS version, and the allowed verdicts.

use serde::Deserialize;

pub(crate) use nssight_peers::{Asks, Tls};

use crate::peer::Peer;

/// What is wrong, and what must come out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Fault {
    /// Its name.
    pub id: String,
    /// In a sentence.
    pub title: String,
    /// Which peers it is tried with; none means each real server.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Over which versions; none means both.
    #[serde(default)]
    pub over: Vec<Tls>,
    /// The server's identity, by the name that [`crate::pki`] has for it.
    #[serde(default = "good")]
    pub server: String,
    /// The client's identity, or `none`.
    #[serde(default = "good")]
    pub client: String,
    /// The name that the client is given for the server.
    #[serde(default = "localhost")]
    pub host: String,
    /// More words of the command line.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Trust letters of the servers' CA in the client's database, or `none` if it is not there.
    #[serde(default = "trusted")]
    pub authorities: String,
    /// Trust letters of the clients' own CA there, or `none`. It needs no trust.
    #[serde(default = "untrusted")]
    pub own_authority: String,
    /// More certificates there: a nickname, a certificate and its trust letters.
    #[serde(default)]
    pub store: Vec<[String; 3]>,
    /// Revocation lists there.
    #[serde(default)]
    pub lists: Vec<Revokes>,
    /// What the server wants of its clients.
    #[serde(default)]
    pub asks: Asks,
    /// The format of the client's database.
    #[serde(default)]
    pub database: Database,
    /// What else is odd about it.
    #[serde(default)]
    pub odd: Vec<Odd>,
    /// The password that the client has for it.
    #[serde(default)]
    pub password: Password,
    /// Whether the two have a TLS version in common.
    #[serde(default)]
    pub versions: Versions,
    /// When and how the peer `late` judges.
    #[serde(default)]
    pub judge: Judge,
    /// The network of the peer `network`.
    #[serde(default)]
    pub network: Network,
    /// The engines that it is tried with, where not each that can have it is to be.
    #[serde(default)]
    pub engines: Vec<Engine>,
    /// What must come out.
    pub expect: Expectation,
    /// What must come out for some peers, versions or engines.
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
    /// What it revokes.
    #[serde(default)]
    pub revokes: Vec<String>,
    /// This update and the next one, in days from now.
    pub days: (i64, i64),
}

/// How a server judges its client, and when.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Judge {
    /// Milliseconds that it thinks.
    #[serde(default)]
    pub after: u64,
    /// It refuses.
    #[serde(default)]
    pub refuses: bool,
    /// It says something before it has read the client's flight.
    #[serde(default)]
    pub speaks_first: bool,
    /// Session tickets that it sends.
    #[serde(default)]
    pub tickets: usize,
}

/// A network of its own; see `fixtures/networks.sh`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Network {
    /// Names of the peer's certificate.
    #[serde(default)]
    pub names: Vec<String>,
    /// More lines of the hosts file.
    #[serde(default)]
    pub hosts: String,
    /// The order of sources of names.
    pub switch: Option<String>,
    /// More lines of `resolv.conf`.
    #[serde(default)]
    pub resolver: String,
    /// Commands before the diagnosis.
    #[serde(default)]
    pub setup: String,
}

/// Another expectation for some peers, versions or engines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// Names of peers; none means every peer.
    #[serde(default)]
    pub peers: Vec<String>,
    /// TLS versions; none means each.
    #[serde(default)]
    pub versions: Vec<Tls>,
    /// Engines; none means each.
    #[serde(default)]
    pub engines: Vec<Engine>,
    /// What must come out.
    pub expect: Expectation,
}

/// What must come out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    /// `pass` or `fail`.
    pub status: String,
    /// The layer, where it is settled.
    pub layer: Option<String>,
    /// Causes that are right; none where nothing fails.
    #[serde(default)]
    pub causes: Vec<String>,
    /// Components that are right; none means any.
    #[serde(default)]
    pub components: Vec<String>,
    /// Words that its sentences must have.
    #[serde(default)]
    pub says: Vec<String>,
    /// Less sure than this is too little.
    pub least: Sure,
    /// More sure than this is too much.
    #[serde(default = "certain")]
    pub most: Sure,
}

fn certain() -> Sure {
    Sure::Certain
}

/// How sure a verdict is.
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
    /// What is odd about the client's database.
    Odd {
        /// Nothing.
        #[default]
        Nothing,
        /// The key of saved logins is there too.
        SavedLogins,
        /// A key waits for its certificate.
        RequestOutstanding,
        /// The certificate's own key is not there, and another one waits.
        OtherKey,
        /// The key of the certificate is not there.
        NoKey,
        /// The nickname that is asked for has a letter too many.
        MisspeltNickname,
        /// The nickname that is asked for is quite another.
        OtherNickname,
        /// The nickname is asked for with the token's name.
        TokenName,
        /// The nickname has blanks and letters beyond ASCII.
        LongNickname,
        /// The directory's name has blanks and letters beyond ASCII.
        LongPath,
        /// Forty CAs more, without trust.
        Many,
        /// SQLite's write-ahead log is on.
        Wal,
        /// A database of the other format is beside it, without our certificate.
        Beside,
        /// Its kind is not said.
        KindUnsaid,
        /// The database directory does not exist.
        Missing,
        /// cert9.db is truncated.
        CertificatesCut,
        /// key4.db is truncated.
        KeysCut,
        /// The file of the keys is another database's.
        KeysForeign,
        /// The key file does not exist.
        KeysMissing,
        /// The key is on a token of SoftHSM.
        OnToken,
        /// Its module is listed, and there is no such file.
        ModuleMissing,
        /// The token has another name than the one asked for.
        TokenAbsent,
    }
}

words! {
    /// The password that the client has.
    Password {
        /// The right one, in a file.
        #[default]
        Right,
        /// The right one, with the line end of Windows.
        Crlf,
        /// The right one, behind the token's name.
        ForToken,
        /// The right one, behind a remark.
        Lines,
        /// Another one.
        Wrong,
        /// None, and the database has one.
        None,
        /// The database has the empty one, and none is given.
        EmptyNone,
        /// The database has the empty one, and the file is empty.
        EmptyFile,
        /// The database has the empty one, and another one is given.
        EmptyWrong,
        /// The file is not there.
        FileMissing,
        /// The right one with a blank behind it.
        Blank,
        /// In an environment variable.
        Environment,
    }
}

words! {
    /// Whether the two have a TLS version in common.
    Versions {
        /// The client offers TLS 1.2 and 1.3.
        #[default]
        Common,
        /// The client offers only the one that the server does not speak.
        Apart,
    }
}

/// The TLS library of the client, and with it where its credentials are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Engine {
    /// A database.
    #[serde(rename = "nss")]
    Nss,
    /// Files.
    #[serde(rename = "openssl")]
    OpenSsl,
}

impl Engine {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Nss, Self::OpenSsl];

    /// As the data and the names of cases spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nss => "nss",
            Self::OpenSsl => "openssl",
        }
    }
}

impl Fault {
    /// Whether a client without a database can have it: its certificate and key, the CA of the servers, and nothing else.
    fn is_without_database(&self) -> bool {
        let is_usual = self.authorities == trusted() && self.own_authority == untrusted();
        let has_more = !self.store.is_empty() || !self.lists.is_empty() || !self.odd.is_empty();
        is_usual && !has_more && self.database == Database::Sql && self.password == Password::Right
    }

    /// Whether it is tried with this peer over this version by this engine.
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

    /// What must come out for this peer, version and engine.
    pub(crate) fn expected(&self, peer: &str, version: Tls, engine: Engine) -> &Expectation {
        let fits = |exception: &&Exception| {
            let peers = exception.peers.is_empty() || exception.peers.iter().any(|name| name == peer);
            let engines = exception.engines.is_empty() || exception.engines.contains(&engine);
            peers && engines && (exception.versions.is_empty() || exception.versions.contains(&version))
        };
        self.exceptions.iter().find(fits).map_or(&self.expect, |exception| &exception.expect)
    }
}
