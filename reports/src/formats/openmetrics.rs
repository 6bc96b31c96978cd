//! OpenMetrics 1.0 text. Readers of the Prometheus text format accept it as well, as `promtool check metrics` and the
//! textfile collector are: infos are gauges here, since that format has no type for them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};

use nssight_diagnosis::fact::{Word, fact};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Layer, Status};
use nssight_probes::Report;
use nssight_probes::report::Subject;

use crate::terminal::printable;
use crate::words;

/// The help text of the format.
pub const HELP: &str = "Metrics for Prometheus";

/// Names and values.
type Labels = Vec<(String, String)>;

pub(crate) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    let mut metrics = Metrics { subjects, out };
    metrics.family("probe_success", "1 if every checked layer passed, otherwise 0", "", |subject| {
        vec![(vec![], u8::from(matches!(subject.report.verdict.status, Outcome::Pass | Outcome::Flaky)))]
    })?;
    metrics.family("probe_duration_seconds", "Duration of the check, including retries", "seconds", |subject| {
        vec![(vec![], subject.duration.as_secs_f64())]
    })?;
    let help = "Earliest expiry of all certificates seen, Unix time";
    metrics.family("probe_ssl_earliest_cert_expiry", help, "", |subject| {
        expiries(&subject.report).into_values().min().map(|end| (vec![], end)).into_iter().collect()
    })?;
    metrics.family("probe_tls_version_info", "TLS version of the outer session", "", |subject| {
        tls_version(&subject.report).map(|version| (labels([("version", version)]), 1)).into_iter().collect()
    })?;
    metrics.family(
        "nssight_verdict_info",
        "The verdict; layer, cause and component are empty for a pass",
        "",
        |it| vec![(verdict(&it.report), 1)],
    )?;
    let help = "The peer's reaction to our certificate by the end of the handshake";
    metrics.family("nssight_client_authentication", help, "", |subject| {
        authentication(&subject.report).map(|state| (labels([("state", state)]), 1)).into_iter().collect()
    })?;
    let help = "Result of a layer: 1 pass, 2 pass with a warning, 0 fail, -1 not checked";
    metrics.family("nssight_layer_status", help, "", |subject| {
        let probes = subject.report.probes.iter();
        probes.map(|finding| (of_layer(finding.layer), number(finding.status))).collect()
    })?;
    metrics.family("nssight_layer_duration_seconds", "Time spent in a layer", "seconds", |subject| {
        let walked = subject.report.probes.iter().filter(|finding| finding.status != Status::Skip);
        walked.map(|finding| (of_layer(finding.layer), finding.duration_us as f64 / 1e6)).collect()
    })?;
    let help = "Expiry of a certificate, Unix time; includes our own even if the network fails";
    metrics.family("nssight_certificate_not_after_timestamp_seconds", help, "seconds", |subject| {
        let expiries = expiries(&subject.report).into_iter();
        expiries
            .map(|((role, nickname, name), end)| {
                (labels([("role", role), ("nickname", nickname), ("subject", name)]), end)
            })
            .collect()
    })?;
    let help = "Start of a certificate's validity, Unix time";
    metrics.family("nssight_certificate_not_before_timestamp_seconds", help, "seconds", |subject| {
        let report = &subject.report;
        let begun = report.certificates.iter().filter_map(|it| Some((it, words::not_before(it)?.unix_timestamp())));
        let named = begun.map(|(it, at)| {
            let nickname = it.nickname.clone().unwrap_or_default();
            let role = words::role(it, report).to_owned();
            (labels([("role", role), ("nickname", nickname), ("subject", it.subject.clone())]), at)
        });
        // A chain may have two certificates of one name.
        named.collect::<BTreeMap<_, _>>().into_iter().collect()
    })?;
    let help = "Expiry of a revocation list in our database, Unix time";
    metrics.family("nssight_revocation_list_next_update_timestamp_seconds", help, "seconds", |subject| {
        let lists = subject.report.revocation_lists.iter();
        let due = lists.filter_map(|list| Some((list, words::next_update(list)?.unix_timestamp())));
        due.map(|(list, at)| (labels([("issuer", list.issuer.clone())]), at)).collect()
    })?;
    metrics.family("nssight_tries", "Number of attempts in this check", "", |subject| vec![(vec![], subject.tries)])?;
    metrics.family("nssight_connections_opened", "TCP connections opened to the peer", "", |subject| {
        vec![(vec![], subject.report.connections_opened)]
    })?;
    metrics.family("nssight_target_info", "Labels of the target", "", |subject| {
        let given = given_labels(&subject.labels);
        if given.is_empty() { vec![] } else { vec![(given, 1)] }
    })?;
    writeln!(metrics.out, "# EOF")
}

struct Metrics<'a> {
    subjects: &'a [Subject],
    out: &'a mut dyn Write,
}

impl Metrics<'_> {
    /// One family: the samples of all targets are kept together. A family without a sample is left out.
    fn family<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        unit: &str,
        samples: impl Fn(&Subject) -> Vec<(Labels, V)>,
    ) -> io::Result<()> {
        let many = self.subjects.len() > 1;
        let mut announced = false;
        for subject in self.subjects {
            for (own, value) in samples(subject) {
                if !announced {
                    announced = true;
                    writeln!(self.out, "# TYPE {name} gauge")?;
                    if !unit.is_empty() {
                        writeln!(self.out, "# UNIT {name} {unit}")?;
                    }
                    writeln!(self.out, "# HELP {name} {help}")?;
                }
                let target = many.then(|| ("target".to_owned(), subject.name.clone()));
                let pairs = target.into_iter().chain(own).map(|(name, value)| format!("{name}=\"{}\"", escape(&value)));
                let pairs: Vec<String> = pairs.collect();
                if pairs.is_empty() {
                    writeln!(self.out, "{name} {value}")?
                } else {
                    writeln!(self.out, "{name}{{{}}} {value}", pairs.join(","))?
                }
            }
        }
        Ok(())
    }
}

fn labels<const N: usize>(pairs: [(&str, String); N]) -> Labels {
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn of_layer(layer: Layer) -> Labels {
    labels([("layer", layer.to_string())])
}

fn verdict(report: &Report) -> Labels {
    let verdict = &report.verdict;
    labels([
        ("layer", verdict.layer.map(Layer::as_str).unwrap_or_default().to_owned()),
        ("cause", verdict.cause.map(Cause::id).unwrap_or_default().to_owned()),
        ("component", verdict.component.map(|component| component.to_string()).unwrap_or_default()),
        ("status", verdict.status.to_string()),
    ])
}

fn number(status: Status) -> i8 {
    match status {
        Status::Pass => 1,
        Status::Warn => 2,
        Status::Fail => 0,
        Status::Skip => -1,
    }
}

/// By role, nickname and subject: the first expiry, since a chain may have two certificates of one name.
fn expiries(report: &Report) -> BTreeMap<(String, String, String), i64> {
    let mut expiries = BTreeMap::new();
    for certificate in &report.certificates {
        let nickname = certificate.nickname.clone().unwrap_or_default();
        let names = (words::role(certificate, report).to_owned(), nickname, certificate.subject.clone());
        if let Some(end) = words::not_after(certificate).map(|end| end.unix_timestamp()) {
            expiries.entry(names).and_modify(|known: &mut i64| *known = end.min(*known)).or_insert(end);
        }
    }
    expiries
}

/// `yes`, `not-asked` or `unconfirmed`, if there was a handshake.
fn authentication(report: &Report) -> Option<String> {
    let finding = report.probes.iter().find(|finding| finding.layer == Layer::OuterHandshake)?;
    finding.fact(fact::PeerAcceptedUs::FACT)?.word().map(str::to_owned)
}

/// The version of the session with the directly connected peer.
fn tls_version(report: &Report) -> Option<String> {
    let finding = report.probes.iter().find(|finding| finding.layer == Layer::OuterHandshake)?;
    finding.fact(fact::SESSION_AGREED_VERSION.0).map(|version| version.text().into_owned())
}

/// Label names have letters, digits and underscores, and those that begin with two underscores are reserved for Prometheus. If two
/// names become equal, the first is kept.
fn given_labels(given: &BTreeMap<String, String>) -> Labels {
    let mut labels = BTreeMap::new();
    for (name, value) in given {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let clashes = name == "target" || name.starts_with("__") || name.starts_with(|c: char| c.is_ascii_digit());
        labels.entry(if clashes { format!("label_{name}") } else { name }).or_insert_with(|| value.clone());
    }
    labels.into_iter().collect()
}

/// OpenMetrics, "escaped-string". Control characters do not belong in a label.
fn escape(value: &str) -> String {
    printable(value).replace('\\', "\\\\").replace('"', "\\\"")
}
