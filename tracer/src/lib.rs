//! Watches another program's calls of NSS, NSPR and the system, without changing any of them.
//!
//! Two halves share the layout of [`ring`] and the [`event`]s in it. One half is a library that `LD_PRELOAD` puts in front
//! of the program (the feature `preload`): it forwards every call and writes what it saw into shared memory. It is free of
//! std, allocates nothing, takes no lock and writes to no descriptor, so it may be called after a fork and in a signal
//! handler. The other half, `place`, `reader`, `spawn` and `witness`, belongs to nssight.
#![cfg_attr(feature = "preload", no_std)]

pub mod event;
#[cfg(not(feature = "preload"))]
pub mod place;
#[cfg(feature = "preload")]
mod preload;
#[cfg(not(feature = "preload"))]
pub mod reader;
pub mod ring;
#[cfg(not(feature = "preload"))]
pub mod spawn;
#[cfg(not(feature = "preload"))]
pub mod witness;
