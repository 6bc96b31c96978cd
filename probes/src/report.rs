//! The report of a walk: one value, from which every format is rendered. Its JSON is `nssight/report/2`; fields are
//! added, never renamed or reused.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificates::SeenCertificate;
use crate::expiry::Urgency;
use crate::revocation_lists::SeenRevocationList;
use crate::target::{NamedHop, Setting, TargetSummary};
use crate::wire::WireEvent;
use nssight_diagnosis::{Finding, Layer, Status, Verdict};

/// The schema's name.
pub const SCHEMA: &str = "nssight/report/2";

/// Versions of nssight and its libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Version of nssight.
    pub version: String,
    /// Version of NSS in use.
    pub nss: String,
    /// Version of NSPR in use.
    pub nspr: String,
    /// Version of OpenSSL in use.
    pub openssl: String,
}

/// A report of nssight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Versions of nssight and its libraries.
    pub tool: Tool,
    /// Start of the check, RFC 3339 in UTC.
    pub started: String,
    /// Name of the host that ran the check; absent in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The checked target.
    pub target: TargetSummary,
    /// The sections of the path, the first one first; absent in reports of earlier versions.
    #[serde(default)]
    pub hops: Vec<NamedHop>,
    /// TCP connections opened to the peer.
    pub connections_opened: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// One finding per layer, in the order of the check.
    pub probes: Vec<Finding>,
    /// The TLS records and other events on the wire.
    pub wire: Vec<WireEvent>,
    /// All certificates of the check, our own first; our own are present even if the network fails. Absent in reports of earlier
    /// versions.
    #[serde(default)]
    pub certificates: Vec<SeenCertificate>,
    /// Revocation lists of our own database, by the CAs of these certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocation_lists: Vec<SeenRevocationList>,
}

/// A certificate or a revocation list that expires soon.
#[derive(Debug, Clone, Copy)]
pub enum Expiring<'a> {
    /// A certificate.
    Certificate(&'a SeenCertificate),
    /// A revocation list, with the date on which it expires.
    RevocationList(&'a SeenRevocationList, &'a str),
}

impl Expiring<'_> {
    /// The name for a reader.
    pub fn name(&self) -> String {
        match self {
            Self::Certificate(certificate) => format!("\"{}\"", certificate.name()),
            Self::RevocationList(list, _) => format!("the revocation list of \"{}\"", list.issuer),
        }
    }

    /// The date of expiry, RFC 3339 in UTC.
    pub fn date(&self) -> &str {
        match self {
            Self::Certificate(certificate) => &certificate.not_after,
            Self::RevocationList(_, date) => date,
        }
    }
}

impl Report {
    /// The certificates and revocation lists that expire soon, the most urgent first.
    pub fn expiring(&self) -> Vec<(Expiring<'_>, Urgency)> {
        let certificates = self.certificates.iter().filter_map(|it| Some((Expiring::Certificate(it), it.urgency?)));
        let lists = self.revocation_lists.iter();
        let lists =
            lists.filter_map(|it| Some((Expiring::RevocationList(it, it.next_update.as_deref()?), it.urgency?)));
        let mut all: Vec<_> = certificates.chain(lists).collect();
        all.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.date().cmp(b.date())));
        all
    }

    /// Whether there is anything that needs attention without being a failure: in a layer, or a certificate or list that expires soon.
    pub fn has_warnings(&self) -> bool {
        self.probes.iter().any(|finding| finding.status == Status::Warn) || !self.expiring().is_empty()
    }
}

/// The JSON Schema of [`Report`], from its types.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}

/// One target with the result of its check.
pub struct Subject {
    /// The name of the target for readers.
    pub name: String,
    /// Other names of the target.
    pub labels: BTreeMap<String, String>,
    /// The report of the last try; its verdict takes earlier tries into account.
    pub report: Report,
    /// The number of tries.
    pub tries: u32,
    /// From the start of the first attempt to the end of the last one.
    pub duration: Duration,
    /// The location of the target in a file, if any.
    pub written_at: Option<Place>,
}

/// A place in a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path of the file as given.
    pub file: String,
    /// Counted from 1; `None` for the whole file.
    pub line: Option<usize>,
}

impl Subject {
    /// The place to look at for the finding of a layer: the line of the setting that determines the layer, or otherwise the target's entry,
    /// or the configuration.
    pub fn place(&self, layer: Option<Layer>) -> Option<Place> {
        let target = &self.report.target;
        let of = |setting: &Option<Setting<String>>| setting.as_ref().map(|setting| setting.origin.clone());
        let origin = match layer {
            Some(Layer::NssDb) => of(&target.database),
            Some(Layer::Credentials | Layer::Certificate) => of(&target.nickname).or(of(&target.certificate_file)),
            Some(Layer::PrivateKey) => of(&target.key_file).or(of(&target.nickname)),
            Some(Layer::Password) => Some(target.password_source.clone()),
            Some(Layer::Resolve | Layer::Tcp | Layer::OuterHandshake | Layer::Bridge) => of(&target.bridge),
            Some(Layer::InnerHandshake) => of(&target.server),
            Some(Layer::Request) => of(&target.user),
            _ => None,
        };
        let line = |file: &String| {
            let (_, line) = origin.as_deref()?.rsplit_once(&format!("{file}:"))?;
            Some(Place { file: file.clone(), line: Some(line.parse().ok()?) })
        };
        let whole = || target.config_files.last().map(|file| Place { file: file.clone(), line: None });
        target.config_files.iter().find_map(line).or_else(|| self.written_at.clone()).or_else(whole)
    }
}
