//! Finds the ring when the library is loaded, and identifies process and thread.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use super::system::{
    LoadedObject, MADV_WIPEONFORK, MAP_FAILED, MAP_PRIVATE_ANONYMOUS, PAGE, PROT_READ_WRITE, dl_iterate_phdr, getenv,
    getpid, getppid, gettid, madvise, mmap, pthread_atfork, pthread_getspecific, pthread_key_create,
    pthread_setspecific, readlink,
};
use crate::event::{Event, Function, Phase, TEXT};
use crate::ring::Ring;

static RING: AtomicPtr<Ring> = AtomicPtr::new(ptr::null_mut());
static PID: AtomicU32 = AtomicU32::new(0);
/// The process id on a page that is empty in a new process (MADV_WIPEONFORK): `_Fork` and clone(2) call no handler.
static OWN_PID: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// The key of the thread's value: its number in the upper bits, its depth in watched calls in the lower ones.
static KEY: AtomicU32 = AtomicU32::new(0);
static HAS_KEY: AtomicBool = AtomicBool::new(false);

const DEPTH: usize = 0xff;

/// The ring, if there is one and it has a reader.
pub(crate) fn ring() -> Option<&'static Ring> {
    // SAFETY: null, or a mapping that is never undone.
    unsafe { RING.load(Ordering::Acquire).as_ref() }
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

extern "C" fn at_load() {
    let mut key: c_uint = 0;
    // SAFETY: a key of our own, without destructor.
    if unsafe { pthread_key_create(&mut key, None) } == 0 {
        KEY.store(key, Ordering::Release);
        HAS_KEY.store(true, Ordering::Release);
    }
    super::scratch::prepare();
    super::real::look_up_what_is_loaded();
    PID.store(getpid() as u32, Ordering::Relaxed);
    keep_pid_on_a_page();
    // SAFETY: a function of this library, which is never unloaded.
    unsafe { pthread_atfork(None, None, Some(in_child)) };
    // SAFETY: a constant name; the result is read before anything can change it.
    let Some(variable) = (unsafe { text(getenv(c"NSSIGHT_TRACE".as_ptr())) }) else { return };
    let Some(own) = super::place::remember(variable) else { return };
    if let Some(ring) = own.map() {
        RING.store(ring.cast_mut(), Ordering::Release);
        let mut event = Event::new(Function::started, Phase::Note);
        event.number = i64::from(getppid());
        event.extra = tls_libraries();
        // SAFETY: a path and a buffer of the lengths that are given.
        let length = unsafe { readlink(c"/proc/self/exe".as_ptr(), event.text.as_mut_ptr().cast(), TEXT) };
        event.length = length.clamp(0, TEXT as isize) as u16;
        emit(event);
    }
}

/// TLS libraries that are loaded from the start, one bit each.
fn tls_libraries() -> i64 {
    unsafe extern "C" fn each(object: *mut LoadedObject, _: usize, bits: *mut c_void) -> c_int {
        const NAMES: [(&[u8], i64); 4] =
            [(b"/libnss3.so", 1), (b"/libssl.so.3", 2), (b"/libssl.so.1.1", 4), (b"/libgnutls.so", 8)];
        // SAFETY: the loader's own object, and the number of the caller below.
        let (name, bits) = unsafe { (text((*object).name), bits.cast::<i64>().as_mut()) };
        if let (Some(name), Some(bits)) = (name, bits) {
            let found = NAMES.iter().filter(|(end, _)| name.windows(end.len()).any(|part| part == *end));
            *bits |= found.fold(0, |all, (_, bit)| all | bit);
        }
        0
    }
    let mut bits = 0i64;
    // SAFETY: a callback that only reads, and a number that outlives the call.
    unsafe { dl_iterate_phdr(each, ptr::from_mut(&mut bits).cast()) };
    bits
}

/// glibc calls this in the child of every fork, including its own forks.
unsafe extern "C" fn in_child() {
    if pid() != getpid() as u32 {
        is_new();
    }
}

fn keep_pid_on_a_page() {
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let page = unsafe { mmap(ptr::null_mut(), PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0) };
    // SAFETY: a page of our own; a kernel before 4.14 rejects the advice.
    if page == MAP_FAILED || unsafe { madvise(page, PAGE, MADV_WIPEONFORK) } != 0 {
        return;
    }
    let page = page.cast::<AtomicU32>();
    // SAFETY: as above; it is never unmapped.
    unsafe { &*page }.store(PID.load(Ordering::Relaxed), Ordering::Relaxed);
    OWN_PID.store(page, Ordering::Release);
}

/// The id of this process, or of the one that has lent it its memory.
fn pid() -> u32 {
    // SAFETY: null, or a page that stays.
    if let Some(page) = unsafe { OWN_PID.load(Ordering::Acquire).as_ref() }
        && page.load(Ordering::Relaxed) == 0
    {
        is_new();
    }
    PID.load(Ordering::Relaxed)
}

/// Notes that this is a child that has just been forked.
fn is_new() {
    let own = getpid() as u32;
    PID.store(own, Ordering::Relaxed);
    // SAFETY: as above.
    if let Some(page) = unsafe { OWN_PID.load(Ordering::Acquire).as_ref() } {
        page.store(own, Ordering::Relaxed);
    }
    forget_thread();
    let mut event = Event::new(Function::forked, Phase::Note);
    event.number = i64::from(getppid());
    emit(event);
}

/// A C string of at most a page.
///
/// # Safety
/// Null, or a string that ends in NUL.
unsafe fn text(pointer: *const c_char) -> Option<&'static [u8]> {
    // SAFETY: as promised.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_bytes()).filter(|text| text.len() < 4096)
}

fn thread() -> usize {
    if !HAS_KEY.load(Ordering::Acquire) {
        return (gettid() as usize) << 8;
    }
    let value = pthread_getspecific(KEY.load(Ordering::Relaxed)) as usize;
    if value != 0 {
        return value;
    }
    let value = (gettid() as usize) << 8;
    set_thread(value);
    value
}

fn set_thread(value: usize) {
    if HAS_KEY.load(Ordering::Acquire) {
        // SAFETY: a key that exists; the value is a number and is never dereferenced.
        unsafe { pthread_setspecific(KEY.load(Ordering::Relaxed), value as *const c_void) };
    }
}

fn forget_thread() {
    set_thread(0);
}

/// Enters a watched call; returns the depth before it.
pub(crate) fn deeper() -> u8 {
    pid();
    let value = thread();
    let depth = value & DEPTH;
    if depth < DEPTH {
        set_thread(value.wrapping_add(1));
    }
    depth as u8
}

/// Returns to this depth.
pub(crate) fn back_at(depth: u8) {
    set_thread(thread() & !DEPTH | usize::from(depth));
}

/// Writes an event of this process and thread.
pub(crate) fn emit(mut event: Event) {
    let Some(ring) = ring() else { return };
    event.pid = pid();
    let thread = thread();
    event.tid = (thread >> 8) as u32;
    if event.at_ns == 0 {
        event.at_ns = super::system::now_ns();
    }
    ring.write(&event);
}

/// Writes an event of the process that really runs: between vfork and exec a child runs in its parent's memory.
pub(crate) fn emit_as_real_process(mut event: Event) {
    let Some(ring) = ring() else { return };
    event.pid = getpid() as u32;
    event.tid = gettid();
    if event.at_ns == 0 {
        event.at_ns = super::system::now_ns();
    }
    ring.write(&event);
}

/// Whether the process that runs owns this memory, and is not a child that borrows it between vfork and exec.
pub(crate) fn is_itself() -> bool {
    getpid() as u32 == pid()
}
