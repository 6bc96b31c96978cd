//! The environment of programs that are executed: it must have the library in it, or they are not followed.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::ptr;

use super::attach::{emit_truly, ring};
use super::system::{AT_EACCESS, AT_FDCWD, R_OK, environ, faccessat};
use crate::event::{Event, Function, Phase};

const PRELOAD: &[u8] = b"LD_PRELOAD=";
const TRACE: &[u8] = b"NSSIGHT_TRACE=";

/// Longest text that is put together here.
const LONGEST: usize = 2048;
/// More variables than this are passed on as they are.
const VARIABLES: usize = 1024;

/// A text with a NUL at its end.
struct Text {
    bytes: [u8; LONGEST],
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

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// `NSSIGHT_TRACE=…`, and the library's path.
struct Own(UnsafeCell<[Text; 2]>);

// SAFETY: written once, while the library is loaded and the process has one thread; only read after that.
unsafe impl Sync for Own {}

static OWN: Own = Own(UnsafeCell::new([Text::EMPTY; 2]));

/// Keeps what children need. To be called while the library is loaded.
pub(crate) fn remember(variable: &[u8], library: &[u8]) {
    // SAFETY: no other thread yet, and nobody has a reference to it.
    let [trace, path] = unsafe { &mut *OWN.0.get() };
    let kept = trace.add(TRACE).and_then(|()| trace.add(variable)).and_then(|()| path.add(library));
    if kept.is_none() {
        (trace.length, path.length) = (0, 0);
    }
}

/// Calls `execute` with an environment that has the library in it, as far as possible.
///
/// # Safety
/// `variables` is null or a list of C strings that ends in null, as for execve(2).
pub(crate) unsafe fn with_ours<R>(
    variables: *const *const c_char,
    execute: impl FnOnce(*const *const c_char) -> R,
) -> R {
    // SAFETY: written before any call that comes here.
    let [trace, path] = unsafe { &*OWN.0.get() };
    if ring().is_none() || path.length == 0 || variables.is_null() {
        return execute(variables);
    }
    let mut list = [ptr::null::<c_char>(); VARIABLES];
    let mut preload = Text::EMPTY;
    // SAFETY: as promised.
    let filled = unsafe { fill(&mut list, &mut preload, variables, trace, path) };
    match filled {
        Some(()) => execute(list.as_ptr()),
        None => {
            lost(b"a program with an environment that is too long");
            execute(variables)
        }
    }
}

/// # Safety
/// As [`with_ours`].
unsafe fn fill(
    list: &mut [*const c_char; VARIABLES],
    preload: &mut Text,
    variables: *const *const c_char,
    trace: &Text,
    path: &Text,
) -> Option<()> {
    // Who may not read the library cannot load it, and the loader would say so on the program's standard error.
    // SAFETY: a text with a NUL at its end.
    let may = unsafe { faccessat(AT_FDCWD, path.bytes.as_ptr().cast(), R_OK, AT_EACCESS) } == 0;
    preload.add(PRELOAD)?;
    if may {
        preload.add(path.get())?;
    } else {
        lost(b"a program that runs as somebody who may not load the tracer");
    }
    let mut count = 0;
    let mut at = variables;
    loop {
        // SAFETY: the list has not ended yet.
        let variable = unsafe { *at };
        if variable.is_null() {
            break;
        }
        // SAFETY: a C string of the list.
        let text = unsafe { CStr::from_ptr(variable) }.to_bytes();
        if let Some(value) = text.strip_prefix(PRELOAD) {
            let others = value.split(|byte| *byte == b':' || *byte == b' ').filter(|name| !name.is_empty());
            for name in others.filter(|name| *name != path.get()) {
                if preload.length > PRELOAD.len() {
                    preload.add(b":")?;
                }
                preload.add(name)?;
            }
        } else if !text.starts_with(TRACE) {
            // Two more and the null have their room.
            *list.get_mut(count).filter(|_| count < VARIABLES - 3)? = variable;
            count = count.checked_add(1)?;
        }
        // SAFETY: the list goes on, since its null has not come.
        at = unsafe { at.add(1) };
    }
    let ours = [(preload.length > PRELOAD.len(), preload.bytes.as_ptr()), (may, trace.bytes.as_ptr())];
    for (_, text) in ours.into_iter().filter(|(wanted, _)| *wanted) {
        *list.get_mut(count)? = text.cast();
        count = count.checked_add(1)?;
    }
    Some(())
}

/// The program's own environment.
pub(crate) fn own() -> *const *const c_char {
    // SAFETY: a pointer that glibc keeps; whoever changes the environment while it executes has a race of its own.
    unsafe { environ }
}

fn lost(what: &[u8]) {
    let mut event = Event::new(Function::lost, Phase::Note);
    if let Some(room) = event.text.get_mut(..what.len()) {
        room.copy_from_slice(what);
        event.length = what.len() as u16;
    }
    emit_truly(event);
}
