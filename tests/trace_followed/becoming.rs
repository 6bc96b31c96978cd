//! Programs that start others in unusual ways: on small stacks, without the C library's fork, from a shell, or in a separate trace. And
//! signals: the dispositions that a program starts with, and the signals that it receives.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::*;

/// Executes a program on a stack of this many bytes, in memory borrowed from its parent, as posix_spawn does; with its own environment and
/// with a new one.
const SMALL: &str = r#"
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static char *words[] = {"true", 0}, *fresh[] = {"A=b", "LD_PRELOAD=", 0}, **given;
static int child(void *unused) { execve("/bin/true", words, given); _exit(9); }
int main(int count, char **arguments) {
    size_t size = atoi(arguments[1]);
    char *stack = mmap(0, size + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(stack + 8192, size, PROT_READ | PROT_WRITE);
    for (int turn = 0; turn < 20; turn++) {
        given = turn % 2 ? fresh : environ;
        int status, pid = clone(child, stack + 8192 + size, CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status) return 1;
    }
    return 0;
}
"#;

#[test]
fn programs_are_executed_on_small_stacks() {
    let case = Case::new();
    let program = compiled(&case, SMALL);
    for size in ["4096", "16384"] {
        let trace = Trace::of(&[program.to_str().unwrap(), size], &[]);
        assert_eq!(trace.code(), Some(0), "{size}: {:?}", trace.output);
        let became = trace.processes().iter().filter(|process| process["programs"].to_string().contains("/bin/true"));
        assert_eq!((became.count(), trace.lost()), (20, String::new()), "{:#}", trace.report);
    }
}

/// Executes a nonexistent program repeatedly, with an environment that another thread lengthens and shortens. Each round uses a new thread,
/// in which the tracer does not yet have a buffer that could happen to be long enough.
const CHANGING: &str = r#"
#include <pthread.h>
#include <string.h>
#include <unistd.h>
static char *words[] = {"none", 0}, shorter[] = "LD_PRELOAD=", longer[1 << 18] = "LD_PRELOAD=", *volatile given[2];
static volatile int done;
static void *change(void *unused) {
    while (!done) { given[0] = longer; given[0] = shorter; }
    return 0;
}
static void *use(void *unused) {
    return execve("/none", words, (char **)given) == -1 ? 0 : words;
}
int main() {
    memset(longer + strlen(shorter), 'x', sizeof longer - strlen(shorter) - 1);
    given[0] = shorter;
    pthread_t changing, using;
    if (pthread_create(&changing, 0, change, 0)) return 1;
    for (int turn = 0; turn < 1000; turn++) {
        void *wrong;
        if (pthread_create(&using, 0, use, 0) || pthread_join(using, &wrong) || wrong) return 2;
    }
    done = 1;
    return pthread_join(changing, 0);
}
"#;

#[test]
fn a_concurrently_changing_environment_does_no_harm() {
    let case = Case::new();
    let program = compiled(&case, CHANGING);
    let trace = Trace::of(&[program.to_str().unwrap()], &[]);
    assert_eq!(trace.code(), Some(0), "{:?}", trace.output);
}

fn compiled(case: &Case, source: &str) -> PathBuf {
    let (source, program) = (case.file("source.c", source), case.path("program"));
    let mut compiler = Command::new("gcc");
    let made = compiler.args(["-pthread", "-o"]).arg(&program).arg(source).output();
    let made = made.expect("gcc must be installed (make deps)");
    assert!(made.status.success(), "{made:?}");
    program
}

#[test]
fn a_library_unloaded_and_reloaded_with_a_plugin_is_used_again() {
    let script = "
import _ctypes, ctypes, mmap
kept = []
for turn in range(3):
    nspr = ctypes.CDLL('libnspr4.so', mode=ctypes.RTLD_GLOBAL)
    find = ctypes.CDLL(None).PR_GetAddrInfoByName
    find.restype, find.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_uint16, ctypes.c_int)
    assert find(b'localhost', 0, 0x20)
    _ctypes.dlclose(nspr._handle)
    kept += [mmap.mmap(-1, 1 << 16) for _ in range(64)]
";
    let trace = Trace::of(&["/usr/bin/python3", "-c", script], &[]);
    assert_eq!((trace.code(), trace.calls("PR_GetAddrInfoByName")), (Some(0), 3), "{:?}", trace.output);
}

#[test]
fn a_fork_without_handlers_is_another_process() {
    let trace = Trace::python(
        "
child = nss._Fork()
if child == 0:
    nss.SECMOD_FindModule(b'none')
    os._exit(0)
os.waitpid(child, 0)
",
        &[],
    );
    let began: Vec<_> = trace.processes().iter().map(|process| process["began"].as_str().unwrap()).collect();
    assert_eq!((trace.code(), began), (Some(0), vec!["started", "forked"]), "{:#}", trace.report);
    assert_eq!(trace.processes()[1]["calls"], 1, "{:#}", trace.report);
}

#[test]
fn a_shell_of_an_unprivileged_process_does_not_mention_the_tracer() {
    assert!(rustix::process::geteuid().is_root(), "only root can drop its rights");
    let script = "os.setgid(65534); os.setuid(65534); sys.exit(os.system('echo from a shell'))";
    let trace = Trace::python(script, &[]);
    let output = &trace.output;
    assert_eq!(
        (trace.code(), output.stdout.as_slice(), output.stderr.as_slice()),
        (Some(0), &b"from a shell\n"[..], &b""[..]),
        "{output:?}"
    );
    assert!(trace.lost().contains("runs as somebody who may not load the tracer"), "{:#}", trace.report);
}

#[test]
fn a_trace_within_a_trace_follows_its_own_program() {
    let inner = Case::new();
    let report = inner.path("report");
    let (own, report, script) =
        (env!("CARGO_BIN_EXE_nssight"), report.to_str().unwrap(), format!("{NSS}nss.NSS_NoDB_Init(None)"));
    let traced =
        [own, "trace", "--format", "json", "--timeline", "--output", report, "--", "/usr/bin/python3", "-c", &script];
    let outer = Trace::of(&traced, &[]);
    let inner = Trace { report: read(&inner), output: outer.output.clone() };
    assert_eq!((outer.code(), inner.calls("NSS_NoDB_Init")), (Some(0), 1), "{:#}", inner.report);
    assert_eq!(outer.calls("NSS_NoDB_Init"), 0);
    assert!(outer.lost().contains("a program that a trace of its own follows"), "{}", outer.lost());
}

#[test]
fn signal_dispositions_are_the_same_as_without_tracing() {
    for ignored in ["PIPE HUP INT QUIT TERM USR1 CHLD", "''"] {
        let case = Case::new();
        let start = |program: &[&str]| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("trap '' {ignored} 2>/dev/null; exec \"$@\""), "sh"]).args(program);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let program = ["grep", "-E", "^Sig(Ign|Blk|Cgt)", "/proc/self/status"];
        let mut traced: Vec<_> = vec![env!("CARGO_BIN_EXE_nssight"), "trace", "--output"];
        let report = case.path("report");
        traced.extend([report.to_str().unwrap(), "--"]);
        traced.extend(program);
        assert_eq!(start(&traced), start(&program));
    }
}

/// A signal sent to the group reaches the program directly; a signal sent to nssight alone reaches it through nssight. Each arrives once.
#[test]
fn each_signal_comes_once() {
    let script = "
import signal, sys, time
count = 0
def hangup(*_):
    global count
    count += 1
    open(sys.argv[2], 'w').close()
def term(*_):
    sys.exit(10 + count)
signal.signal(signal.SIGHUP, hangup); signal.signal(signal.SIGTERM, term)
open(sys.argv[1], 'w').close()
while True: time.sleep(0.01)
";
    for to_all in [true, false] {
        let case = Case::new();
        let (ready, heard) = (case.path("ready"), case.path("heard"));
        let files = [&ready, &heard].map(|path| path.to_str().unwrap());
        let mut command = tracing(&case, &["/usr/bin/python3", "-c", script, files[0], files[1]], &[]);
        let mut child = command.process_group(0).stdin(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        wait_for(|| ready.exists());
        if to_all {
            kill_process_group(pid, Signal::HUP).unwrap();
        } else {
            kill_process(pid, Signal::HUP).unwrap();
        }
        // Python examines its signals in the order of their numbers: of two that arrive meanwhile, the second may be seen first.
        wait_for(|| heard.exists());
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(11), "to all: {to_all}");
    }
}
