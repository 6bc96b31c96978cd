//! Finds the original function.

use core::ffi::{CStr, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::system::{Found, RTLD_LAZY_NOLOAD, RTLD_NEXT, RTLD_NODELETE, dladdr, dlopen, dlsym, errno, set_errno};
use crate::event::Library;

/// A real function, looked up once. Each is in a section for its kind, where [`look_up_what_is_loaded`] finds those of the C
/// library: they are called after fork, in signal handlers and on small stacks, where the loader's lock may be held and the
/// loader does not have enough room.
///
/// The real function is the next one in the order of look-up. If there is none, NSS may have been loaded with `RTLD_LOCAL`, as
/// Python loads its extensions and their dependencies: then the function is looked up in the loaded library itself. That also keeps
/// the library loaded, so that the address stays valid; a library that was found in the order of look-up is kept by [`pin`]. None of
/// the watched functions has more than one symbol version in NSS and NSPR; of the C library's, the default one is used.
pub(crate) struct Real {
    library: Library,
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

/// Looked up, and not found.
const NOWHERE: *mut c_void = ptr::dangling_mut();

impl Real {
    pub(crate) const fn new(library: Library, name: &'static CStr) -> Self {
        Self { library, name, found: AtomicPtr::new(ptr::null_mut()) }
    }

    pub(crate) fn get(&self) -> Option<*mut c_void> {
        let found = self.found.load(Ordering::Acquire);
        if !found.is_null() {
            return (found != NOWHERE).then_some(found);
        }
        let before = errno();
        let found = self.look_up();
        set_errno(before);
        match found.is_null() {
            // NSS may be loaded later; the C library is not.
            true if self.library != Library::System => {}
            true => self.found.store(NOWHERE, Ordering::Release),
            false => self.found.store(found, Ordering::Release),
        }
        (!found.is_null()).then_some(found)
    }

    fn look_up(&self) -> *mut c_void {
        // SAFETY: a constant name that ends in NUL; RTLD_NEXT exists for this use.
        let next = unsafe { dlsym(RTLD_NEXT, self.name.as_ptr()) };
        if !next.is_null() {
            if self.library != Library::System {
                pin(next);
            }
            return next;
        }
        let Some(library) = file(self.library) else { return ptr::null_mut() };
        // SAFETY: a constant name; nothing is loaded that is not loaded already.
        let handle = unsafe { dlopen(library.as_ptr(), RTLD_LAZY_NOLOAD) };
        if handle.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: an open handle and a constant name.
        unsafe { dlsym(handle, self.name.as_ptr()) }
    }
}

unsafe extern "C" {
    /// Where the section begins and ends; the linker defines both for every section with such a name.
    #[link_name = "__start_nssight_real"]
    static START: u8;
    #[link_name = "__stop_nssight_real"]
    static STOP: u8;
}

/// Looks up every function of the C library, and of those libraries of NSS that are loaded already. To be called while the
/// library is loaded: the loader waits for its own lock, and allocates memory. The functions of a library that a plugin brings
/// are looked up at their first call.
pub(crate) fn look_up_what_is_loaded() {
    let libraries = [Library::Nss, Library::Ssl, Library::Nspr];
    let loaded = libraries.map(is_loaded);
    let (mut at, end) = (ptr::addr_of!(START).cast::<Real>(), ptr::addr_of!(STOP).cast::<Real>());
    while at < end {
        // SAFETY: there is nothing in the section but values of this type, one after the other, which live for ever.
        let real = unsafe { &*at };
        let is_there = libraries.iter().zip(loaded).any(|(library, loaded)| loaded && *library == real.library);
        if is_there || real.library == Library::System {
            real.get();
        }
        at = at.wrapping_add(1);
    }
}

fn file(library: Library) -> Option<&'static CStr> {
    match library {
        Library::Nss => Some(c"libnss3.so"),
        Library::Ssl => Some(c"libssl3.so"),
        Library::Nspr => Some(c"libnspr4.so"),
        Library::System | Library::Program | Library::Tracer => None,
    }
}

/// Whether a library of NSS is loaded; this call loads nothing.
fn is_loaded(library: Library) -> bool {
    // SAFETY: a constant name.
    file(library).is_some_and(|file| !unsafe { dlopen(file.as_ptr(), RTLD_LAZY_NOLOAD) }.is_null())
}

/// Keeps the library that contains an address. A plugin may have brought it along with `RTLD_GLOBAL`, and would otherwise unload it
/// again, so that the stored addresses would be invalid.
fn pin(address: *mut c_void) {
    let mut found = Found::empty();
    // SAFETY: any address may be looked up; the output is ours.
    if unsafe { dladdr(address, &mut found) } != 0 && !found.file.is_null() {
        // SAFETY: the loader's own name of a library that is loaded.
        unsafe { dlopen(found.file, RTLD_LAZY_NOLOAD | RTLD_NODELETE) };
    }
}
