//! The C library functions that the tracer uses.

use core::ffi::{c_char, c_int, c_long, c_short, c_uint, c_ulong, c_void};
use core::ptr;

pub(crate) const RTLD_NEXT: *mut c_void = -1isize as *mut c_void;
pub(crate) const RTLD_LAZY_NOLOAD: c_int = 0x1 | 0x4;
pub(crate) const RTLD_NODELETE: c_int = 0x1000;
pub(crate) const CLOCK_MONOTONIC: c_int = 1;
pub(crate) const PROT_READ_WRITE: c_int = 3;
pub(crate) const MAP_SHARED: c_int = 1;
pub(crate) const MAP_PRIVATE_ANONYMOUS: c_int = 0x2 | 0x20;
pub(crate) const MADV_WIPEONFORK: c_int = 18;
pub(crate) const PAGE: usize = 4096;
pub(crate) const MAP_FAILED: *mut c_void = -1isize as *mut c_void;
/// Read and write; never waits, and never makes a terminal the process's own.
pub(crate) const O_RING: c_int = 0o2 | 0o400 | 0o4000 | 0o2_000_000;
/// A directory, and not a link to one, to be read.
pub(crate) const O_PLACE: c_int =
    (if cfg!(target_arch = "x86_64") { 0o200_000 | 0o400_000 } else { 0o40_000 | 0o100_000 }) | 0o2_000_000;
pub(crate) const AT_SYMLINK_NOFOLLOW: c_int = 0x100;
pub(crate) const LOCK_SHARED_NOW: c_int = 1 | 4;
pub(crate) const F_GET_SEALS: c_int = 1034;
/// F_SEAL_SEAL, F_SEAL_SHRINK and F_SEAL_GROW: as long as it is now, for ever.
pub(crate) const SEALS: c_int = 1 | 2 | 4;
pub(crate) const EMFILE: c_int = 24;
pub(crate) const ENFILE: c_int = 23;
pub(crate) const AT_FDCWD: c_int = -100;
pub(crate) const AT_EACCESS: c_int = 0x200;
pub(crate) const R_OK: c_int = 4;
pub(crate) const SYS_GETTID: c_long = if cfg!(target_arch = "x86_64") { 186 } else { 178 };
const SYS_OPENAT: c_long = if cfg!(target_arch = "x86_64") { 257 } else { 56 };
const SYS_CLOSE: c_long = if cfg!(target_arch = "x86_64") { 3 } else { 57 };

/// `struct timespec` where long has 64 bits.
#[repr(C)]
pub(crate) struct Timespec {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i64,
}

#[link(name = "c")]
unsafe extern "C" {
    pub(crate) safe fn abort() -> !;
    pub(crate) fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    pub(crate) fn dladdr(address: *const c_void, found: *mut Found) -> c_int;
    pub(crate) fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    pub(crate) fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    pub(crate) safe fn __errno_location() -> *mut c_int;
    pub(crate) safe fn getpid() -> c_int;
    pub(crate) safe fn getppid() -> c_int;
    pub(crate) fn syscall(number: c_long, ...) -> c_long;
    pub(crate) fn getenv(name: *const c_char) -> *const c_char;
    pub(crate) fn mmap(
        at: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    pub(crate) fn munmap(at: *mut c_void, length: usize) -> c_int;
    pub(crate) fn madvise(at: *mut c_void, length: usize, advice: c_int) -> c_int;
    pub(crate) fn setenv(name: *const c_char, value: *const c_char, replace: c_int) -> c_int;
    pub(crate) fn unsetenv(name: *const c_char) -> c_int;
    pub(crate) fn fstat(fd: c_int, status: *mut Stat) -> c_int;
    pub(crate) fn fstatat(directory: c_int, path: *const c_char, status: *mut Stat, flags: c_int) -> c_int;
    pub(crate) fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    pub(crate) fn flock(fd: c_int, operation: c_int) -> c_int;
    pub(crate) fn faccessat(directory: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int;
    pub(crate) fn poll(descriptors: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    pub(crate) fn readlink(path: *const c_char, buffer: *mut c_char, length: usize) -> isize;
    pub(crate) fn getsockname(fd: c_int, address: *mut c_void, length: *mut c_uint) -> c_int;
    pub(crate) fn getpeername(fd: c_int, address: *mut c_void, length: *mut c_uint) -> c_int;
    pub(crate) fn pthread_key_create(key: *mut c_uint, destructor: Option<unsafe extern "C" fn(*mut c_void)>) -> c_int;
    pub(crate) safe fn pthread_getspecific(key: c_uint) -> *mut c_void;
    pub(crate) fn pthread_setspecific(key: c_uint, value: *const c_void) -> c_int;
    pub(crate) fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> c_int;
    pub(crate) fn dl_iterate_phdr(
        each: unsafe extern "C" fn(*mut LoadedObject, usize, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    pub(crate) static mut environ: *const *const c_char;
}

/// `struct pollfd`.
#[repr(C)]
pub(crate) struct PollFd {
    pub(crate) descriptor: c_int,
    pub(crate) wanted: c_short,
    pub(crate) found: c_short,
}

/// POLLRDHUP, POLLERR and POLLHUP: the other end sends nothing more.
pub(crate) const POLL_ENDED: c_short = 0x2000 | 0x8 | 0x10;

/// `struct stat`: device and inode are its first two words on every 64-bit Linux, and the length is its seventh; 144 bytes are
/// the longest of them.
#[repr(C, align(8))]
pub(crate) struct Stat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    middle: [u32; 8],
    pub(crate) length: u64,
    rest: [u64; 11],
}

impl Stat {
    pub(crate) const fn empty() -> Self {
        Self { device: 0, inode: 0, middle: [0; 8], length: 0, rest: [0; 11] }
    }

    /// The owner: after links and mode on x86-64, where the links take eight bytes, and after mode and links elsewhere.
    pub(crate) const fn owner(&self) -> u32 {
        let [_, _, arm, x86, ..] = self.middle;
        if cfg!(target_arch = "x86_64") { x86 } else { arm }
    }
}

/// Opens a file, without being a cancellation point.
///
/// # Safety
/// A path that ends in NUL.
pub(crate) unsafe fn open_quietly(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: openat(2), as promised.
    (unsafe { syscall(SYS_OPENAT, AT_FDCWD, path, flags, 0) }) as c_int
}

/// Closes a descriptor of the tracer's own, without being a cancellation point either.
pub(crate) fn close_quietly(descriptor: c_int) {
    if descriptor >= 0 {
        // SAFETY: close(2), for a descriptor that no other code uses.
        unsafe { syscall(SYS_CLOSE, descriptor) };
    }
}

pub(crate) fn errno() -> c_int {
    // SAFETY: glibc returns the address of this thread's errno, always a valid one.
    unsafe { *__errno_location() }
}

pub(crate) fn set_errno(value: c_int) {
    // SAFETY: as above.
    unsafe { *__errno_location() = value }
}

pub(crate) fn now_ns() -> u64 {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: a timespec of our own. The clock is read without a system call.
    unsafe { clock_gettime(CLOCK_MONOTONIC, &mut time) };
    (time.seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(time.nanoseconds as u64)
}

/// This thread's number, as the kernel has it.
pub(crate) fn gettid() -> u32 {
    // SAFETY: gettid(2) takes nothing and cannot fail.
    (unsafe { syscall(SYS_GETTID) }) as u32
}

/// `Dl_info`.
#[repr(C)]
pub(crate) struct Found {
    pub(crate) file: *const c_char,
    base: *mut c_void,
    name: *const c_char,
    address: *mut c_void,
}

impl Found {
    pub(crate) const fn empty() -> Self {
        Self { file: ptr::null(), base: ptr::null_mut(), name: ptr::null(), address: ptr::null_mut() }
    }
}

/// `struct dl_phdr_info`: address and name are its first two words.
#[repr(C)]
pub(crate) struct LoadedObject {
    address: usize,
    pub(crate) name: *const c_char,
}
