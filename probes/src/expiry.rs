//! Certificates that expire soon: how soon is a warning, and how soon is critical.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::certificates::SeenCertificate;

/// Days that a certificate may have left before a report warns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Thresholds {
    /// A warning, from so many days on.
    pub warn_days: u16,
    /// Critical, from so many days on; at most `warn_days`.
    pub critical_days: u16,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { warn_days: 30, critical_days: 7 }
    }
}

impl Thresholds {
    /// Both, where they fit together.
    ///
    /// # Errors
    /// In words.
    pub fn of(warn_days: Option<u16>, critical_days: Option<u16>) -> Result<Self, String> {
        let usual = Self::default();
        let thresholds = match (warn_days, critical_days) {
            // Whoever names one moves the other along, where that is the usual one.
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

    /// How urgent it is that so many whole days are left; negative where it has expired.
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

/// How soon a certificate must be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// Soon.
    Warning,
    /// At once.
    Critical,
}

/// Whole days from the beginning of a walk to the last second of a certificate; negative where it had expired.
pub fn days_left(certificate: &SeenCertificate, started: &str) -> Option<i64> {
    let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    Some((at(&certificate.not_after)? - at(started)?).as_seconds_f64().div_euclid(86_400.0) as i64)
}

/// Marks the certificates that expire soon.
pub fn mark(certificates: &mut [SeenCertificate], started: &str, thresholds: Thresholds) {
    for certificate in certificates {
        certificate.urgency = days_left(certificate, started).and_then(|days| thresholds.urgency(days));
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
    fn one_threshold_moves_the_other_along() {
        let of = |warn, critical| Thresholds::of(warn, critical).map(|it| (it.warn_days, it.critical_days));
        assert_eq!(of(None, None), Ok((30, 7)));
        assert_eq!(of(Some(3), None), Ok((3, 3)));
        assert_eq!(of(None, Some(60)), Ok((60, 60)));
        assert_eq!(of(Some(0), Some(0)), Ok((0, 0)));
        assert!(of(Some(5), Some(6)).is_err());
    }
}
