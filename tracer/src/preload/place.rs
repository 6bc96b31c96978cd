//! The places of ring and library, and whether they are still those that nssight has made.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::ptr;

use super::attach::ring;
use super::system::{
    AT_EACCESS, AT_FDCWD, AT_SYMLINK_NOFOLLOW, EMFILE, ENFILE, F_GET_SEALS, LOCK_SHARED_NOW, MAP_FAILED, MAP_SHARED,
    O_PLACE, O_RING, PROT_READ_WRITE, R_OK, SEALS, Stat, close_quietly, errno, faccessat, fcntl, flock, fstat, fstatat,
    mmap, open_quietly, set_errno,
};
use crate::ring::{BYTES, Ring};

/// Maximum length of a text.
const LONGEST: usize = 2048;

/// A text with a NUL at its end.
pub(crate) struct Text {
    pub(crate) bytes: [u8; LONGEST],
    length: usize,
}

impl Text {
    const EMPTY: Self = Self { bytes: [0; LONGEST], length: 0 };

    /// Adds a piece if there is room for it and a NUL.
    fn add(&mut self, piece: &[u8]) -> Option<()> {
        let end = self.length.checked_add(piece.len()).filter(|end| *end < LONGEST)?;
        self.bytes.get_mut(self.length..end)?.copy_from_slice(piece);
        self.length = end;
        Some(())
    }

    pub(crate) fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The content of the variable, for this process and for those that it executes.
pub(crate) struct Own {
    /// `NSSIGHT_TRACE=…`
    pub(crate) trace: Text,
    /// The library's path.
    pub(crate) library: Text,
    /// The directory that it is in, which nssight has locked.
    directory: Text,
    ring: Text,
    /// Device and inode of the ring.
    ring_is: (u64, u64),
    /// Device, inode and length of the library.
    library_is: (u64, u64, u64),
    known: bool,
}

struct Kept(UnsafeCell<Own>);

// SAFETY: written once, while the library is loaded and the process has one thread; only read after that.
unsafe impl Sync for Kept {}

static OWN: Kept = Kept(UnsafeCell::new(Own {
    trace: Text::EMPTY,
    library: Text::EMPTY,
    directory: Text::EMPTY,
    ring: Text::EMPTY,
    ring_is: (0, 0),
    library_is: (0, 0, 0),
    known: false,
}));

/// The content of the variable when the library was loaded.
pub(crate) fn own() -> Option<&'static Own> {
    // SAFETY: written before any call that comes here.
    let own = unsafe { &*OWN.0.get() };
    own.known.then_some(own)
}

/// Stores the content of the variable. To be called while the library is loaded.
pub(crate) fn remember(variable: &[u8]) -> Option<&'static Own> {
    let place = Place::parse(variable)?;
    // SAFETY: no other thread yet, and no other reference to it.
    let own = unsafe { &mut *OWN.0.get() };
    own.trace.add(super::environment::TRACE)?;
    own.trace.add(variable)?;
    own.library.add(place.library)?;
    let slash = place.library.iter().rposition(|byte| *byte == b'/')?;
    own.directory.add(place.library.get(..slash)?)?;
    own.ring.add(place.ring)?;
    (own.ring_is, own.library_is, own.known) = (place.ring_is, place.library_is, true);
    Some(own)
}

impl Own {
    /// Whether nssight is there to read the ring, and this process, as its present user, could load the library.
    ///
    /// A process that cannot read the library cannot load it, and the loader would report that on the program's standard error. A
    /// file that is not the library must not be loaded.
    pub(crate) fn may_load(&self) -> bool {
        let before = errno();
        let may = ring().is_some_and(Ring::is_open) && self.owner().is_some();
        set_errno(before);
        may
    }

    /// The owner of the library, if it is in its place, this process can read it, and nssight is not gone.
    fn owner(&self) -> Option<u32> {
        // SAFETY: a text with a NUL at its end.
        let directory = unsafe { open_quietly(self.directory.bytes.as_ptr().cast(), O_PLACE) };
        // A process without a free descriptor learns only from the ring that nssight is gone.
        let is_there = match directory {
            0.. => is_locked(directory),
            _ => matches!(errno(), EMFILE | ENFILE),
        };
        close_quietly(directory);
        let path = self.library.bytes.as_ptr().cast();
        let mut status = Stat::empty();
        // SAFETY: a text with a NUL at its end, and a buffer that is long enough.
        let is_it = is_there
            && unsafe { fstatat(AT_FDCWD, path, &mut status, AT_SYMLINK_NOFOLLOW) } == 0
            && (status.device, status.inode, status.length) == self.library_is;
        // SAFETY: as above.
        (is_it && unsafe { faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) } == 0).then(|| status.owner())
    }

    /// The ring, mapped, if it is nssight's. To be called while the library is loaded.
    ///
    /// Its path contains a process number, which may be another process's when nssight is gone: then it is not even opened. The
    /// owner is checked as well, since its inode number may be reused, too.
    pub(crate) fn map(&self) -> Option<*const Ring> {
        let owner = self.owner()?;
        // SAFETY: a text with a NUL at its end.
        let descriptor = unsafe { open_quietly(self.ring.bytes.as_ptr().cast(), O_RING) };
        let ring = self.is_ring(descriptor, owner).then(|| map(descriptor)).flatten();
        close_quietly(descriptor);
        ring
    }

    /// Whether a descriptor is the ring, and will always have a ring's length: reading from a shorter mapping ends a process.
    fn is_ring(&self, descriptor: c_int, owner: u32) -> bool {
        let mut status = Stat::empty();
        // SAFETY: a buffer that is long enough; a bad descriptor is only an error.
        let known = descriptor >= 0 && unsafe { fstat(descriptor, &mut status) } == 0;
        // SAFETY: reads, and changes nothing; for a file that cannot be sealed it is only an error.
        let seals = if known { unsafe { fcntl(descriptor, F_GET_SEALS) } } else { -1 };
        known
            && (status.device, status.inode) == self.ring_is
            && (status.length, status.owner()) == (BYTES as u64, owner)
            && seals >= 0
            && seals & SEALS == SEALS
    }
}

/// Whether another process, which can only be nssight, holds the lock on its directory.
fn is_locked(directory: c_int) -> bool {
    // SAFETY: flock(2), which does not wait; the lock goes with the descriptor.
    (unsafe { flock(directory, LOCK_SHARED_NOW) }) != 0
}

fn map(descriptor: c_int) -> Option<*const Ring> {
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let at = unsafe { mmap(ptr::null_mut(), BYTES, PROT_READ_WRITE, MAP_SHARED, descriptor, 0) };
    if at == MAP_FAILED {
        return None;
    }
    let ring: *const Ring = at.cast_const().cast();
    // SAFETY: a mapping of the size of a ring, which cannot be shortened: its length and its seals were checked.
    unsafe { &*ring }.is_open().then_some(ring)
}

/// The value of the variable, as it is described in `ring.rs`.
struct Place<'a> {
    ring: &'a [u8],
    ring_is: (u64, u64),
    library_is: (u64, u64, u64),
    library: &'a [u8],
}

impl<'a> Place<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (ring, mut rest) = split(text)?;
        let mut numbers = [0u64; 5];
        for room in &mut numbers {
            let (digits, after) = split(rest)?;
            (*room, rest) = (number(digits)?, after);
        }
        let [ring_device, ring_inode, device, inode, length] = numbers;
        Some(Self { ring, ring_is: (ring_device, ring_inode), library_is: (device, inode, length), library: rest })
    }
}

/// Whether a variable's value gives the place of a ring.
pub(crate) fn is_place(value: &[u8]) -> bool {
    Place::parse(value).is_some()
}

fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b':')?;
    Some((text.get(..at)?, text.get(at.checked_add(1)?..)?))
}

fn number(text: &[u8]) -> Option<u64> {
    let digit = |sum: u64, byte: &u8| {
        let digit = u64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        sum.checked_mul(10)?.checked_add(digit)
    };
    (!text.is_empty()).then(|| text.iter().try_fold(0, digit)).flatten()
}
