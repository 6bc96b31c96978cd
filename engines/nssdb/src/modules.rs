//! Which libraries a database directory makes NSS load, read without loading any.
//!
//! Used before NSS opens the directory, so nothing that NSS may treat as a library is left out, whatever
//! quoting or splitting of lines hides it (`lib/util/utilmod.c` and `utilpars.c` of NSS). A superfluous entry does no
//! harm, since it is only named.

use std::path::Path;

use crate::{Error, Format, dbm, file};

/// The module list beside `cert9.db`.
const TEXT_LIST: &str = "pkcs11.txt";
/// A list is one page long at most; a file larger than this is not read.
const LIST_AT_MOST: u64 = 1024 * 1024;
/// NSS reads a list in pieces of 2047 bytes, so the rest of a longer line is no longer part of a comment.
const COMMENT_AT_MOST: usize = 1024;
/// A section that only sets the policy and loads nothing, as crypto-policies writes it. Matched as a whole: flags like these
/// elsewhere may be part of a name.
const POLICY_ONLY: &[u8] = b"nss=flags=policyonly,moduledb";
/// Where NSS looks for root certificates even without a list.
const ROOTS: &str = "libnssckbi.so";

/// A library that the directory names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name as found: a path, or a name for the loader to look up.
    pub library: String,
    /// File name of the list, or of the library itself where NSS loads it without a list.
    pub list: &'static str,
}

/// Every library except NSS's own module that NSS would load for a directory that it opens in the format `asked`.
///
/// # Errors
/// When the list exists but cannot be read: not permitted, not a regular file, too large, or damaged.
pub fn listed(directory: &Path, asked: Format) -> Result<Vec<Listed>, Error> {
    let mut all = match asked {
        Format::Sql => match text_list(directory) {
            // A new database beside an old list: NSS looks for such a list, and may import its content.
            Err(Error::Missing { .. }) => legacy_list(directory),
            list => list,
        },
        Format::Dbm => legacy_list(directory),
    }?;
    let roots = directory.join(ROOTS);
    if std::fs::symlink_metadata(&roots).is_ok() {
        all.push(Listed { library: roots.display().to_string(), list: ROOTS });
    }
    Ok(all)
}

/// Whether the list of a directory has a policy, which NSS applies when it opens the database.
///
/// # Errors
/// As [`listed`].
pub fn has_policy(directory: &Path) -> Result<bool, Error> {
    let (bytes, _) = file::read(&directory.join(TEXT_LIST), LIST_AT_MOST)?;
    Ok(bytes.split(|byte| *byte == b'\n').any(|line| line.to_ascii_lowercase().trim_ascii() == POLICY_ONLY))
}

fn text_list(directory: &Path) -> Result<Vec<Listed>, Error> {
    let (bytes, _) = file::read(&directory.join(TEXT_LIST), LIST_AT_MOST)?;
    Ok(libraries(&bytes).into_iter().map(|library| Listed { library, list: TEXT_LIST }).collect())
}

fn legacy_list(directory: &Path) -> Result<Vec<Listed>, Error> {
    const LIST: &str = "secmod.db";
    match dbm::libraries(&directory.join(LIST)) {
        Err(Error::Missing { .. }) => Ok(Vec::new()),
        found => Ok(found?.into_iter().map(|library| Listed { library, list: LIST }).collect()),
    }
}

/// The value of every `library=`, anywhere in a line, and every reference to a list in another place.
fn libraries(list: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    let lines = list.split(|byte| *byte == b'\n');
    for line in lines.filter(|line| !line.starts_with(b"#") || line.len() > COMMENT_AT_MOST) {
        let lower = line.to_ascii_lowercase();
        for at in found(&lower, b"library=") {
            let value = value(&line[at + b"library=".len()..], at == 0);
            if !value.is_empty() {
                all.push(String::from_utf8_lossy(value).into_owned());
            }
        }
        if lower.trim_ascii() != POLICY_ONLY && found(&lower, b"moduledb").next().is_some() {
            all.push("(a module list in another location)".to_owned());
        }
    }
    all
}

fn found<'a>(line: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    line.windows(wanted.len()).enumerate().filter(move |(_, window)| *window == wanted).map(|(at, _)| at)
}

/// A value without its quotes; one that has a line to itself may contain blanks.
fn value(rest: &[u8], whole_line: bool) -> &[u8] {
    let until = |end: u8, rest: &'_ [u8]| rest.iter().position(|byte| *byte == end).unwrap_or(rest.len());
    let end = match rest.first() {
        Some(quote @ (b'"' | b'\'')) => Some(*quote),
        Some(b'(') => Some(b')'),
        Some(b'{') => Some(b'}'),
        Some(b'[') => Some(b']'),
        Some(b'<') => Some(b'>'),
        _ => None,
    };
    match end {
        Some(end) => &rest[1..1 + until(end, &rest[1..])],
        None if whole_line => rest.trim_ascii(),
        None => rest[..rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len())].trim_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_to_name_a_library_is_missed() {
        let long = format!("#{}library=/x.so", "A".repeat(2046));
        for list in [
            "library=/x.so",
            "library=\nname=NSS\n\nlibrary=/x.so\nname=X",
            "LIBRARY=/x.so\r\n",
            "name=\"x\" library=/x.so other=1",
            "odd library=/x.so",
            "library=\"/x.so\"",
            "library={/x.so}",
            "library='/x.so",
            &long,
        ] {
            assert_eq!(libraries(list.as_bytes()), ["/x.so"], "{list}");
        }
        assert_eq!(libraries(b"library=/a b.so"), ["/a b.so"]);
    }

    #[test]
    fn the_own_module_and_comments_are_no_libraries() {
        let own = "library=\nname=NSS Internal PKCS #11 Module\nparameters=configdir='sql:/d' certPrefix='' flags= \n\
            NSS=Flags=internal,critical trustOrder=75 cipherOrder=100\n\n#library=/x.so\nlibrary=\"\"\n\nname=Policy\nconfig=\"x\"\n";
        assert_eq!(libraries(own.as_bytes()), Vec::<String>::new());
    }

    #[test]
    fn a_list_elsewhere_counts_as_a_library() {
        assert_eq!(libraries(b"library=\nNSS=\"flags=internal,moduleDB\"").len(), 1);
        assert_eq!(libraries(b"library=\nNSS=\"flags=moduleDB x=policyOnly,moduleDB\"").len(), 1);
        let policy = b"library=\nname=Policy\nNSS=flags=policyOnly,moduleDB\nconfig=\"disallow=ALL allow=SHA256\"\n";
        assert_eq!(libraries(policy), Vec::<String>::new());
    }
}
