//! The program's own functions that NSS calls. Each is called through a function of the tracer, with its own arguments.

use core::ffi::{c_char, c_int, c_void};
use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::attach::emit;
use super::call::{Call, forward};
use super::real::Real;
use crate::event::{Event, Function, Library, Phase};

type Opaque = *mut c_void;

/// A hook and its argument, at an address that represents both.
struct Pair {
    hook: AtomicUsize,
    argument: AtomicUsize,
}

impl Pair {
    #[allow(clippy::declare_interior_mutable_const, reason = "it is only what a static array begins with")]
    const EMPTY: Self = Self { hook: AtomicUsize::new(0), argument: AtomicUsize::new(0) };

    fn hook(&self) -> *mut c_void {
        self.hook.load(Ordering::Acquire) as *mut c_void
    }

    fn argument(&self) -> *mut c_void {
        self.argument.load(Ordering::Acquire) as *mut c_void
    }
}

/// Pairs are never released, since NSS copies them from socket to socket; a program has few.
static PAIRS: [Pair; 1024] = [Pair::EMPTY; 1024];
/// Stands for a hook while its argument is being written; no function is there.
const TAKEN: usize = 1;
/// Whether the lack of room was reported.
static SAID: AtomicBool = AtomicBool::new(false);
/// SECWouldBlock of seccomon.h: the program decides later, and then continues the handshake.
const LATER: c_int = -2;

/// The pair of a hook and its argument. `None` if there is no more room; then the hook is set unchanged, and not watched.
fn pair(hook: *mut c_void, argument: *mut c_void) -> Option<&'static Pair> {
    let (hook, argument) = (hook as usize, argument as usize);
    let start = (hook ^ argument) >> 4;
    for step in 0..PAIRS.len() {
        let pair = PAIRS.get(start.wrapping_add(step) % PAIRS.len())?;
        let there = pair.hook.load(Ordering::Acquire);
        if there == hook && pair.argument.load(Ordering::Acquire) == argument {
            return Some(pair);
        }
        // The argument is stored before the pair can be found by its hook.
        if there == 0 && pair.hook.compare_exchange(0, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            pair.argument.store(argument, Ordering::Release);
            pair.hook.store(hook, Ordering::Release);
            return Some(pair);
        }
    }
    if SAID.swap(true, Ordering::Relaxed) {
        return None;
    }
    let mut event = Event::new(Function::lost, Phase::Note);
    let why = b"a hook of the program";
    if let Some(room) = event.text.get_mut(..why.len()) {
        room.copy_from_slice(why);
        event.length = why.len() as u16;
    }
    emit(event);
    None
}

/// Functions that set a hook: (socket, hook, argument).
macro_rules! setters {
    ($($name:ident => $ours:ident;)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(socket: Opaque, hook: Opaque, argument: Opaque) -> c_int {
            #[unsafe(link_section = "nssight_real")]
            static REAL: Real = Real::new(
                Library::Ssl,
                // SAFETY: it ends in the one NUL that is put there.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            );
            let Some(real) = REAL.get() else { return -1 };
            // SAFETY: the signature is that of ssl.h.
            let real: unsafe extern "C" fn(Opaque, Opaque, Opaque) -> c_int = unsafe { transmute::<Opaque, _>(real) };
            let mut call = Call::begin(Function::$name);
            call.handle(socket);
            call.number(hook);
            let watched = if hook.is_null() || super::attach::ring().is_none() { None } else { pair(hook, argument) };
            let (hook, argument) = match watched {
                Some(pair) => ($ours as *mut c_void, ptr::from_ref(pair).cast_mut().cast()),
                None => (hook, argument),
            };
            call.forward();
            // SAFETY: the program's own hook and argument, or ours, which has the signature of the hook.
            let result = unsafe { real(socket, hook, argument) };
            call.end(result, result != 0);
            result
        }
    )*};
}

setters! {
    SSL_GetClientAuthDataHook => client_auth_hook;
    SSL_AuthCertificateHook => auth_certificate_hook;
    SSL_BadCertHook => bad_certificate_hook;
    SSL_HandshakeCallback => handshake_callback;
}

/// The pair behind an argument that NSS passes back.
fn of_argument(argument: Opaque) -> &'static Pair {
    // SAFETY: our own hooks are only set together with a pair of the table.
    unsafe { &*argument.cast_const().cast::<Pair>() }
}

unsafe extern "C" fn client_auth_hook(
    argument: Opaque,
    socket: Opaque,
    authorities: Opaque,
    certificate: *mut Opaque,
    key: *mut Opaque,
) -> c_int {
    type Hook = unsafe extern "C" fn(Opaque, Opaque, Opaque, *mut Opaque, *mut Opaque) -> c_int;
    let pair = of_argument(argument);
    // SAFETY: what the program set as its SSLGetClientAuthData (sslt.h).
    let hook: Hook = unsafe { transmute::<Opaque, Hook>(pair.hook()) };
    let mut call = Call::begin(Function::client_auth_hook);
    call.handle(socket);
    call.waits();
    call.forward();
    // SAFETY: NSS's own arguments, and the program's.
    let result = unsafe { hook(pair.argument(), socket, authorities, certificate, key) };
    // SAFETY: NSS's out-parameters, which it reads next.
    let gave = result == 0 && unsafe { !(*certificate).is_null() && !(*key).is_null() };
    call.number(c_int::from(gave));
    call.extra(c_int::from(result == LATER));
    call.end(result, result != 0 && result != LATER);
    result
}

unsafe extern "C" fn auth_certificate_hook(argument: Opaque, socket: Opaque, check: c_int, server: c_int) -> c_int {
    type Hook = unsafe extern "C" fn(Opaque, Opaque, c_int, c_int) -> c_int;
    let pair = of_argument(argument);
    // SAFETY: what the program set as its SSLAuthCertificate (ssl.h).
    let hook: Hook = unsafe { transmute::<Opaque, Hook>(pair.hook()) };
    let mut call = Call::begin(Function::auth_certificate_hook);
    call.handle(socket);
    call.number(server);
    call.waits();
    call.forward();
    // SAFETY: NSS's own arguments, and the program's.
    let result = unsafe { hook(pair.argument(), socket, check, server) };
    call.extra(c_int::from(result == LATER));
    call.end(result, result != 0 && result != LATER);
    result
}

unsafe extern "C" fn bad_certificate_hook(argument: Opaque, socket: Opaque) -> c_int {
    type Hook = unsafe extern "C" fn(Opaque, Opaque) -> c_int;
    let pair = of_argument(argument);
    // SAFETY: what the program set as its SSLBadCertHandler (ssl.h).
    let hook: Hook = unsafe { transmute::<Opaque, Hook>(pair.hook()) };
    let mut call = Call::begin(Function::bad_certificate_hook);
    call.handle(socket);
    call.waits();
    call.forward();
    // SAFETY: NSS's own arguments, and the program's.
    let result = unsafe { hook(pair.argument(), socket) };
    call.extra(c_int::from(result == LATER));
    call.end(result, result != 0 && result != LATER);
    result
}

unsafe extern "C" fn handshake_callback(socket: Opaque, argument: Opaque) {
    type Hook = unsafe extern "C" fn(Opaque, Opaque);
    let pair = of_argument(argument);
    // SAFETY: what the program set as its SSLHandshakeCallback (ssl.h).
    let hook: Hook = unsafe { transmute::<Opaque, Hook>(pair.hook()) };
    let mut call = Call::begin(Function::handshake_callback);
    call.handle(socket);
    call.forward();
    // SAFETY: NSS's own argument, and the program's.
    unsafe { hook(socket, pair.argument()) };
    call.end(0, false);
}

/// What the program set as its password callback.
static PASSWORD_CALLBACK: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// # Safety
/// As the function of the same name.
#[unsafe(no_mangle)]
unsafe extern "C" fn PK11_SetPasswordFunc(callback: Opaque) {
    #[unsafe(link_section = "nssight_real")]
    static REAL: Real = Real::new(Library::Nss, c"PK11_SetPasswordFunc");
    let Some(real) = REAL.get() else { return };
    // SAFETY: the signature is that of pk11pub.h.
    let real: unsafe extern "C" fn(Opaque) = unsafe { transmute::<Opaque, _>(real) };
    let mut call = Call::begin(Function::PK11_SetPasswordFunc);
    call.number(callback);
    let watched = !callback.is_null() && super::attach::ring().is_some();
    if watched {
        PASSWORD_CALLBACK.store(callback, Ordering::Release);
    }
    call.forward();
    // SAFETY: the program's own callback, or ours, which has its signature.
    unsafe { real(if watched { password_callback as *mut c_void } else { callback }) };
    call.end(0, false);
}

unsafe extern "C" fn password_callback(slot: Opaque, retry: c_int, argument: Opaque) -> *mut c_char {
    type Callback = unsafe extern "C" fn(Opaque, c_int, Opaque) -> *mut c_char;
    // SAFETY: what the program set as its PK11PasswordFunc (secmodt.h); NSS calls ours only after that.
    let callback: Callback = unsafe { transmute::<Opaque, Callback>(PASSWORD_CALLBACK.load(Ordering::Acquire)) };
    let mut call = Call::begin(Function::password_callback);
    call.handle(slot);
    call.number(retry);
    call.waits();
    call.forward();
    // SAFETY: NSS's own arguments.
    let password = unsafe { callback(slot, retry, argument) };
    // Whether there is one; the password itself stays between NSS and the program.
    call.end(password, password.is_null());
    password
}

forward! {
    Ssl fn SSL_AuthCertificate(argument: Opaque, socket: Opaque, check: c_int, server: c_int) -> c_int = -1,
        fails |status| status != 0; |call| {
        call.handle(socket);
        call.number(server);
        call.waits();
    }
    Ssl fn NSS_GetClientAuthData(argument: Opaque, socket: Opaque, authorities: Opaque, certificate: *mut Opaque,
        key: *mut Opaque) -> c_int = -1, fails |status| status != 0; |call| {
        call.handle(socket);
        // SAFETY: the nickname or null, by the function's contract (ssl.h).
        unsafe { call.text(argument.cast_const().cast()) };
        call.waits();
    }
}
