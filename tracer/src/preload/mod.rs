//! The preloaded library: every function has the name of another library's function, forwards the call, and records it.
//! Arguments, results, `errno` and NSPR's error are the real function's.

// System call numbers and flags differ between architectures, and functions that leave their caller's stack alone are written for
// each of them. A missing hook would be a call that a trace does not show, so there is no library for other architectures.
#[cfg(not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("the tracer has its hooks for Linux with glibc on x86-64 and on aarch64 only");

mod attach;
mod call;
mod chunks;
mod environment;
mod hooks;
mod nspr;
mod nss;
mod place;
mod process;
mod real;
mod records;
mod scratch;
mod socket;
mod ssl;
mod system;
mod watch;

/// Nothing in this library panics, but the compiler requires a handler.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    system::abort()
}
