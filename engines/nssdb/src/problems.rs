//! Collects problems, with a limit: a damaged file may have one in every record.

use crate::error::{Place, Problem};

/// Maximum number of problems kept for one file.
const MAX_PROBLEMS: usize = 100;

/// The problems of one file.
#[derive(Debug)]
pub(crate) struct Problems {
    file: String,
    kept: Vec<Problem>,
    dropped: usize,
}

impl Problems {
    pub(crate) fn of(file: impl Into<String>) -> Problems {
        Problems { file: file.into(), kept: Vec::new(), dropped: 0 }
    }

    pub(crate) fn add(&mut self, place: Place, what: impl Into<String>) {
        if self.kept.len() == MAX_PROBLEMS {
            self.dropped += 1;
            return;
        }
        self.kept.push(Problem { file: self.file.clone(), place, what: what.into() });
    }

    pub(crate) fn into_vec(mut self) -> Vec<Problem> {
        if self.dropped > 0 {
            self.kept.push(Problem {
                file: self.file,
                place: Place::File,
                what: format!("{} more problems, not listed", self.dropped),
            });
        }
        self.kept
    }
}
