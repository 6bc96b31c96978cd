//! The environment of programs that are executed: without the library in it, they are not traced.

use core::ffi::{CStr, c_char};
use core::ptr;

use super::attach::emit_as_real_process;
use super::place::{self, Own, is_place};
use super::scratch;
use super::system::{environ, errno, set_errno, setenv, unsetenv};
use crate::event::{Event, Function, Phase};

const PRELOAD: &[u8] = b"LD_PRELOAD=";
pub(crate) const TRACE: &[u8] = b"NSSIGHT_TRACE=";
const PRELOAD_NAME: &CStr = c"LD_PRELOAD";
const TRACE_NAME: &CStr = c"NSSIGHT_TRACE";
/// How often an environment is copied again that another thread changes meanwhile.
const ATTEMPTS: usize = 3;

/// The content of an environment, and the room that a changed copy of it takes.
#[derive(Default)]
struct Found {
    variables: usize,
    /// Bytes of `LD_PRELOAD`, all of them together.
    preload: usize,
    /// How often our library is in it.
    loads: usize,
    /// How often our `NSSIGHT_TRACE` is.
    ours: usize,
    /// Whether there is a foreign one: that of a trace within this one, which follows the program instead.
    foreign: bool,
}

/// Calls `execute` with an environment that contains the library, as far as possible; or without it, when nssight is gone.
///
/// It may be called on a stack of a few KiB, after vfork, and in a signal handler: the changed environment is built in
/// memory from the kernel.
///
/// # Safety
/// `variables` is null or a list of C strings that ends in null, as for execve(2).
pub(crate) unsafe fn with_ours<R>(
    variables: *const *const c_char,
    execute: impl FnOnce(*const *const c_char) -> R,
) -> R {
    let Some(own) = place::own().filter(|_| !variables.is_null()) else { return execute(variables) };
    let may = own.may_load();
    // SAFETY: as promised.
    let mut found = unsafe { look(variables, own) };
    if found.foreign {
        lost(b"a program that a trace of its own follows");
    } else if !may {
        lost(b"a program that runs as somebody who may not load the tracer");
    }
    for _ in 0..ATTEMPTS {
        let ours = Some(own).filter(|_| may && !found.foreign);
        let as_it_should_be = match ours {
            Some(_) => found.loads > 0 && found.ours == 1,
            None => found.loads == 0 && found.ours == 0,
        };
        if as_it_should_be {
            return execute(variables);
        }
        let Some((pointers, text)) = found.room(own) else { break };
        let Some(room) =
            pointers.checked_mul(size_of::<usize>()).and_then(|list| scratch::take(list.checked_add(text)?))
        else {
            break;
        };
        // SAFETY: room of our own, aligned to a page: first the pointers, and after them the bytes.
        let (list, filled) = unsafe {
            let list = room.bytes().cast::<*const c_char>();
            let text = Bytes { at: list.add(pointers).cast(), length: 0, room: text };
            (list.cast_const(), fill(Pointers { at: list, length: 0, room: pointers }, text, variables, own, ours))
        };
        if filled.is_some() {
            let result = execute(list);
            let before = errno();
            room.give_back();
            set_errno(before);
            return result;
        }
        room.give_back();
        // SAFETY: as promised.
        found = unsafe { look(variables, own) };
    }
    lost(b"a program whose environment could not be copied");
    execute(variables)
}

/// The strings of an environment; no strings if it was cleared.
///
/// # Safety
/// As [`with_ours`], while the strings are used.
unsafe fn each(variables: *const *const c_char) -> impl Iterator<Item = (*const c_char, &'static [u8])> {
    let mut at = variables;
    core::iter::from_fn(move || {
        if at.is_null() {
            return None;
        }
        // SAFETY: the list has not ended yet.
        let variable = unsafe { *at };
        if variable.is_null() {
            return None;
        }
        // SAFETY: the list continues, since its null was not reached.
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
unsafe fn look(variables: *const *const c_char, own: &Own) -> Found {
    let mut found = Found::default();
    // SAFETY: as promised.
    for (_, text) in unsafe { each(variables) } {
        found.variables = found.variables.saturating_add(1);
        if let Some(value) = text.strip_prefix(PRELOAD) {
            found.preload = found.preload.saturating_add(value.len()).saturating_add(1);
            found.loads =
                found.loads.saturating_add(libraries(value).filter(|name| *name == own.library.get()).count());
        } else if text == own.trace.get() {
            found.ours = found.ours.saturating_add(1);
        } else if let Some(value) = text.strip_prefix(TRACE) {
            found.foreign |= is_place(value);
        }
    }
    found
}

impl Found {
    /// Pointers and bytes that a changed copy takes: two more variables and a null; the name of `LD_PRELOAD`, a colon for each
    /// library, of which there are no more than bytes, and a NUL.
    fn room(&self, own: &Own) -> Option<(usize, usize)> {
        let text = self.preload.checked_add(own.library.get().len())?.checked_add(PRELOAD.len() + 2)?;
        Some((self.variables.checked_add(3)?, text))
    }
}

/// Bytes that are filled one after the other. Another thread may change the environment after its length was computed, so
/// nothing is written beyond the end.
struct Bytes {
    at: *mut u8,
    length: usize,
    room: usize,
}

impl Bytes {
    fn add(&mut self, piece: &[u8]) -> Option<()> {
        let end = self.length.checked_add(piece.len()).filter(|end| *end <= self.room)?;
        // SAFETY: it ends within the room.
        unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), self.at.add(self.length), piece.len()) };
        self.length = end;
        Some(())
    }

    /// Adds the libraries of a value of `LD_PRELOAD` that are not ours.
    fn add_others(&mut self, value: &[u8], own: &Own, any: &mut bool) -> Option<()> {
        for name in libraries(value).filter(|name| *name != own.library.get()) {
            if core::mem::replace(any, true) {
                self.add(b":")?;
            }
            self.add(name)?;
        }
        Some(())
    }
}

/// The same for pointers.
struct Pointers {
    at: *mut *const c_char,
    length: usize,
    room: usize,
}

impl Pointers {
    fn add(&mut self, variable: *const c_char) -> Option<()> {
        let end = self.length.checked_add(1).filter(|end| *end <= self.room)?;
        // SAFETY: it is within the room.
        unsafe { *self.at.add(self.length) = variable };
        self.length = end;
        Some(())
    }
}

/// Copies an environment, without our library in `LD_PRELOAD`, and with `ours` in front if there is any. `None` if there is more
/// than was computed.
///
/// # Safety
/// As [`with_ours`]; `list` and `text` have the room that they state.
unsafe fn fill(
    mut list: Pointers,
    mut text: Bytes,
    variables: *const *const c_char,
    own: &Own,
    ours: Option<&'static Own>,
) -> Option<()> {
    let preload = text.at.cast_const().cast();
    text.add(PRELOAD)?;
    let mut any = false;
    if let Some(ours) = ours {
        text.add(ours.library.get())?;
        any = true;
    }
    // SAFETY: as promised.
    for (variable, string) in unsafe { each(variables) } {
        if let Some(value) = string.strip_prefix(PRELOAD) {
            text.add_others(value, own, &mut any)?;
        } else if !string.starts_with(TRACE) || ours.is_none() && string != own.trace.get() {
            list.add(variable)?;
        }
    }
    text.add(b"\0")?;
    if any {
        list.add(preload)?;
    }
    if let Some(ours) = ours {
        list.add(ours.trace.bytes.as_ptr().cast())?;
    }
    list.add(ptr::null())
}

/// The program's own environment, as it is now: another thread may set or clear it, so the pointer is read once and that
/// value is used.
pub(crate) fn environment() -> *const *const c_char {
    // SAFETY: a pointer that glibc keeps, and that is read as a whole; a program that changes the environment while it executes
    // another one has a race of its own.
    unsafe { ptr::addr_of!(environ).read_volatile() }
}

/// Removes library and variable from the program's own environment when the library must not be loaded any more: nssight is
/// gone, or the process has given up its rights. For the functions that execute a shell inside the C library.
pub(crate) fn drop_if_unloadable() {
    let Some(own) = place::own() else { return };
    if own.may_load() {
        return;
    }
    // SAFETY: the program's own environment.
    let mut found = unsafe { look(environment(), own) };
    if found.loads == 0 && found.ours == 0 {
        return;
    }
    lost(b"a program that runs as somebody who may not load the tracer");
    let before = errno();
    if found.ours > 0 {
        // SAFETY: the C library's own way of changing the environment, with a constant name.
        unsafe { unsetenv(TRACE_NAME.as_ptr()) };
    }
    for _ in 0..ATTEMPTS {
        let Some(room) = scratch::take(found.preload.saturating_add(2)) else { break };
        // SAFETY: room for that many bytes.
        let done = unsafe {
            replace_preload(Bytes { at: room.bytes(), length: 0, room: found.preload.saturating_add(2) }, own)
        };
        room.give_back();
        if done.is_some() {
            break;
        }
        // SAFETY: as above.
        found = unsafe { look(environment(), own) };
    }
    set_errno(before);
}

/// Leaves only foreign libraries in the program's own `LD_PRELOAD`. `None` if there is more than was computed.
///
/// # Safety
/// `text` has the room that it states.
unsafe fn replace_preload(mut text: Bytes, own: &Own) -> Option<()> {
    let mut any = false;
    // SAFETY: the program's own environment.
    for value in unsafe { each(environment()) }.filter_map(|(_, string)| string.strip_prefix(PRELOAD)) {
        text.add_others(value, own, &mut any)?;
    }
    text.add(b"\0")?;
    // SAFETY: the C library's own way of changing the environment, with a constant name and a text with a NUL at its end.
    unsafe {
        if any {
            setenv(PRELOAD_NAME.as_ptr(), text.at.cast_const().cast(), 1)
        } else {
            unsetenv(PRELOAD_NAME.as_ptr())
        };
    }
    Some(())
}

fn lost(what: &[u8]) {
    let mut event = Event::new(Function::lost, Phase::Note);
    if let Some(room) = event.text.get_mut(..what.len()) {
        room.copy_from_slice(what);
        event.length = what.len() as u16;
    }
    emit_as_real_process(event);
}
