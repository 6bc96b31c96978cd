//! The library that is put in front: every function here has the name of another library's, forwards to it, and writes down
//! what it saw. Arguments, results, `errno` and NSPR's error are the real function's.

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

/// Nothing in here panics; the compiler wants to know what would happen all the same.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    system::abort()
}
