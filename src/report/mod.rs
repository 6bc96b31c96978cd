//! Reports: one renderer a format, all from the same value.

pub(crate) mod human;
pub(crate) mod json;
