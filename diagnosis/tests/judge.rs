//! Tests of the judge with its own data: consistency and completeness.

use std::collections::BTreeSet;

use nssight_diagnosis::cause::{Effect, Grade};
use nssight_diagnosis::explain;
use nssight_diagnosis::fact::Fact;
use nssight_diagnosis::judge::{self, Case, judge};
use nssight_diagnosis::signal::{CODES, Family, Shown, Signal, TEXTS};
use nssight_diagnosis::{Cause, Confidence, Layer};

fn case<'a>(shown: &'a Shown, facts: &'a [Fact]) -> Case<'a> {
    Case { shown: vec![shown], facts: facts.iter().collect() }
}

#[test]
fn causes_at_a_layer_are_a_subset_of_causes_anywhere() {
    for shown in Signal::all() {
        let anywhere: BTreeSet<Cause> = explain::of_signal(shown).into_iter().map(|it| it.cause).collect();
        for layer in Layer::ALL {
            let here = Shown::new(shown).at(*layer);
            for candidate in judge(&case(&here, &[])).candidates {
                assert!(anywhere.contains(&candidate.cause), "{} at {layer}: {}", shown.id(), candidate.cause);
            }
        }
    }
}

#[test]
fn nothing_is_certain_without_a_fact() {
    for shown in Signal::all() {
        let nowhere = Shown::new(shown);
        let places = Layer::ALL.iter().map(|layer| Shown::new(shown).at(*layer)).chain([nowhere]);
        for shown in places {
            let judgement = judge(&case(&shown, &[]));
            // Our own observation, and a peer's statement about itself, count as facts.
            let proven = judgement.first().is_some_and(|first| first.grade == Grade::Proof);
            assert!(proven || judgement.confidence != Confidence::Certain, "{shown:?}");
        }
    }
}

#[test]
fn every_alert_and_every_error_of_a_handshake_has_a_candidate() {
    for shown in Signal::all().filter(|shown| matches!(shown.row().family, Family::Alert | Family::Chain | Family::End))
    {
        assert!(!judge::of_signal(shown).is_empty(), "{}", shown.id());
    }
}

#[test]
fn every_cause_has_something_that_shows_it() {
    for cause in Cause::ALL {
        let rules = &cause.entry().rules;
        assert!(!rules.shows.is_empty(), "{cause}");
        if rules.effect != Effect::Warns {
            continue;
        }
        assert!(!rules.transient, "{cause}");
    }
}

#[test]
fn every_spelling_leads_to_its_signal() {
    for code in CODES.iter().filter(|code| code.number != 0) {
        let found = explain::explain(code.name);
        assert!(found.iter().any(|it| it.signal == Some(code.signal)), "{}: {found:?}", code.name);
    }
    for (text, shown) in TEXTS {
        assert_eq!(Signal::in_line(text), Some(*shown), "{text}");
    }
}

/// Remedies for observed facts come first, then those for the component at fault; none depends on a fact that was not observed.
#[test]
fn remedies_follow_the_facts() {
    use nssight_diagnosis::fact::fact::{OurCertificateSent, OwnChainState};
    use nssight_diagnosis::signal::signal;
    use nssight_diagnosis::vocabulary::Peer;
    let shown = Shown::new(signal::ALERT_BAD_CERTIFICATE).at(Layer::OuterHandshake);
    let advice = |state: OwnChainState| {
        let judgement = judge(&case(&shown, &[OurCertificateSent::Yes.into(), state.into()]));
        assert_eq!(judgement.first().unwrap().cause, Cause::ClientCertRejected);
        judgement.advice.iter().filter(|step| step.fits(Peer::Plain)).map(|step| step.text.plain()).collect::<Vec<_>>()
    };
    let objects = |text: &&str| text.contains("rejects the certificate as well");
    let broken = advice(OwnChainState::Invalid);
    assert!(objects(&broken[0]) && !broken[1].contains("peer"), "{broken:#?}");
    let good = advice(OwnChainState::Good);
    assert!(!good.iter().any(objects) && good.len() == 2, "{good:#?}");
}

/// Newer versions of NSS change nothing in the legacy format, so advice to change such a database must first advise to migrate it.
#[test]
fn a_legacy_database_is_migrated_before_it_is_changed() {
    use nssight_diagnosis::fact::fact::{OurCertificateState, OwnChainState};
    use nssight_diagnosis::signal::signal;
    use nssight_diagnosis::verdict::{Names, remedies};
    let shown = Shown::new(signal::CERTIFICATE_UNUSABLE).at(Layer::Certificate);
    let judgement = judge(&case(&shown, &[OurCertificateState::Good.into(), OwnChainState::Untrusted.into()]));
    assert_eq!(judgement.first().unwrap().cause, Cause::CaUntrusted);
    let commands = |database: &str| {
        let names = Names { database: Some(database.to_owned()), ..Names::default() };
        remedies(&judgement.advice, &names).into_iter().filter_map(|remedy| remedy.command).collect::<Vec<String>>()
    };
    let place = |commands: &[String], what: &str| commands.iter().position(|command| command.contains(what));
    let legacy = commands("dbm:/a b/db");
    let migration = place(&legacy, "certutil -K -X -d 'sql:/a b/db'");
    let change = place(&legacy, "certutil -M -d 'dbm:/a b/db'");
    assert!(migration.is_some() && migration < change, "{legacy:#?}");
    let sql = commands("sql:/a b/db");
    assert_eq!(place(&sql, "-X"), None, "{sql:#?}");
    assert!(place(&sql, "certutil -M -d 'sql:/a b/db'").is_some(), "{sql:#?}");
}
