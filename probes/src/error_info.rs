//! An error of NSS or NSPR, as a report names it.

use nssight_diagnosis::ErrorInfo;
use nssight_nss::NssError;

/// The error as reports have it.
pub fn of(error: &NssError) -> ErrorInfo {
    // prerr.h numbers lie from -6000 upwards, secerr.h's and sslerr.h's below -8000.
    let library = if error.code.0 > -8000 { "NSPR" } else { "NSS" };
    let (code, name, text) = (i64::from(error.code.0), error.name.clone(), error.text.clone());
    ErrorInfo { library: library.to_owned(), code, name, text }
}
