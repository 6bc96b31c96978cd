//! A case: one peer, one fault, one TLS version; and what nssight may say of it.

use serde::Deserialize;

/// What is wrong, and what must come out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Fault {
    /// Its name.
    pub id: String,
    /// In a sentence.
    pub title: String,
    /// The server's identity.
    #[serde(default)]
    pub server: ServerIdentity,
    /// The client's identity.
    #[serde(default)]
    pub client: ClientIdentity,
    /// Trust letters of the CA in the client's database, or `none` if it is not there.
    #[serde(default = "trusted")]
    pub authorities: String,
    /// What the server wants of its clients.
    #[serde(default)]
    pub asks: Asks,
    /// The format of the client's database.
    #[serde(default)]
    pub database: Database,
    /// Whether the two have a TLS version in common.
    #[serde(default)]
    pub versions: Versions,
    /// What must come out.
    pub expect: Expectation,
    /// What must come out for some peers or versions.
    #[serde(default, rename = "where")]
    pub exceptions: Vec<Exception>,
}

fn trusted() -> String {
    "CT,C,C".to_owned()
}

/// Another expectation for some peers or versions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// Names of peers; none means every peer.
    #[serde(default)]
    pub peers: Vec<String>,
    /// TLS versions; none means each.
    #[serde(default)]
    pub versions: Vec<Tls>,
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
    /// The server's certificate.
    ServerIdentity {
        /// From the CA, for `localhost`.
        #[default]
        Good,
        /// From an intermediate CA that is sent along.
        Intermediate,
        /// From an intermediate CA that is not sent.
        NoIntermediate,
        /// It has expired.
        Expired,
        /// It begins in thirty days.
        NotYetValid,
        /// From a CA that the client does not know.
        OtherCa,
        /// It is its own issuer.
        SelfSigned,
        /// For another name.
        WrongName,
        /// For clients only.
        ClientUsage,
    }
}

words! {
    /// The client's certificate.
    ClientIdentity {
        /// From the CA, with an EC key.
        #[default]
        Good,
        /// From the CA, with an RSA key.
        Rsa,
        /// None is given.
        None,
        /// From a CA that the server does not know.
        OtherCa,
        /// It is its own issuer.
        SelfSigned,
        /// It has expired.
        Expired,
        /// It begins in thirty days.
        NotYetValid,
        /// Its key is not in the database.
        NoKey,
        /// Its nickname is misspelt.
        WrongNickname,
    }
}

words! {
    /// What the server wants of its clients.
    Asks {
        /// A certificate, or the handshake fails.
        #[default]
        Required,
        /// A certificate, if there is one.
        Optional,
        /// Nothing.
        Nothing,
    }
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
    /// Whether the two have a TLS version in common.
    Versions {
        /// The client offers TLS 1.2 and 1.3.
        #[default]
        Common,
        /// The client offers only the one that the server does not speak.
        Apart,
    }
}

/// The TLS version that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Tls {
    /// RFC 5246.
    #[serde(rename = "tls1.2")]
    V12,
    /// RFC 8446.
    #[serde(rename = "tls1.3")]
    V13,
}

impl Tls {
    /// As nssight spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V12 => "tls1.2",
            Self::V13 => "tls1.3",
        }
    }

    /// As OpenSSL, and with it most servers and Java, spell it.
    pub(crate) fn openssl_name(self) -> &'static str {
        match self {
            Self::V12 => "TLSv1.2",
            Self::V13 => "TLSv1.3",
        }
    }
}

impl Asks {
    /// The word that a server has for it.
    pub(crate) fn spelled(self, required: &'static str, optional: &'static str, nothing: &'static str) -> &'static str {
        match self {
            Self::Required => required,
            Self::Optional => optional,
            Self::Nothing => nothing,
        }
    }
}

impl Fault {
    /// What must come out for this peer and version.
    pub(crate) fn expected(&self, peer: &str, version: Tls) -> &Expectation {
        let fits = |exception: &&Exception| {
            let peers = exception.peers.is_empty() || exception.peers.iter().any(|name| name == peer);
            peers && (exception.versions.is_empty() || exception.versions.contains(&version))
        };
        self.exceptions.iter().find(fits).map_or(&self.expect, |exception| &exception.expect)
    }
}

/// What nssight said.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Verdict {
    /// `pass`, `fail`, `inconclusive`, …
    pub status: String,
    /// The layer.
    pub layer: Option<String>,
    /// The cause.
    pub cause: Option<String>,
    /// Whose fault.
    pub component: Option<String>,
    /// How sure.
    pub confidence: Option<Sure>,
}

/// What is wrong with a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// It passes what fails, or fails what passes.
    Status,
    /// Another layer, cause or component.
    Cause,
    /// Surer than it can be.
    OverCertain,
    /// Less sure than it could be.
    UnderCertain,
    /// More or fewer than one connection.
    Connections,
}

impl Expectation {
    /// What is wrong with this verdict, if anything is.
    pub(crate) fn against(&self, verdict: &Verdict, connections: u64) -> Option<Wrong> {
        let among =
            |all: &[String], it: &Option<String>| all.is_empty() || it.as_ref().is_some_and(|it| all.contains(it));
        if verdict.status != self.status {
            return Some(Wrong::Status);
        }
        let layer = self.layer.is_none() || self.layer == verdict.layer;
        if !layer || !among(&self.causes, &verdict.cause) || !among(&self.components, &verdict.component) {
            return Some(Wrong::Cause);
        }
        match verdict.confidence {
            Some(sure) if sure > self.most => return Some(Wrong::OverCertain),
            Some(sure) if sure >= self.least => {}
            _ => return Some(Wrong::UnderCertain),
        }
        (connections > 1).then_some(Wrong::Connections)
    }
}
