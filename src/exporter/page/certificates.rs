//! The certificates and revocation lists of all targets, sorted by expiry.

use std::collections::BTreeMap;

use nssight_probes::expiry::{Thresholds, Urgency, whole_days};
use nssight_probes::{SeenCertificate, SeenRevocationList};
use nssight_reports::terminal::printable;
use nssight_reports::{days_in_words, next_update, not_after, not_before, role};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Known, Name};

/// Number of certificates to show that are not due yet.
const NEXT: usize = 5;
/// Number of targets named per certificate.
const NAMED: usize = 3;
/// Shown in place of the role for a revocation list.
const LIST: &str = "revocation list";

/// All certificates: those to renew and those that expire next, and the others.
pub(super) struct Certificates {
    pub(super) first: Vec<Card>,
    pub(super) others: Vec<Card>,
    pub(super) urgent: usize,
}

/// One certificate or revocation list, with all targets that showed it.
pub(super) struct Card {
    /// Expired, not valid yet, or to be renewed at once: "fail"; soon: "warning"; later: "pass".
    pub(super) mood: &'static str,
    pub(super) left: String,
    pub(super) role: &'static str,
    pub(super) name: String,
    /// The subject, if the name is a nickname.
    pub(super) subject: Option<String>,
    pub(super) ends: String,
    pub(super) targets: Vec<Name>,
    /// Number of targets that are not named.
    pub(super) more: usize,
    end: OffsetDateTime,
}

impl Certificates {
    pub(super) fn of(targets: &[Known], now: OffsetDateTime) -> Self {
        // One certificate may have several roles: ours for one target, a peer's for another.
        let mut cards: BTreeMap<(&str, &str), Card> = BTreeMap::new();
        for (target, walked) in targets {
            let Some(walked) = walked else { continue };
            let report = &walked.subject.report;
            for certificate in report.certificates.iter().chain(&walked.remembered) {
                let Some(end) = not_after(certificate) else { continue };
                let role = role(certificate, report);
                let card = cards.entry((&certificate.sha256, role)).or_insert_with(|| Card::of(certificate, role, end));
                let is_early = not_before(certificate).is_some_and(|first| now < first);
                card.judge(is_early, report.target.thresholds, now);
                card.add(&target.name);
            }
            for list in &report.revocation_lists {
                let Some(end) = next_update(list) else { continue };
                let card = cards.entry((&list.sha256, LIST)).or_insert_with(|| Card::of_list(list, end));
                card.judge(false, report.target.thresholds.of_list(list), now);
                card.add(&target.name);
            }
        }
        let mut cards: Vec<Card> = cards.into_values().collect();
        cards.sort_by(|a, b| (a.end, &a.name).cmp(&(b.end, &b.name)));
        for card in &mut cards {
            card.more = card.targets.len().saturating_sub(NAMED);
            card.targets.truncate(NAMED);
        }
        // A certificate that is not valid yet may expire last.
        let (mut first, mut others): (Vec<Card>, Vec<Card>) = cards.into_iter().partition(|card| card.mood != "pass");
        let urgent = first.len();
        first.extend(others.drain(..NEXT.min(others.len())));
        Self { first, others, urgent }
    }
}

impl Card {
    fn of(certificate: &SeenCertificate, role: &'static str, end: OffsetDateTime) -> Self {
        let subject = certificate.nickname.as_ref().map(|_| printable(&certificate.subject));
        Self::new(role, printable(certificate.name()), subject, end)
    }

    fn of_list(list: &SeenRevocationList, end: OffsetDateTime) -> Self {
        Self::new(LIST, printable(&list.issuer), None, end)
    }

    fn new(role: &'static str, name: String, subject: Option<String>, end: OffsetDateTime) -> Self {
        let date = end.format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC"));
        let ends = date.unwrap_or_default();
        Self { mood: "pass", left: String::new(), role, name, subject, ends, targets: Vec::new(), more: 0, end }
    }

    /// The strictest of its targets' thresholds applies.
    fn judge(&mut self, is_early: bool, thresholds: Thresholds, now: OffsetDateTime) {
        let days = whole_days(self.end - now);
        self.left = if is_early { "not valid yet".to_owned() } else { days_in_words(days) };
        self.mood = match thresholds.urgency(days) {
            _ if is_early => "fail",
            Some(Urgency::Critical) => "fail",
            Some(Urgency::Warning) if self.mood == "pass" => "warning",
            _ => self.mood,
        };
    }

    fn add(&mut self, target: &str) {
        if self.targets.last().is_none_or(|last| last.0 != target) {
            self.targets.push(Name(target.to_owned()));
        }
    }
}
