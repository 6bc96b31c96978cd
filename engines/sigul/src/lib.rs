//! Sigul's configuration files, chunks, headers, requests and replies, without I/O: bytes in, events out.
//!
//! - [`config`]: the configuration files of client, bridge and server;
//! - [`chunk`]: the two streams, outer and inner, inside one TLS session;
//! - [`header`]: the key-value pairs that requests and replies begin with;
//! - [`request`] and [`reply`]: what client and server say to each other, and what the bridge looks at.
//!
//! Every byte may come from a hostile file or peer. Nothing here panics on it, and nothing is allocated because a
//! length was announced: memory follows the bytes that really arrived, up to stated limits.
//!
//! Decoders take `&mut &[u8]`: they consume what they understood from the front and leave the rest. Call `next` until
//! it gives `None`; it then has taken everything and waits for more. After an error a decoder is of no further use and
//! gives the same error again.

pub mod chunk;
pub mod config;
pub mod header;
mod hmac;
mod input;
mod message;
pub mod reply;
pub mod request;
mod shown;
