//! What a line can say, and the words by which it is recognised.

use nssight_nss::ErrorCode;
use schemars::JsonSchema;
use serde::Serialize;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Nobody that is known.
    Unknown,
    /// A Sigul client, or its parent process.
    Client,
    /// The bridge.
    Bridge,
    /// The signing server.
    Server,
    /// tstclnt, openssl s_client, curl or another TLS client.
    Tool,
    /// A report of nssight.
    Nssight,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    // What happens in every request.
    WaitsForServer,
    WaitsForClient,
    ClientConnected,
    RequestRead,
    Finished,
    WaitsForRequest,
    Started,
    /// What follows is the child's.
    ChildContext,
    /// What follows is the process's own.
    OwnContext,
    /// A certificate was looked for by its nickname.
    NicknameLookup,
    // What went wrong.
    /// An error by its name or number (prerr.h, secerr.h, sslerr.h).
    Code(ErrorCode),
    /// A TLS alert that OpenSSL's client received.
    Alert(u8),
    /// A verify code of OpenSSL's.
    Verify(u16),
    PeerExpired,
    OursExpired,
    InvalidRequest,
    RequestError,
    AuthenticationFailed,
    /// The end of a stream, in Python's or Sigul's words.
    Eof,
    ReplyCut,
    NotAuthentic,
    NsprEof,
    NsprReset,
    WrongPassword,
    NoDatabase,
    NotFound,
    BatchPassword,
    NoCallback,
    NoSuitableCertificate,
    PasswordMissing,
    ConfigBroken,
    ConfigMissing,
    BridgeRefused,
    Refused,
    TimedOut,
    NoName,
    Unreachable,
    NotTls,
    NoSharedCipher,
    NoSharedVersion,
    NoClientCertificate,
    KeyMismatch,
}

impl Sign {
    /// Whether something went wrong.
    pub(super) fn is_trouble(self) -> bool {
        !matches!(
            self,
            Self::WaitsForServer
                | Self::WaitsForClient
                | Self::ClientConnected
                | Self::RequestRead
                | Self::Finished
                | Self::WaitsForRequest
                | Self::Started
                | Self::ChildContext
                | Self::OwnContext
                | Self::NicknameLookup
                | Self::Verify(0)
        )
    }

    /// Words that any program of a host may write: they count in a TLS client's log only.
    pub(super) fn is_anybodys(self) -> bool {
        matches!(
            self,
            Self::Refused
                | Self::TimedOut
                | Self::NoName
                | Self::Unreachable
                | Self::ConfigMissing
                | Self::ConfigBroken
        )
    }

    /// An end of file or a reset, which says that the other side went and nothing else.
    pub(super) fn is_end(self) -> bool {
        matches!(
            self,
            Self::Eof
                | Self::NsprEof
                | Self::NsprReset
                | Self::Code(ErrorCode::PR_END_OF_FILE_ERROR | ErrorCode::PR_CONNECT_RESET_ERROR)
        )
    }
}

/// How the number or name behind a mark is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Plain(Sign),
    /// A name around `_ERROR`.
    Name,
    /// A negative number behind it.
    Number,
    AlertNumber,
    VerifyNumber,
}

use Mark::{AlertNumber, Name, Number, Plain, VerifyNumber};

/// Words, the most telling first: where a line has several, the first of this list counts.
pub(super) const WORDS: &[(&str, Mark)] = &[
    ("Provided NSS password is incorrect", Plain(Sign::WrongPassword)),
    ("does not contain a valid NSS database", Plain(Sign::NoDatabase)),
    ("(SUCCESS) Success", Plain(Sign::NotFound)),
    ("find_cert_from_nickname(", Plain(Sign::NicknameLookup)),
    ("reading a batch mode password", Plain(Sign::BatchPassword)),
    ("password callback undefined", Plain(Sign::NoCallback)),
    ("certificate has been rejected as expired", Plain(Sign::OursExpired)),
    ("Peer's certificate has expired, rejecting", Plain(Sign::PeerExpired)),
    ("Invalid request: ", Plain(Sign::InvalidRequest)),
    ("rror: Authentication failed", Plain(Sign::AuthenticationFailed)),
    ("Request error: ", Plain(Sign::RequestError)),
    ("reply is not authentic", Plain(Sign::NotAuthentic)),
    ("I/O error: EOFError(", Plain(Sign::ReplyCut)),
    ("_ERROR", Name),
    ("rror (-", Number),
    ("rror -", Number),
    ("rror code: -", Number),
    ("alert number ", AlertNumber),
    ("erify return code: ", VerifyNumber),
    ("erify error:num=", VerifyNumber),
    ("unable to get local issuer certificate", Plain(Sign::Verify(20))),
    ("certificate has expired", Plain(Sign::Verify(10))),
    ("Unexpected EOF in NSPR", Plain(Sign::NsprEof)),
    ("NSPR connection reset", Plain(Sign::NsprReset)),
    ("NSPR error: Connection reset", Plain(Sign::NsprReset)),
    ("Unexpected EOF", Plain(Sign::Eof)),
    ("unexpected eof while reading", Plain(Sign::Code(ErrorCode::PR_END_OF_FILE_ERROR))),
    ("Incorrect password/PIN entered", Plain(Sign::WrongPassword)),
    ("load a suitable client certificate", Plain(Sign::NoSuitableCertificate)),
    ("No option 'nss-password'", Plain(Sign::PasswordMissing)),
    ("MissingSectionHeaderError", Plain(Sign::ConfigBroken)),
    ("ParsingError: Source contains", Plain(Sign::ConfigBroken)),
    ("DuplicateOptionError", Plain(Sign::ConfigBroken)),
    ("DuplicateSectionError", Plain(Sign::ConfigBroken)),
    ("NoOptionError", Plain(Sign::ConfigBroken)),
    ("NoSectionError", Plain(Sign::ConfigBroken)),
    ("wrong version number", Plain(Sign::NotTls)),
    ("packet length too long", Plain(Sign::NotTls)),
    ("no shared cipher", Plain(Sign::NoSharedCipher)),
    ("unsupported protocol", Plain(Sign::NoSharedVersion)),
    ("did not return a certificate", Plain(Sign::NoClientCertificate)),
    ("key values mismatch", Plain(Sign::KeyMismatch)),
    ("Connection to the bridge refused", Plain(Sign::BridgeRefused)),
    ("no alternative certificate subject name", Plain(Sign::Verify(62))),
    ("onnection refused", Plain(Sign::Refused)),
    ("Failed to connect to ", Plain(Sign::Refused)),
    ("onnection timed out", Plain(Sign::TimedOut)),
    ("ould not resolve host", Plain(Sign::NoName)),
    ("Name or service not known", Plain(Sign::NoName)),
    ("failure in name resolution", Plain(Sign::NoName)),
    ("No route to host", Plain(Sign::Unreachable)),
    ("Network is unreachable", Plain(Sign::Unreachable)),
    ("No such file or directory: '", Plain(Sign::ConfigMissing)),
    ("Waiting for the server to connect", Plain(Sign::WaitsForServer)),
    ("Waiting for the client to connect", Plain(Sign::WaitsForClient)),
    ("Client with CN ", Plain(Sign::ClientConnected)),
    ("Request: ", Plain(Sign::RequestRead)),
    ("Request handling finished", Plain(Sign::Finished)),
    ("Waiting for a request", Plain(Sign::WaitsForRequest)),
    ("Started processing a request", Plain(Sign::Started)),
    ("Exception in child", Plain(Sign::ChildContext)),
    ("ERROR: NSPR error", Plain(Sign::OwnContext)),
];
