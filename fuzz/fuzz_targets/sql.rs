//! A cert9.db and a key4.db of a stranger: an answer or an error. The same bytes stand under both names; a real file of one
//! kind is refused as the other at its first query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nssight_fuzz::database;
use nssight_nssdb::Format;

fuzz_target!(|bytes: &[u8]| database(Format::Sql, bytes));
