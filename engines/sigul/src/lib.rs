//! Sigul's configuration files, chunks, headers and requests, without I/O: bytes in, events out.
//!
//! Every byte may come from a hostile file or peer. Nothing here panics on it, and nothing is allocated because a
//! length was announced: memory follows the bytes that really arrived, up to stated limits.

pub mod config;
mod shown;
