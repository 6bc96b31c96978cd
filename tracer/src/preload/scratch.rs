//! Temporary memory from the kernel: for callers that have a small stack and may not allocate.
//!
//! Each thread has a room of its own and keeps it. A child between vfork and exec takes the room in its parent's memory and
//! never gives it back. So the room holds the process id of its taker: the parent, which continues when the child has become
//! another program, takes the room again instead of losing it.

use core::ffi::{c_uint, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::system::{
    MAP_FAILED, MAP_PRIVATE_ANONYMOUS, PAGE, PROT_READ_WRITE, getpid, mmap, munmap, pthread_getspecific,
    pthread_key_create, pthread_setspecific,
};

static KEY: AtomicU32 = AtomicU32::new(0);
static HAS_KEY: AtomicBool = AtomicBool::new(false);

/// The beginning of a room.
#[repr(C)]
struct Head {
    size: usize,
    /// The process that uses it, or 0.
    taker: AtomicU32,
}

const HEAD: usize = 64;

/// Room that is in use.
pub(crate) struct Room(*mut Head);

/// To be called while the library is loaded.
pub(crate) fn prepare() {
    let mut key: c_uint = 0;
    // SAFETY: a key of our own; what is under it is a room.
    if unsafe { pthread_key_create(&mut key, Some(release)) } == 0 {
        KEY.store(key, Ordering::Release);
        HAS_KEY.store(true, Ordering::Release);
    }
}

/// Called when a thread ends.
unsafe extern "C" fn release(room: *mut c_void) {
    // SAFETY: a room of `new` that this thread kept.
    unsafe { munmap(room, (*room.cast::<Head>()).size) };
}

/// Room for this many bytes.
pub(crate) fn take(bytes: usize) -> Option<Room> {
    let own = getpid() as u32;
    let size = bytes.checked_add(HEAD)?.checked_next_multiple_of(PAGE)?;
    if !HAS_KEY.load(Ordering::Acquire) {
        return new(size, own);
    }
    let kept = pthread_getspecific(KEY.load(Ordering::Relaxed)).cast::<Head>();
    // SAFETY: null, or a room that this thread keeps.
    if let Some(head) = unsafe { kept.as_ref() } {
        if head.taker.load(Ordering::Relaxed) == own {
            // In use by the code that this signal handler has interrupted.
            return new(size, own);
        }
        if head.size >= size {
            head.taker.store(own, Ordering::Relaxed);
            return Some(Room(kept));
        }
        // SAFETY: nothing uses it.
        unsafe { release(kept.cast()) };
        keep(ptr::null());
    }
    let room = new(size, own)?;
    keep(room.0);
    Some(room)
}

fn keep(head: *const Head) {
    // SAFETY: a key that exists.
    unsafe { pthread_setspecific(KEY.load(Ordering::Relaxed), head.cast()) };
}

fn new(size: usize, taker: u32) -> Option<Room> {
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let at = unsafe { mmap(ptr::null_mut(), size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0) };
    if at == MAP_FAILED {
        return None;
    }
    let head = at.cast::<Head>();
    // SAFETY: a page of our own.
    unsafe { head.write(Head { size, taker: AtomicU32::new(taker) }) };
    Some(Room(head))
}

impl Room {
    /// Where it begins.
    pub(crate) fn bytes(&self) -> *mut u8 {
        // SAFETY: within the mapping, which is at least a page long.
        unsafe { self.0.cast::<u8>().add(HEAD) }
    }

    pub(crate) fn give_back(self) {
        let kept = HAS_KEY.load(Ordering::Acquire)
            && pthread_getspecific(KEY.load(Ordering::Relaxed)).cast_const() == self.0.cast_const().cast();
        match kept {
            // SAFETY: a room of `new`.
            true => unsafe { &*self.0 }.taker.store(0, Ordering::Relaxed),
            // SAFETY: as above, and nothing else refers to it.
            false => unsafe { release(self.0.cast()) },
        }
    }
}
