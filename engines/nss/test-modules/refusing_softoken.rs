//! A softoken for tests that does not tolerate forks, like builds of NSS with DO_FORK_CHECK. It wraps the system's softoken
//! and forwards every call. In a process other than the one that initialised it, it follows `REFUSING_SOFTOKEN`: `refuse`
//! (CKR_DEVICE_ERROR), `hang`, or `abort`. C_Initialize and C_Finalize work everywhere, as in those builds
//! (lib/softoken/pkcs11.c, CHECK_FORK).
//!
//! The tests build it with rustc alone, as libsoftokn3.so in a directory with links to NSS's other libraries;
//! `REAL_SOFTOKEN` names the real one.

use std::ffi::{CString, c_char, c_int, c_ulong, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn getpid() -> c_int;
    fn pause() -> c_int;
}

const RTLD_NOW: c_int = 2;
const CKR_OK: c_ulong = 0;
const CKR_DEVICE_ERROR: c_ulong = 0x30;
/// Functions in CK_FUNCTION_LIST (PKCS #11 2.40, 3.6): the first two are C_Initialize and C_Finalize.
const FUNCTIONS: usize = 68;

/// CK_FUNCTION_LIST: a version, and the functions in their order.
#[repr(C)]
pub struct FunctionList {
    version: [u8; 2],
    functions: [usize; FUNCTIONS],
}

static REAL: OnceLock<FunctionList> = OnceLock::new();
static OURS: OnceLock<FunctionList> = OnceLock::new();
/// The process that initialised this softoken; 0 before.
static OWNER: AtomicI32 = AtomicI32::new(0);

fn symbol(name: &str) -> usize {
    static LIBRARY: OnceLock<usize> = OnceLock::new();
    let library = *LIBRARY.get_or_init(|| {
        let path = std::env::var("REAL_SOFTOKEN").expect("REAL_SOFTOKEN names the real softoken");
        let path = CString::new(path).expect("a path");
        // SAFETY: a NUL-terminated path; the library stays loaded.
        unsafe { dlopen(path.as_ptr(), RTLD_NOW) as usize }
    });
    assert_ne!(library, 0, "the real softoken cannot be loaded");
    let name = CString::new(name).expect("a name");
    // SAFETY: an open library and a NUL-terminated name.
    unsafe { dlsym(library as *mut c_void, name.as_ptr()) as usize }
}

/// Up to nine arguments, none wider than a register: C_DeriveKey and its like have the most. A function does not read
/// arguments that it does not take (System V ABI, 3.2.3).
type Any = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize) -> c_ulong;

/// The outcome of a call in the wrong process.
fn refuse() -> c_ulong {
    match std::env::var("REFUSING_SOFTOKEN").as_deref() {
        Ok("hang") => loop {
            // SAFETY: waits for a signal.
            unsafe { pause() };
        },
        Ok("abort") => std::process::abort(),
        _ => CKR_DEVICE_ERROR,
    }
}

/// The wrapper of the function at position `AT` of the list.
unsafe extern "C" fn forward<const AT: usize>(
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
    g: usize,
    h: usize,
    i: usize,
) -> c_ulong {
    // SAFETY: reads the process id.
    let here = unsafe { getpid() };
    let owner = OWNER.load(Ordering::SeqCst);
    if AT > 1 && owner != 0 && owner != here {
        return refuse();
    }
    let Some(real) = REAL.get() else { return CKR_DEVICE_ERROR };
    // SAFETY: a function of the real list, called with the arguments that it was given.
    let result = unsafe { std::mem::transmute::<usize, Any>(real.functions[AT])(a, b, c, d, e, f, g, h, i) };
    if AT == 0 && result == CKR_OK {
        OWNER.store(here, Ordering::SeqCst);
    } else if AT == 1 {
        OWNER.store(0, Ordering::SeqCst);
    }
    result
}

macro_rules! forwards {
    ($($at:literal)+) => { [$(forward::<$at> as Any as usize,)+] };
}

/// # Safety
/// `list` has room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn NSC_GetFunctionList(list: *mut *const FunctionList) -> c_ulong {
    let real = REAL.get_or_init(|| {
        let mut real: *const FunctionList = std::ptr::null();
        // SAFETY: the real function fills in a pointer to a static list of at least `FUNCTIONS` functions, which is copied.
        unsafe {
            let get = std::mem::transmute::<usize, unsafe extern "C" fn(*mut *const FunctionList) -> c_ulong>(symbol(
                "NSC_GetFunctionList",
            ));
            get(&mut real);
            std::ptr::read(real)
        }
    });
    let ours = OURS.get_or_init(|| FunctionList {
        version: real.version,
        functions: forwards!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35
            36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67),
    });
    // SAFETY: as the caller promises.
    unsafe { *list = ours };
    CKR_OK
}

/// # Safety
/// As NSS calls it: a number, a string, and an argument.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn NSC_ModuleDBFunc(
    function: c_ulong,
    parameters: *mut c_char,
    arguments: *mut c_void,
) -> *mut *mut c_char {
    type Func = unsafe extern "C" fn(c_ulong, *mut c_char, *mut c_void) -> *mut *mut c_char;
    // SAFETY: the real function, with the arguments of the original call.
    unsafe { std::mem::transmute::<usize, Func>(symbol("NSC_ModuleDBFunc"))(function, parameters, arguments) }
}
