//! Reports: one renderer for each format, all from the same value.

pub mod formats {
    //! One file for each format; `build.rs` makes a [`Format`] of each.
    use std::io::{self, Write};

    use nssight_probes::report::Subject;

    include!(concat!(env!("OUT_DIR"), "/formats.rs"));

    /// Writes the results of the checks as one document.
    ///
    /// # Errors
    /// The errors of `out`.
    pub fn write(format: Format, subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
        // Renderers write in small pieces.
        let mut buffered = io::BufWriter::new(out);
        write_as(format, subjects, &mut buffered)?;
        buffered.flush()
    }
}
mod harmless;
pub mod page;
pub mod sink;
pub mod terminal;
mod waterfall;
mod words;

use clap::ValueEnum;
use clap::builder::PossibleValue;

pub use formats::{Format, human, nagios, write};
pub use words::{Standing, days_in_words, next_update, not_after, not_before, role};

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.help()))
    }
}

/// When colours are used.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always, even if the output is a pipe
    Always,
    /// Never
    Never,
}
