//! Processes and threads: which starts which, which program each becomes, and how they end.

use core::arch::naked_asm;
use core::ffi::{c_char, c_int, c_void};
use core::mem::transmute;

use super::attach::emit_as_real_process;
use super::call::{Call, forward};
use super::environment::{drop_if_unloadable, environment as own_environment, with_ours};
use super::real::Real;
use super::system::{errno, getppid, set_errno};
use crate::event::{Event, Function, Library, Phase, TEXT};

type Opaque = *mut c_void;
type Words = *const *const c_char;

const NO_HANG: c_int = 1;

forward! {
    System fn pthread_create(thread: Opaque, attributes: Opaque, start: Opaque, argument: Opaque) -> c_int = 11,
        fails |error| error != 0; |call| {}
}

/// # Safety
/// As the function of the same name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fork() -> c_int {
    #[unsafe(link_section = "nssight_real")]
    static REAL: Real = Real::new(Library::System, c"fork");
    let Some(real) = REAL.get() else { return -1 };
    // SAFETY: the signature is that of unistd.h.
    let real: unsafe extern "C" fn() -> c_int = unsafe { transmute::<Opaque, _>(real) };
    let mut call = Call::begin(Function::fork);
    call.forward();
    // SAFETY: takes nothing.
    let child = unsafe { real() };
    if child != 0 {
        call.end(child, child < 0);
    }
    child
}

/// Functions that wait for a child: the status is reported when there is one.
macro_rules! waiting {
    ($($name:ident($($arg:ident: $ty:ty),*) status $status:ident, patient $patient:expr;)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> c_int {
            #[unsafe(link_section = "nssight_real")]
            static REAL: Real = Real::new(
                Library::System,
                // SAFETY: it ends in the one NUL that is put there.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            );
            let Some(real) = REAL.get() else { return -1 };
            // SAFETY: the signature is that of sys/wait.h.
            let real: unsafe extern "C" fn($($ty),*) -> c_int = unsafe { transmute::<Opaque, _>(real) };
            let mut call = Call::begin(Function::$name);
            if $patient {
                call.waits();
            }
            call.forward();
            // SAFETY: the caller's own arguments.
            let child = unsafe { real($($arg),*) };
            if child > 0 && !$status.is_null() {
                // SAFETY: the kernel has just written it.
                call.number(unsafe { *$status });
                call.extra(1);
            }
            if child == 0 {
                call.mute();
            }
            call.end(child, child < 0);
            child
        }
    )*};
}

waiting! {
    waitpid(child: c_int, status: *mut c_int, options: c_int) status status, patient options & NO_HANG == 0;
    wait(status: *mut c_int) status status, patient true;
    wait3(status: *mut c_int, options: c_int, usage: Opaque) status status, patient options & NO_HANG == 0;
    wait4(child: c_int, status: *mut c_int, options: c_int, usage: Opaque) status status, patient options & NO_HANG == 0;
}

/// Reports that a program is about to be executed. Its arguments are not recorded: they may contain passwords.
///
/// # Safety
/// A C string or null.
unsafe fn about_to_execute(function: Function, path: *const c_char) -> Event {
    let before = errno();
    let mut event = Event::new(function, Phase::Enter);
    event.number = i64::from(getppid());
    if !path.is_null() {
        // SAFETY: as promised.
        let text = unsafe { core::ffi::CStr::from_ptr(path) }.to_bytes();
        let length = text.len().min(TEXT);
        if let (Some(room), Some(text)) = (event.text.get_mut(..length), text.get(..length)) {
            room.copy_from_slice(text);
            event.length = length as u16;
        }
    }
    emit_as_real_process(event);
    set_errno(before);
    event
}

/// The program was not executed.
fn failed(event: Event, result: c_int) -> c_int {
    let after = errno();
    emit_as_real_process(Event { phase: Phase::Failed, at_ns: 0, result: i64::from(result), os_error: after, ..event });
    set_errno(after);
    result
}

/// execve and its variants: all call the one that takes an environment.
macro_rules! executing {
    ($($name:ident($($arg:ident: $ty:ty),*) path $path:expr, as $real:ident($($given:expr),*) with $environment:expr;)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> c_int {
            #[unsafe(link_section = "nssight_real")]
            static REAL: Real = Real::new(
                Library::System,
                // SAFETY: it ends in the one NUL that is put there.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($real), "\0").as_bytes()) },
            );
            let Some(real) = REAL.get() else { return -1 };
            // SAFETY: a path, by the function's contract.
            let event = unsafe { about_to_execute(Function::$name, $path) };
            // SAFETY: the caller's own arguments, with the tracer's variables among the environment's.
            let result = unsafe {
                with_ours($environment, |environment| executing!(call $real, real, environment, $($given),*))
            };
            failed(event, result)
        }
    )*};
    (call execve, $real:ident, $environment:ident, $path:expr, $words:expr) => {
        transmute::<Opaque, unsafe extern "C" fn(*const c_char, Words, Words) -> c_int>($real)($path, $words, $environment)
    };
    (call execvpe, $real:ident, $environment:ident, $path:expr, $words:expr) => {
        transmute::<Opaque, unsafe extern "C" fn(*const c_char, Words, Words) -> c_int>($real)($path, $words, $environment)
    };
    (call fexecve, $real:ident, $environment:ident, $file:expr, $words:expr) => {
        transmute::<Opaque, unsafe extern "C" fn(c_int, Words, Words) -> c_int>($real)($file, $words, $environment)
    };
    (call execveat, $real:ident, $environment:ident, $directory:expr, $path:expr, $words:expr, $flags:expr) => {
        transmute::<Opaque, unsafe extern "C" fn(c_int, *const c_char, Words, Words, c_int) -> c_int>($real)(
            $directory, $path, $words, $environment, $flags,
        )
    };
}

executing! {
    execve(path: *const c_char, words: Words, environment: Words) path path, as execve(path, words) with environment;
    execv(path: *const c_char, words: Words) path path, as execve(path, words) with own_environment();
    execvp(file: *const c_char, words: Words) path file, as execvpe(file, words) with own_environment();
    execvpe(file: *const c_char, words: Words, environment: Words) path file, as execvpe(file, words) with environment;
    fexecve(file: c_int, words: Words, environment: Words) path core::ptr::null(), as fexecve(file, words)
        with environment;
    execveat(directory: c_int, path: *const c_char, words: Words, environment: Words, flags: c_int) path path,
        as execveat(directory, path, words, flags) with environment;
}

/// posix_spawn and posix_spawnp.
macro_rules! spawning {
    ($($name:ident)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            child: *mut c_int,
            path: *const c_char,
            actions: Opaque,
            attributes: Opaque,
            words: Words,
            environment: Words,
        ) -> c_int {
            #[unsafe(link_section = "nssight_real")]
            static REAL: Real = Real::new(
                Library::System,
                // SAFETY: it ends in the one NUL that is put there.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            );
            type Spawn = unsafe extern "C" fn(*mut c_int, *const c_char, Opaque, Opaque, Words, Words) -> c_int;
            let Some(real) = REAL.get() else { return 38 };
            // SAFETY: the signature is that of spawn.h.
            let real: Spawn = unsafe { transmute::<Opaque, Spawn>(real) };
            let mut call = Call::begin(Function::$name);
            // SAFETY: a path, by the function's contract.
            unsafe { call.text(path) };
            call.forward();
            // SAFETY: the caller's own arguments, with the tracer's variables among the environment's.
            let error = unsafe {
                with_ours(environment, |environment| real(child, path, actions, attributes, words, environment))
            };
            if error == 0 && !child.is_null() {
                // SAFETY: it has just been written.
                call.number(unsafe { *child });
            }
            call.end(error, error != 0);
            error
        }
    )*};
}

spawning! { posix_spawn posix_spawnp }

/// Functions that execute a shell: the C library does it without calling a function that could be interposed.
macro_rules! shelling {
    ($($name:ident($($arg:ident),*) -> $ret:ty = $missing:expr;)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: *const c_char),*) -> $ret {
            #[unsafe(link_section = "nssight_real")]
            static REAL: Real = Real::new(
                Library::System,
                // SAFETY: it ends in the one NUL that is put there.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            );
            let Some(real) = REAL.get() else { return $missing };
            drop_if_unloadable();
            // SAFETY: the signature is that of the C library's header, and the arguments are the caller's own.
            unsafe { transmute::<Opaque, unsafe extern "C" fn($(shelling!(word $arg)),*) -> $ret>(real)($($arg),*) }
        }
    )*};
    (word $arg:ident) => { *const c_char };
}

shelling! {
    system(command) -> c_int = -1;
    popen(command, mode) -> Opaque = core::ptr::null_mut();
}

/// Returns the real function, after the call was reported. For functions that cannot be called from here: vfork returns
/// twice, and only execl knows what arguments it has.
unsafe extern "C" fn tell(path: *const c_char, which: usize) -> *mut c_void {
    #[unsafe(link_section = "nssight_real")]
    static VFORK: Real = Real::new(Library::System, c"vfork");
    #[unsafe(link_section = "nssight_real")]
    static EXECL: Real = Real::new(Library::System, c"execl");
    #[unsafe(link_section = "nssight_real")]
    static EXECLP: Real = Real::new(Library::System, c"execlp");
    #[unsafe(link_section = "nssight_real")]
    static EXECLE: Real = Real::new(Library::System, c"execle");
    let (function, real) = match which {
        1 => (Function::execl, &EXECL),
        2 => (Function::execlp, &EXECLP),
        3 => (Function::execle, &EXECLE),
        _ => (Function::vfork, &VFORK),
    };
    // SAFETY: the path of execl, or null for vfork.
    unsafe { about_to_execute(function, path) };
    match real.get() {
        Some(real) => real,
        None => super::system::abort(),
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! jumping {
    ($($name:ident $which:literal $prepare:literal;)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            // Every register that may hold an argument is saved; seven words leave the stack aligned for the call.
            naked_asm!(
                "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push rax",
                $prepare,
                concat!("mov esi, ", $which),
                "call {tell}",
                "mov r11, rax",
                "pop rax", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
                "jmp r11",
                tell = sym tell,
            )
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
jumping! {
    vfork "0" "xor edi, edi";
    execl "1" "";
    execlp "2" "";
    execle "3" "";
}

#[cfg(target_arch = "aarch64")]
macro_rules! jumping {
    ($($name:ident $which:literal $prepare:literal;)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "stp x29, x30, [sp, #-80]!",
                "stp x0, x1, [sp, #16]", "stp x2, x3, [sp, #32]", "stp x4, x5, [sp, #48]", "stp x6, x7, [sp, #64]",
                $prepare,
                concat!("mov x1, #", $which),
                "bl {tell}",
                "mov x16, x0",
                "ldp x0, x1, [sp, #16]", "ldp x2, x3, [sp, #32]", "ldp x4, x5, [sp, #48]", "ldp x6, x7, [sp, #64]",
                "ldp x29, x30, [sp], #80",
                "br x16",
                tell = sym tell,
            )
        }
    )*};
}

#[cfg(target_arch = "aarch64")]
jumping! {
    vfork "0" "mov x0, #0";
    execl "1" "";
    execlp "2" "";
    execle "3" "";
}
