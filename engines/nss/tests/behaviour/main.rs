//! Tests of the wrapper on real databases, made by NSS's own tools and by the builder. Sessions are tested in a process of
//! their own (`tests/sessions`).
//!
//! NSS keeps its state in globals, so each test opens a database only while no other does; a test that holds an `Nss` must
//! drop it before it opens or builds another database.

mod certificates;
mod keys;
mod opening;
mod passwords;
mod tools;
