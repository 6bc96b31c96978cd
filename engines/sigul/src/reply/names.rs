//! The payload of `list-users`, `list-key-users` and `list-keys`: names, each followed by a NUL.

use crate::header::{FieldError, Header, is_printable};

/// What is wrong with a list of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are explained by the message")]
pub enum NamesError {
    /// The number of names is missing, or is not a number.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The payload does not end with a NUL.
    #[error("the list of names does not end with a NUL byte")]
    NotTerminated,
    /// The number of names differs from the number in the header.
    #[error("the header announces {announced} names, but the list has {found}")]
    Count { announced: u32, found: usize },
    /// A name, counted from 1, that is empty or not printable ASCII.
    #[error("name {0} of the list is empty or not printable ASCII")]
    BadName(usize),
}

/// The names in a reply to `list-users` or `list-key-users`.
///
/// # Errors
/// Header and payload do not agree, or a name is invalid.
pub fn user_names<'a>(header: &Header, payload: &'a [u8]) -> Result<Vec<&'a str>, NamesError> {
    names(header.u32("num-users")?, payload)
}

/// The names in a reply to `list-keys`.
///
/// # Errors
/// Header and payload do not agree, or a name is invalid.
pub fn key_names<'a>(header: &Header, payload: &'a [u8]) -> Result<Vec<&'a str>, NamesError> {
    names(header.u32("num-keys")?, payload)
}

fn names(announced: u32, payload: &[u8]) -> Result<Vec<&str>, NamesError> {
    let found = payload.iter().filter(|&&byte| byte == 0).count();
    if payload.last().is_some_and(|&byte| byte != 0) {
        return Err(NamesError::NotTerminated);
    }
    if u32::try_from(found) != Ok(announced) {
        return Err(NamesError::Count { announced, found });
    }
    payload
        .split_inclusive(|&byte| byte == 0)
        .map(|name| name.strip_suffix(&[0]).unwrap_or(name))
        .enumerate()
        .map(|(index, bytes)| {
            let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty() && is_printable(text.as_bytes()));
            text.ok_or(NamesError::BadName(index + 1))
        })
        .collect()
}
