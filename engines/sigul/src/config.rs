//! Sigul's configuration files, read as Python reads them.
//!
//! [`parse`] turns the bytes of one file into an [`Ini`]; [`Layered`] lays several files over each other in Sigul's
//! order (the system's file first, the user's over it); [`SigulConfig::read`] returns typed [`Setting`]s, each with the
//! file and line or the default that it comes from.
//!
//! The syntax is that of Python's `configparser.RawConfigParser`, because Sigul reads its files with it. This is our
//! own code because a message must name file, line and key for every fault, and the published INI crates keep
//! neither the line of a value nor Python's rules for continuation lines and duplicates. A test compares it with the real
//! `configparser`. Three things are stricter than Python: a NUL byte, a line above [`MAX_LINE`] bytes and more than
//! [`MAX_ENTRIES`] entries are refused.
//!
//! ```
//! use std::path::Path;
//! use nssight_sigul::config::{Layered, SigulConfig, Surroundings, parse};
//!
//! let text = b"[client]\nbridge-hostname: bridge.example\nserver-hostname = server.example\n";
//! let mut layers = Layered::new();
//! layers.push(parse(Path::new("client.conf"), text)?);
//! let around = Surroundings { home: Some(Path::new("/home/ann")), login_name: Some("ann") };
//! let config = SigulConfig::read(&layers, &around).map_err(|mut all| all.remove(0))?;
//! assert_eq!(config.nss_dir.value, Path::new("/home/ann/.sigul"));
//! assert_eq!(config.bridge_hostname.unwrap().origin.to_string(), "client.conf:2");
//! # Ok::<(), nssight_sigul::config::ConfigError>(())
//! ```

mod error;
mod ignored;
mod ini;
mod layered;
mod read;
mod settings;
mod text;
mod value;

pub use error::{ConfigError, Problem};
pub use ignored::{IgnoredKey, ignored};
pub use ini::{Ini, MAX_ENTRIES, MAX_LINE, parse};
pub use layered::Layered;
pub use settings::{Origin, Role, Setting, SigulConfig, Surroundings, TlsVersion};
pub use value::{Value, is_secret_key};
