//! Safe Rust over NSS and NSPR.
//!
//! Every C object has an owner whose `Drop` frees it. Every call turns its status into a [`Result`], and reads the error
//! at once. An initialised NSS is a value ([`Nss`]) that the owners borrow.

pub mod cert;
pub mod create;
mod error;
pub mod ffi;
pub mod in_memory;
mod init;
pub mod kernel;
pub mod key;
pub mod kinds;
pub mod library;
mod memory;
mod password;
pub mod process;
mod session;
pub mod slot;
pub mod tls;
pub mod transport;
pub mod trust;

pub use cert::{Certificate, ChainError, Usage};
pub use error::{ErrorCode, NssError, Result, Step};
pub use init::{Access, InitOptions, Nss};
pub use key::PrivateKey;
pub use password::Asked;
pub use slot::{Login, Slot};
pub use tls::{HandshakeFacts, Identity, ServerOptions, Session, TlsOptions};
pub use trust::Trust;
