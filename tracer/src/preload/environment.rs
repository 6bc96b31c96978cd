//! The environment of programs that are executed: it must have the library in it, or they are not followed.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::ptr;

use super::attach::{emit_truly, ring};
use super::scratch;
use super::system::{AT_EACCESS, AT_FDCWD, R_OK, environ, errno, faccessat, set_errno, setenv, unsetenv};
use crate::event::{Event, Function, Phase};

const PRELOAD: &[u8] = b"LD_PRELOAD=";
const TRACE: &[u8] = b"NSSIGHT_TRACE=";
const NAME: &CStr = c"LD_PRELOAD";

/// Longest text of ours.
const LONGEST: usize = 2048;

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

/// What there is in an environment, and how much room a changed copy of it takes.
#[derive(Default)]
struct Found {
    variables: usize,
    /// Bytes of `LD_PRELOAD`, all of them together.
    preload: usize,
    /// How often our library is in it.
    loads: usize,
    /// How often our `NSSIGHT_TRACE` is.
    ours: usize,
    /// Somebody else's: a trace within this one, which follows the program instead.
    foreign: bool,
}

/// Calls `execute` with an environment that has the library in it, as far as possible.
///
/// It may be called on a stack of a few KiB, after vfork, and in a signal handler: what has to be put together is put into
/// memory from the kernel.
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
    // SAFETY: as promised.
    let found = unsafe { look(variables, trace, path) };
    let may = may_load(path);
    if found.foreign {
        lost(b"a program that a trace of its own follows");
    } else if !may {
        lost(b"a program that runs as somebody who may not load the tracer");
    } else if found.loads > 0 && found.ours == 1 {
        return execute(variables);
    }
    let pointers = found.variables.saturating_add(3).saturating_mul(size_of::<usize>());
    // Its name, a colon for each library, of which there are no more than bytes, and a NUL.
    let text = found.preload.saturating_add(path.length).saturating_add(PRELOAD.len() + 2);
    let Some(room) = scratch::take(pointers.saturating_add(text)) else {
        lost(b"a program for whose environment there was no memory");
        return execute(variables);
    };
    // SAFETY: room of our own, aligned to a page, with so many bytes for the list and the rest for the text.
    let list = unsafe {
        let list = room.bytes().cast::<*const c_char>();
        let ours = (may && !found.foreign).then_some((trace, path));
        fill(list, room.bytes().add(pointers), variables, path, ours);
        list.cast_const()
    };
    let result = execute(list);
    let before = errno();
    room.give_back();
    set_errno(before);
    result
}

/// Who may not read the library cannot load it, and the loader would say so on the program's standard error.
fn may_load(path: &Text) -> bool {
    let before = errno();
    // SAFETY: a text with a NUL at its end.
    let may = unsafe { faccessat(AT_FDCWD, path.bytes.as_ptr().cast(), R_OK, AT_EACCESS) } == 0;
    set_errno(before);
    may
}

/// The strings of an environment.
///
/// # Safety
/// As [`with_ours`], while the strings are used.
unsafe fn each(variables: *const *const c_char) -> impl Iterator<Item = (*const c_char, &'static [u8])> {
    let mut at = variables;
    core::iter::from_fn(move || {
        // SAFETY: the list has not ended yet.
        let variable = unsafe { *at };
        if variable.is_null() {
            return None;
        }
        // SAFETY: the list goes on, since its null has not come.
        at = unsafe { at.add(1) };
        // SAFETY: a C string of the list.
        Some((variable, unsafe { CStr::from_ptr(variable) }.to_bytes()))
    })
}

/// The libraries that are named in a value of `LD_PRELOAD` (ld.so(8)).
fn libraries(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b':' || *byte == b' ').filter(|name| !name.is_empty())
}

/// # Safety
/// As [`with_ours`].
unsafe fn look(variables: *const *const c_char, trace: &Text, path: &Text) -> Found {
    let mut found = Found::default();
    // SAFETY: as promised.
    for (_, text) in unsafe { each(variables) } {
        found.variables = found.variables.saturating_add(1);
        if let Some(value) = text.strip_prefix(PRELOAD) {
            found.preload = found.preload.saturating_add(value.len()).saturating_add(1);
            found.loads = found.loads.saturating_add(libraries(value).filter(|name| *name == path.get()).count());
        } else if text == trace.get() {
            found.ours = found.ours.saturating_add(1);
        } else if let Some(value) = text.strip_prefix(TRACE) {
            found.foreign |= super::attach::is_place(value);
        }
    }
    found
}

/// Copies an environment, without our library in `LD_PRELOAD`, and with `ours` in front if there is any.
///
/// # Safety
/// As [`with_ours`]; `list` and `text` have the room that was reckoned for them.
unsafe fn fill(
    list: *mut *const c_char,
    text: *mut u8,
    variables: *const *const c_char,
    path: &Text,
    ours: Option<(&'static Text, &'static Text)>,
) {
    let (mut count, mut length) = (0usize, 0usize);
    // SAFETY: no more is put there than was reckoned.
    let mut put = |variable: *const c_char| unsafe {
        *list.add(count) = variable;
        count = count.wrapping_add(1);
    };
    // SAFETY: as above.
    let mut add = |piece: &[u8]| unsafe {
        ptr::copy_nonoverlapping(piece.as_ptr(), text.add(length), piece.len());
        length = length.wrapping_add(piece.len());
    };
    add(PRELOAD);
    let mut any = false;
    if let Some((_, path)) = ours {
        add(path.get());
        any = true;
    }
    // SAFETY: as promised.
    for (variable, string) in unsafe { each(variables) } {
        if let Some(value) = string.strip_prefix(PRELOAD) {
            for name in libraries(value).filter(|name| *name != path.get()) {
                if any {
                    add(b":");
                }
                add(name);
                any = true;
            }
        } else if !string.starts_with(TRACE) || ours.is_none() && !is_ours(string) {
            put(variable);
        }
    }
    add(b"\0");
    if any {
        put(text.cast_const().cast());
    }
    if let Some((trace, _)) = ours {
        put(trace.bytes.as_ptr().cast());
    }
    put(ptr::null());
}

fn is_ours(variable: &[u8]) -> bool {
    // SAFETY: written before any call that comes here.
    let [trace, _] = unsafe { &*OWN.0.get() };
    variable == trace.get()
}

/// The program's own environment.
pub(crate) fn own() -> *const *const c_char {
    // SAFETY: a pointer that glibc keeps; whoever changes the environment while it executes has a race of its own.
    unsafe { environ }
}

/// Takes the library out of the program's own environment when it cannot be loaded any more: nssight has gone, or the process
/// has given up its rights. For the functions that execute a shell inside the C library.
pub(crate) fn drop_if_unloadable() {
    // SAFETY: written before any call that comes here.
    let [trace, path] = unsafe { &*OWN.0.get() };
    let variables = own();
    if ring().is_none() || path.length == 0 || variables.is_null() || may_load(path) {
        return;
    }
    // SAFETY: the program's own environment.
    let found = unsafe { look(variables, trace, path) };
    if found.loads == 0 {
        return;
    }
    lost(b"a program that runs as somebody who may not load the tracer");
    let before = errno();
    if let Some(room) = scratch::take(found.preload.saturating_add(2)) {
        let mut length = 0usize;
        // SAFETY: as above.
        for value in unsafe { each(variables) }.filter_map(|(_, text)| text.strip_prefix(PRELOAD)) {
            for name in libraries(value).filter(|name| *name != path.get()) {
                // SAFETY: no more than all values together and a colon for each.
                unsafe {
                    if length > 0 {
                        *room.bytes().add(length) = b':';
                        length = length.wrapping_add(1);
                    }
                    ptr::copy_nonoverlapping(name.as_ptr(), room.bytes().add(length), name.len());
                }
                length = length.wrapping_add(name.len());
            }
        }
        // SAFETY: the C library's own way of changing the environment, with constant names and a text with a NUL at its end.
        unsafe {
            *room.bytes().add(length) = 0;
            match length {
                0 => unsetenv(NAME.as_ptr()),
                _ => setenv(NAME.as_ptr(), room.bytes().cast_const().cast(), 1),
            };
        }
        room.give_back();
    }
    set_errno(before);
}

fn lost(what: &[u8]) {
    let mut event = Event::new(Function::lost, Phase::Note);
    if let Some(room) = event.text.get_mut(..what.len()) {
        room.copy_from_slice(what);
        event.length = what.len() as u16;
    }
    emit_truly(event);
}
