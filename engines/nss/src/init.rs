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

/// NSS keeps its state in globals: one initialisation at a time in a process, whoever asks.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How many go on with an NSS that is not theirs. No lock, since a lock may be held for ever in a forked child.
static INHERITED: AtomicUsize = AtomicUsize::new(0);
/// How often NSS was initialised in this process.
static ROUNDS: AtomicUsize = AtomicUsize::new(0);
/// Of NSPR's 128 indices for data of threads, NSS takes one in each round in which it sets an error, and gives none back (measured on
/// 3.87.1, 3.110 and 3.132). Without one, what fails leaves PR_CALL_ONCE_ERROR behind, whatever the reason was.
const ROUNDS_AT_MOST: usize = 100;
/// NSS is being shut down, and nobody may go on with it.
const CLOSING: usize = usize::MAX;

thread_local! {
    /// An [`Nss`] lives on the thread that opened it: that thread would wait for itself.
    static HELD_HERE: Cell<bool> = const { Cell::new(false) };
}

/// How the database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing is created and nothing is upgraded, also where a legacy database stands alone (measured on 3.87.1).
    ReadOnly,
    /// Missing databases are created. Only for building databases, never for a diagnosis.
    ReadWrite,
}

/// What to open, and by which of NSS's two ways.
#[derive(Debug, Clone)]
pub struct InitOptions<'a> {
    /// The directory as NSS is told it: `sql:DIR`, `dbm:DIR`, or a bare `DIR`, whose kind NSS chooses itself.
    pub database: &'a OsStr,
    /// Glued before `cert9.db` and `key4.db`; empty as a rule.
    pub prefix: &'a str,
    /// Read-only for every diagnosis.
    pub access: Access,
    /// `NSS_InitContext` instead of `NSS_Initialize`.
    pub context: bool,
    /// Load NSS's own module and nothing else: neither the list of modules in the directory nor root certificates in it.
    pub own_module_only: bool,
}

impl<'a> InitOptions<'a> {
    /// Read-only, without prefix, by `NSS_Initialize`, as most clients do.
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
    /// None where somebody else in this process has initialised NSS.
    one: Option<MutexGuard<'static, ()>>,
}

impl Nss {
    /// Initialises NSS on a database. Waits while another thread of this process holds an `Nss`.
    ///
    /// # Errors
    /// SEC_ERROR_BUSY while this very thread holds one. Otherwise what NSS said: SEC_ERROR_BAD_DATABASE for most troubles, SEC_ERROR_LEGACY_DATABASE for `dbm:` without support.
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

    /// Initialises NSS without a database: certificates, keys and trust that it is given live in memory
    /// (nssinit.c, `NSS_NoDB_Init`, and without its module of roots).
    ///
    /// # Errors
    /// As [`Nss::open`].
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

    /// NSS was initialised in this process so often that its errors can soon no longer be believed: whoever has another database to
    /// open does that in a new process.
    pub fn is_worn_out() -> bool {
        ROUNDS.load(Ordering::Relaxed) >= ROUNDS_AT_MOST
    }

    /// How many values share it: whoever finds more than it knows of has left something of NSS behind.
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.0)
    }

    /// For a thread, or a forked child, that goes on with the NSS which another thread, or the parent, has initialised:
    /// nothing is initialised here, and nothing shut down in the end.
    ///
    /// # Errors
    /// SEC_ERROR_NOT_INITIALIZED where nobody has, or where it is being shut down: some of NSS's functions end the process
    /// then. While somebody goes on with it, whoever initialised it does not shut it down.
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
            // Somebody is still at work with it.
            return;
        }
        // SAFETY: the counterpart of the initialisation in `open`, once. A failure leaves NSS initialised, which only
        // a later `open` in this process could notice; there is nobody to tell here.
        unsafe {
            match self.context {
                Some(context) => ffi::NSS_ShutdownContext(context.as_ptr()),
                None => ffi::NSS_Shutdown(),
            };
        }
        INHERITED.store(0, Ordering::SeqCst);
    }
}
