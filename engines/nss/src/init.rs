//! NSS initialised, as a value.

use std::cell::Cell;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nss_sys::nspr::PRUint32;

use crate::error::{ErrorCode, NssError, Result, Step};
use crate::memory::c_string;
use crate::{ffi, library, password};

/// NSS keeps its state in globals, so only one initialisation at a time is possible in a process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How many values use an NSS that they did not initialise. Not a lock, since a lock may be held for ever in a forked child.
static INHERITED: AtomicUsize = AtomicUsize::new(0);
/// How often NSS was initialised in this process.
static ROUNDS: AtomicUsize = AtomicUsize::new(0);
/// NSPR has 128 indices for thread-private data. NSS takes one in each round in which it sets an error and releases none (measured on
/// 3.87.1, 3.110 and 3.132). Once they are used up, every failure leaves PR_CALL_ONCE_ERROR behind, whatever its cause.
const ROUNDS_AT_MOST: usize = 100;
/// NSS is being shut down, and must not be used any more.
const CLOSING: usize = usize::MAX;

thread_local! {
    /// Whether this thread holds an [`Nss`], which stays on the thread that opened it: a second `open` would wait for itself.
    static HELD_HERE: Cell<bool> = const { Cell::new(false) };
}

/// How the database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing is created or upgraded, even if there is only a legacy database (measured on 3.87.1).
    ReadOnly,
    /// Missing databases are created. Only for building databases, never for a diagnosis.
    ReadWrite,
}

/// What to open, and with which of NSS's two functions.
#[derive(Debug, Clone)]
pub struct InitOptions<'a> {
    /// The directory as passed to NSS: `sql:DIR`, `dbm:DIR`, or a bare `DIR`, for which NSS chooses the format itself.
    pub database: &'a OsStr,
    /// Prepended to `cert9.db` and `key4.db` without a separator; usually empty.
    pub prefix: &'a str,
    /// Read-only for every diagnosis.
    pub access: Access,
    /// `NSS_InitContext` instead of `NSS_Initialize`.
    pub context: bool,
    /// Load only NSS's own module: neither the modules that the directory lists nor the root certificates in it.
    pub own_module_only: bool,
}

impl<'a> InitOptions<'a> {
    /// Read-only, without a prefix, with `NSS_Initialize`, as most clients do.
    pub fn read_only(database: &'a OsStr) -> Self {
        Self { database, prefix: "", access: Access::ReadOnly, context: false, own_module_only: false }
    }
}

/// An initialised NSS. Clones share it; the last one shuts it down.
///
/// Every owner of an NSS object holds a clone, so that a shutdown never finds references that are still held
/// (it would fail with SEC_ERROR_BUSY, and so would the next initialisation).
#[derive(Clone)]
pub struct Nss(#[allow(dead_code)] Rc<Initialised>);

struct Initialised {
    context: Option<NonNull<ffi::NSSInitContext>>,
    /// `None` if NSS was initialised elsewhere in this process.
    one: Option<MutexGuard<'static, ()>>,
}

impl Nss {
    /// Initialises NSS on a database. Waits while another thread of this process holds an `Nss`.
    ///
    /// # Errors
    /// SEC_ERROR_BUSY while the calling thread holds an `Nss`. Otherwise the error that NSS reports: SEC_ERROR_BAD_DATABASE for most
    /// failures, SEC_ERROR_LEGACY_DATABASE for `dbm:` without support.
    pub fn open(options: &InitOptions<'_>) -> Result<Self> {
        const STEP: Step = Step::Initialise;
        let database = c_string(options.database.as_bytes(), STEP)?;
        let prefix = c_string(options.prefix, STEP)?;
        let flags = match options.access {
            Access::ReadOnly => ffi::NSS_INIT_READONLY,
            Access::ReadWrite => 0,
        };
        let flags =
            if options.own_module_only { flags | ffi::NSS_INIT_NOMODDB | ffi::NSS_INIT_NOROOTINIT } else { flags };
        Self::initialise(options.context, [database, prefix, c"secmod.db".to_owned()], flags)
    }

    /// Initialises NSS without a database: imported certificates, keys and trust are kept in memory
    /// (nssinit.c, `NSS_NoDB_Init`, but without its module of root certificates).
    ///
    /// # Errors
    /// As for [`Nss::open`].
    pub fn without_database() -> Result<Self> {
        let flags = ffi::NSS_INIT_READONLY
            | ffi::NSS_INIT_NOCERTDB
            | ffi::NSS_INIT_NOMODDB
            | ffi::NSS_INIT_FORCEOPEN
            | ffi::NSS_INIT_NOROOTINIT
            | ffi::NSS_INIT_OPTIMIZESPACE;
        Self::initialise(false, [c"", c"", c""].map(CStr::to_owned), flags)
    }

    fn initialise(is_context: bool, [database, prefix, secmod]: [CString; 3], flags: PRUint32) -> Result<Self> {
        const STEP: Step = Step::Initialise;
        if HELD_HERE.get() {
            return Err(NssError::of(STEP, ErrorCode::SEC_ERROR_BUSY));
        }
        let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let (directory, glue, module): (*const c_char, _, _) = (database.as_ptr(), prefix.as_ptr(), secmod.as_ptr());
        let context = if is_context {
            // SAFETY: all strings outlive the call; NULL parameters are the documented default.
            let context = unsafe { ffi::NSS_InitContext(directory, glue, glue, module, ptr::null_mut(), flags) };
            Some(NonNull::new(context).ok_or_else(|| NssError::last(STEP))?)
        } else {
            // SAFETY: all strings outlive the call.
            if unsafe { ffi::NSS_Initialize(directory, glue, glue, module, flags) } != ffi::SUCCESS {
                return Err(NssError::last(STEP));
            }
            None
        };
        ROUNDS.fetch_add(1, Ordering::Relaxed);
        password::install();
        HELD_HERE.set(true);
        Ok(Self(Rc::new(Initialised { context, one: Some(one) })))
    }

    /// Whether NSS was initialised so often in this process that its errors will soon be unreliable: the next database must be
    /// opened in a new process.
    pub fn is_worn_out() -> bool {
        ROUNDS.load(Ordering::Relaxed) >= ROUNDS_AT_MOST
    }

    /// How many values share this NSS. A higher number than expected means that an NSS object was not dropped.
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.0)
    }

    /// For a thread or a forked child that uses the NSS which another thread or the parent has initialised:
    /// nothing is initialised here, and dropping the value shuts nothing down.
    ///
    /// # Errors
    /// SEC_ERROR_NOT_INITIALIZED if NSS is not initialised or is being shut down: some of NSS's functions end the process
    /// in that state. While such a value exists, the owner of the initialisation does not shut NSS down.
    pub fn inherited() -> Result<Self> {
        let one_more = |count: usize| count.checked_add(1).filter(|more| *more != CLOSING);
        if INHERITED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok() {
            let nss = Self(Rc::new(Initialised { context: None, one: None }));
            if library::is_initialised() {
                return Ok(nss);
            }
        }
        Err(NssError::of(Step::Initialise, ErrorCode::SEC_ERROR_NOT_INITIALIZED))
    }
}

impl Drop for Initialised {
    fn drop(&mut self) {
        if self.one.is_none() {
            INHERITED.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        password::forget();
        HELD_HERE.set(false);
        if INHERITED.compare_exchange(0, CLOSING, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // NSS is still in use elsewhere.
            return;
        }
        // SAFETY: the counterpart of the initialisation in `open`, once. A failure leaves NSS initialised, which only
        // a later `open` in this process could notice; a destructor cannot report it.
        unsafe {
            match self.context {
                Some(context) => ffi::NSS_ShutdownContext(context.as_ptr()),
                None => ffi::NSS_Shutdown(),
            };
        }
        INHERITED.store(0, Ordering::SeqCst);
    }
}
