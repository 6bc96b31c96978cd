//! A cert8.db and a key3.db of a stranger: an answer or an error. The same bytes stand under both names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nssight_fuzz::database;
use nssight_nssdb::Format;

fuzz_target!(|bytes: &[u8]| database(Format::Dbm, bytes));
