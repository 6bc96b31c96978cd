//! What the sources of the crate declare and call, read as text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A source file without its comments.
fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold(String::new(), |text, line| text + line + "\n")
}

/// The word at the beginning of a text.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn words_after(text: &str, introduction: &str) -> Vec<String> {
    text.split(introduction).skip(1).map(|rest| word(rest).to_owned()).filter(|word| !word.is_empty()).collect()
}

/// Functions of the `extern` block of ffi.rs.
pub(crate) fn declared_functions() -> Vec<String> {
    let text = read(&directory().join("ffi.rs"));
    let (_, block) = text.split_once("unsafe extern \"C\" {").expect("ffi.rs declares functions");
    words_after(block.split_once("\n}").expect("the block ends").0, "pub fn ")
}

/// Structs and unions of ffi.rs that have fields.
pub(crate) fn declared_structs() -> Vec<String> {
    let text = read(&directory().join("ffi.rs"));
    [words_after(&text, "\npub struct "), words_after(&text, "\npub union ")].concat()
}

/// Functions of NSS and NSPR that are called anywhere, `nss-sys`'s included.
pub(crate) fn called_functions() -> Vec<String> {
    const LIBRARIES: &[&str] = &["CERT_", "NSS_", "NSSSSL_", "PK11_", "PORT_", "PR_", "SECKEY_", "SECMOD_", "SSL_"];
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory()).expect("the sources are there") {
        let text = read(&entry.expect("a directory entry").path());
        for (open, _) in text.match_indices('(') {
            let before = &text[..open];
            let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |index| index + 1);
            let name = &before[start..];
            if LIBRARIES.iter().any(|library| name.starts_with(library)) {
                names.insert(name.to_owned());
            }
        }
    }
    names.into_iter().collect()
}

/// Constants of ffi.rs, error.rs and trust.rs with their values, under the names of the headers.
pub(crate) fn declared_constants() -> Vec<(String, String)> {
    let declared = |file: &str, introduction: &str, prefix: &str| -> Vec<(String, String)> {
        let text = read(&directory().join(file));
        let found = text.lines().filter_map(|line| {
            let (name, rest) = line.trim().strip_prefix(introduction)?.split_once('=')?;
            let value = rest.trim().trim_end_matches([';', ',']).trim();
            let number = value.strip_prefix('-').unwrap_or(value);
            number
                .starts_with(|c: char| c.is_ascii_digit())
                .then(|| (format!("{prefix}{}", word(name)), value.to_owned()))
        });
        found.collect()
    };
    let errors = [
        declared("error.rs", "PR_", "PR_"),
        declared("error.rs", "SEC_", "SEC_"),
        declared("error.rs", "SSL_", "SSL_"),
    ];
    [declared("ffi.rs", "pub const ", ""), errors.concat(), declared("trust.rs", "const ", "CERTDB_")].concat()
}

/// Those of `found` that `table` does not hold.
pub(crate) fn not_in(found: Vec<String>, table: impl Iterator<Item = &'static str>) -> Vec<String> {
    let table: BTreeSet<&str> = table.collect();
    found.into_iter().filter(|name| !table.contains(name.as_str())).collect()
}
