//! Databases that other NSS programs are about to open.

use std::ffi::OsStr;
use std::path::Path;

use nssight_diagnosis::fact::fact::DbState;
use nssight_diagnosis::{Finding, Layer, Notes};
use nssight_nssdb::Format;

use super::files::Look;
use super::{needs_copy, uncopied, unusable};
use crate::modules::Modules;
use crate::private_copy::PrivateCopy;

/// Why other NSS programs must not open a database.
pub struct Forbidden {
    /// The facts of the database.
    pub state: DbState,
    /// A summary in one sentence.
    pub summary: String,
}

impl Forbidden {
    /// Converts it to a finding of this layer.
    pub fn into_finding(self) -> Finding {
        unusable(Notes::default(), self.state, self.summary).into_finding(Layer::NssDb, 0)
    }
}

/// The database, or its copy, for other NSS programs.
pub enum Instead {
    /// The database itself is safe to use.
    Itself,
    /// A copy of the database.
    Copy(PrivateCopy),
}

/// Examines a database before other NSS programs open it. Unlike nssight, these programs cannot be told to skip its modules and to leave
/// its directory unchanged.
///
/// # Errors
/// Why they must not open it, and which component is at fault.
pub fn before_others(argument: &OsStr, load_modules: bool, at: &Path) -> Result<Instead, Forbidden> {
    let look = Look::at(argument);
    let modules = Modules::of(argument, look.choice.asked);
    if let Some(summary) = modules.refusal().filter(|_| !load_modules) {
        return Err(Forbidden { state: DbState::ModuleForeign, summary });
    }
    // Another user who adds a module while they run adds it to the original, not to the copy.
    let changeable = modules.changeable().filter(|_| !load_modules);
    let is_sql = look.choice.reads == Some(Format::Sql);
    if let Some(why) = changeable.filter(|_| !is_sql) {
        let summary = format!(
            "{why}, so modules may be added at any moment, and nssight does not copy a database of this format: as root, \
             nssight lets no other program open the database; use --load-modules to load it anyway"
        );
        return Err(Forbidden { state: DbState::ModuleForeign, summary });
    }
    if changeable.is_none() && !needs_copy(&look) {
        return Ok(Instead::Itself);
    }
    PrivateCopy::make(&look.directory, at)
        .map(Instead::Copy)
        .map_err(|error| Forbidden { state: uncopied(&error), summary: error.to_string() })
}
