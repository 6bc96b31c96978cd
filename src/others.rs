//! Opens a database for other programs.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use nssight_diagnosis::Component;
use nssight_diagnosis::verdict::{Names, diagnose, judge_last};
use nssight_probes::private_copy::PrivateCopy;
use nssight_probes::probe::nss_db::{self, Forbidden, Instead};
use nssight_runner::copies::{ENDING, Place, clear_on_signals};

use crate::exit;
use nssight_reports::terminal;

/// A database that other programs may use through NSS in any way, for as long as this value lives.
pub(crate) struct Opened {
    argument: OsString,
    /// The copy is dropped before its directory.
    copy: Option<(PrivateCopy, Place)>,
}

impl Opened {
    /// The argument for these programs.
    pub(crate) fn argument(&self) -> &OsStr {
        &self.argument
    }

    /// Whether it is a copy.
    pub(crate) fn is_copy(&self) -> bool {
        self.copy.is_some()
    }
}

/// Checks a database before other programs use it, and copies it if they might change it.
pub(crate) fn open_for_others(argument: &OsStr, load_modules: bool) -> Result<Opened, ExitCode> {
    let refused = |forbidden: Forbidden| {
        let mut findings = vec![forbidden.into_finding()];
        judge_last(&mut findings);
        let verdict = diagnose(&findings, &Names::default());
        let cause = verdict.cause.map(|cause| format!("{cause}: ")).unwrap_or_default();
        terminal::say(format_args!("{cause}{}", verdict.summary));
        let tool = verdict.component == Some(Component::Tool);
        ExitCode::from(if tool { exit::INCONCLUSIVE } else { exit::FAILED })
    };
    if let Err(error) = clear_on_signals(&ENDING) {
        terminal::say(format_args!("cannot wait for signals: {error}"));
        return Err(ExitCode::from(exit::INCONCLUSIVE));
    }
    let place = Place::own();
    match nss_db::before_others(argument, load_modules, place.path()) {
        Ok(Instead::Itself) => Ok(Opened { argument: argument.to_owned(), copy: None }),
        Ok(Instead::Copy(copy)) => {
            let mut argument = OsString::from("sql:");
            argument.push(copy.path());
            Ok(Opened { argument, copy: Some((copy, place)) })
        }
        Err(forbidden) => Err(refused(forbidden)),
    }
}
