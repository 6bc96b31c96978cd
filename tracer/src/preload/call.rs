//! One forwarded call: time before and after, depth, result and error.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::transmute;

use super::attach::{back_at, deeper, emit, ring};
use super::real::Real;
use super::system::{errno, now_ns, set_errno};
use crate::event::{Event, Function, Library, Phase, TEXT};

/// A call that is being forwarded.
pub(crate) struct Call {
    event: Event,
    started: u64,
    errno: c_int,
    watched: bool,
    muted: bool,
}

impl Call {
    pub(crate) fn begin(function: Function) -> Self {
        let mut event = Event::new(function, Phase::Done);
        let watched = ring().is_some();
        let (mut started, mut before) = (0, 0);
        if watched {
            before = errno();
            started = now_ns();
            event.depth = deeper();
        }
        Self { event, started, errno: before, watched, muted: false }
    }

    /// The object that the call is about.
    pub(crate) fn handle<T>(&mut self, pointer: *const T) {
        self.event.handle = pointer as usize as u64;
    }

    pub(crate) fn number(&mut self, number: impl ToWord) {
        self.event.number = number.to_word();
    }

    pub(crate) fn extra(&mut self, number: impl ToWord) {
        self.event.extra = number.to_word();
    }

    /// A name that is not a secret.
    ///
    /// # Safety
    /// Null, or a string that ends in NUL.
    pub(crate) unsafe fn text(&mut self, text: *const c_char) {
        if self.watched && !text.is_null() {
            // SAFETY: as promised; the real function reads it as well.
            let text = unsafe { CStr::from_ptr(text) }.to_bytes();
            self.event.length = copy_without_pin(text, &mut self.event.text) as u16;
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(TEXT);
        if let (Some(room), Some(bytes)) = (self.event.text.get_mut(..length), bytes.get(..length)) {
            room.copy_from_slice(bytes);
            self.event.length = length as u16;
        }
    }

    /// Suppresses the event of this call.
    pub(crate) fn mute(&mut self) {
        self.muted = true;
    }

    /// Reports that the call begins, for one that may wait.
    pub(crate) fn waits(&mut self) {
        if self.watched && !self.muted {
            let (phase, at_ns) = (Phase::Enter, self.started);
            emit(Event { phase, at_ns, ..self.event });
        }
    }

    /// Whether the program itself made the call, and not a library on its behalf.
    pub(crate) fn is_outermost(&self) -> bool {
        self.watched && self.event.depth == 0
    }

    /// The last thing before the real function.
    pub(crate) fn forward(&self) {
        if self.watched {
            set_errno(self.errno);
        }
    }

    /// The first thing after it.
    pub(crate) fn end(&mut self, result: impl ToWord, failed: bool) {
        if !self.watched {
            return;
        }
        if self.muted {
            return self.quietly();
        }
        let after = errno();
        let now = now_ns();
        self.event.result = result.to_word();
        if failed {
            self.event.phase = Phase::Failed;
            self.event.os_error = after;
            let function = self.event.function;
            let asks = function == Function::auth_certificate_hook;
            if asks || matches!(function.library(), Library::Nss | Library::Ssl | Library::Nspr) {
                self.event.error = nspr_error();
            }
        }
        (self.event.at_ns, self.event.took_ns) = (now, now.saturating_sub(self.started));
        emit(self.event);
        back_at(self.event.depth);
        set_errno(after);
    }

    /// The call returned, and there is nothing to report.
    fn quietly(&self) {
        if self.watched {
            let after = errno();
            back_at(self.event.depth);
            set_errno(after);
        }
    }
}

/// Copies as much of a name as there is room for, and returns how much. A nickname may be a PKCS #11 URI with a PIN, or the place
/// of one, in its query (RFC 7512, 2.4): the values of these attributes are not copied.
fn copy_without_pin(text: &[u8], room: &mut [u8]) -> usize {
    const SECRET: [&[u8]; 2] = [b"pin-value=", b"pin-source="];
    let mut hidden = false;
    let mut count = 0usize;
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        // Whatever else a value contains, `&` ends it.
        hidden &= *byte != b'&';
        let name = SECRET.iter().find(|name| rest.get(..name.len()).is_some_and(|at| at.eq_ignore_ascii_case(name)));
        let (shown, later) = match (hidden, name) {
            (true, _) => (&[][..], after),
            (false, Some(name)) => {
                hidden = true;
                rest.split_at(name.len())
            }
            (false, None) => rest.split_at(1),
        };
        let Some(place) = room.get_mut(count..count.saturating_add(shown.len())) else { break };
        place.copy_from_slice(shown);
        count = count.saturating_add(shown.len());
        rest = later;
    }
    count
}

/// The error of the call that has just failed in this thread. Only then: in a thread unknown to NSPR, this would start NSPR.
fn nspr_error() -> i32 {
    #[unsafe(link_section = "nssight_real")]
    static REAL: Real = Real::new(Library::Nspr, c"PR_GetError");
    let Some(real) = REAL.get() else { return 0 };
    // SAFETY: `PRErrorCode PR_GetError(void)` of prerror.h.
    let real: unsafe extern "C" fn() -> c_int = unsafe { transmute::<*mut c_void, _>(real) };
    // SAFETY: takes nothing.
    unsafe { real() }
}

/// What C functions take and return, as one word.
pub(crate) trait ToWord {
    fn to_word(self) -> i64;
}

impl ToWord for c_int {
    fn to_word(self) -> i64 {
        i64::from(self)
    }
}

impl ToWord for u32 {
    fn to_word(self) -> i64 {
        i64::from(self)
    }
}

impl ToWord for i64 {
    fn to_word(self) -> i64 {
        self
    }
}

impl ToWord for isize {
    fn to_word(self) -> i64 {
        self as i64
    }
}

/// Only whether there is one; its address is not recorded.
impl<T> ToWord for *mut T {
    fn to_word(self) -> i64 {
        i64::from(!self.is_null())
    }
}

/// Functions to forward: library, signature, the result if the real function is missing, the condition for a failure,
/// and the arguments that are recorded.
macro_rules! forward {
    ($($library:ident fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $missing:expr, fails $failed:expr;
        |$call:ident| $note:block)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> $ret {
            #[unsafe(link_section = "nssight_real")]
            static REAL: $crate::preload::real::Real = $crate::preload::real::Real::new(
                $crate::event::Library::$library,
                // SAFETY: it ends in the one NUL that is put there.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            );
            let Some(real) = REAL.get() else { return $missing };
            // SAFETY: the signature is the one of the library's header.
            let real: unsafe extern "C" fn($($ty),*) -> $ret = unsafe { core::mem::transmute::<*mut c_void, _>(real) };
            #[allow(unused_mut)]
            let mut $call = $crate::preload::call::Call::begin($crate::event::Function::$name);
            $note
            $call.forward();
            // SAFETY: the caller's own arguments, unchanged.
            let result = unsafe { real($($arg),*) };
            let failed: fn($ret) -> bool = $failed;
            $call.end(result, failed(result));
            result
        }
    )*};
}
pub(crate) use forward;
