//! When a certificate or a revocation list that expires soon is a warning, and when it is critical.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::certificates::SeenCertificate;
use crate::revocation_lists::SeenRevocationList;

/// Days that a certificate or a revocation list may have left before a report warns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Thresholds {
    /// Warn if a certificate or a revocation list expires within this many days.
    pub warn_days: u16,
    /// Report it as critical (nagios) or as an error (github) if it expires within this many days; at most `warn_days`.
    pub critical_days: u16,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { warn_days: 30, critical_days: 7 }
    }
}

impl Thresholds {
    /// Builds the thresholds from these options.
    ///
    /// # Errors
    /// A message, if the two contradict each other.
    pub fn of(warn_days: Option<u16>, critical_days: Option<u16>) -> Result<Self, String> {
        let usual = Self::default();
        let thresholds = match (warn_days, critical_days) {
            // If only one threshold is given, the default of the other is moved as far as necessary.
            (Some(warn), None) => Self { warn_days: warn, critical_days: usual.critical_days.min(warn) },
            (None, Some(critical)) => Self { warn_days: usual.warn_days.max(critical), critical_days: critical },
            (Some(warn), Some(critical)) => Self { warn_days: warn, critical_days: critical },
            (None, None) => usual,
        };
        if thresholds.critical_days > thresholds.warn_days {
            return Err("critical-days must be at most warn-days".to_owned());
        }
        Ok(thresholds)
    }

    /// The thresholds of a revocation list. CAs issue many lists for a week or a day. So a list is a warning only in the second
    /// half of its lifetime, and critical in the last quarter. A list without a date for the next one never expires.
    pub fn of_list(self, list: &SeenRevocationList) -> Self {
        let next = list.next_update.as_deref();
        let days = next.and_then(|date| days_until(date, &list.this_update)).unwrap_or(0).max(0);
        let at_most = |limit: u16, part: i64| u16::try_from(days / part).map_or(limit, |part| limit.min(part));
        Self { warn_days: at_most(self.warn_days, 2), critical_days: at_most(self.critical_days, 4) }
    }

    /// The urgency for this number of whole days until expiry; negative after expiry.
    pub fn urgency(self, days_left: i64) -> Option<Urgency> {
        if days_left <= i64::from(self.critical_days) {
            Some(Urgency::Critical)
        } else if days_left <= i64::from(self.warn_days) {
            Some(Urgency::Warning)
        } else {
            None
        }
    }
}

/// Urgency of the renewal of a certificate or a revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// Renew soon.
    Warning,
    /// Renew at once.
    Critical,
}

/// Whole days from the start of a check to a date, both RFC 3339; negative if the date has passed.
pub fn days_until(date: &str, started: &str) -> Option<i64> {
    let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    Some(whole_days(at(date)? - at(started)?))
}

/// Whole days of a time span; negative if the date has passed.
pub fn whole_days(time: time::Duration) -> i64 {
    time.as_seconds_f64().div_euclid(86_400.0) as i64
}

/// Marks the certificates and revocation lists that expire soon. Keeps only the latest list of each CA that issued one of the
/// certificates.
pub fn mark(
    certificates: &mut [SeenCertificate],
    lists: &mut Vec<SeenRevocationList>,
    started: &str,
    thresholds: Thresholds,
) {
    let urgency =
        |date: &str, thresholds: Thresholds| days_until(date, started).and_then(|days| thresholds.urgency(days));
    for certificate in certificates.iter_mut() {
        certificate.urgency = urgency(&certificate.not_after, thresholds);
    }
    lists.retain(|list| certificates.iter().any(|certificate| certificate.issuer == list.issuer));
    lists.sort_by(|a, b| (&a.issuer, &b.this_update).cmp(&(&b.issuer, &a.this_update)));
    lists.dedup_by(|later, first| later.issuer == first.issuer);
    for list in lists {
        list.urgency = list.next_update.as_deref().and_then(|date| urgency(date, thresholds.of_list(list)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_day_of_each_threshold_counts() {
        let usual = Thresholds::default();
        let cases =
            [(31, None), (30, Some(Urgency::Warning)), (8, Some(Urgency::Warning)), (7, Some(Urgency::Critical))];
        for (days, expected) in cases.into_iter().chain([(0, Some(Urgency::Critical)), (-1, Some(Urgency::Critical))]) {
            assert_eq!(usual.urgency(days), expected, "{days}");
        }
    }

    #[test]
    fn a_list_that_is_made_every_week_is_no_reason_to_warn() {
        let list = |days: i64| SeenRevocationList {
            issuer: String::new(),
            this_update: "2024-01-01T00:00:00Z".to_owned(),
            next_update: Some(format!("2024-{:02}-01T00:00:00Z", 1 + days / 30)),
            sha256: String::new(),
            urgency: None,
        };
        let of = |list: &SeenRevocationList| {
            let thresholds = Thresholds::default().of_list(list);
            (thresholds.warn_days, thresholds.critical_days)
        };
        let weekly = SeenRevocationList { next_update: Some("2024-01-08T00:00:00Z".to_owned()), ..list(0) };
        assert_eq!(of(&weekly), (3, 1));
        assert_eq!(of(&list(30)), (15, 7));
        assert_eq!(of(&list(300)), (30, 7));
        assert_eq!(of(&SeenRevocationList { next_update: None, ..list(0) }), (0, 0));
    }

    #[test]
    fn one_threshold_moves_the_other_along() {
        let of = |warn, critical| Thresholds::of(warn, critical).map(|it| (it.warn_days, it.critical_days));
        assert_eq!(of(None, None), Ok((30, 7)));
        assert_eq!(of(Some(3), None), Ok((3, 3)));
        assert_eq!(of(None, Some(60)), Ok((60, 60)));
        assert_eq!(of(Some(0), Some(0)), Ok((0, 0)));
        assert!(of(Some(5), Some(6)).is_err());
    }
}
