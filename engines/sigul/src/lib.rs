//! Sigul's configuration files, chunks, headers, requests and replies, without I/O: bytes in, events out.
//!
//! - [`config`]: the configuration files of client, bridge and server;
//! - [`chunk`]: the two streams, outer and inner, inside one TLS session;
//! - [`header`]: the key-value pairs that requests and replies begin with;
//! - [`request`] and [`reply`]: the messages of client and server, and the parts that the bridge checks.
//!
//! Every byte may come from a hostile file or peer. Nothing here panics on it, and nothing is allocated because a
//! length was announced: memory follows the bytes that really arrived, up to stated limits.
//!
//! Decoders take `&mut &[u8]`: they consume what they understood from the front and leave the rest. Call `next` until
//! it returns `None`; the decoder has then consumed everything and needs more. After an error, a decoder returns the
//! same error at every call.

pub mod chunk;
pub mod config;
pub mod header;
mod hmac;
mod input;
mod message;
pub mod reply;
pub mod request;
mod shown;
