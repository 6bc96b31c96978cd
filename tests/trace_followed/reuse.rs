//! The fate of a trace's library and ring when nssight has ended: another process may get its process number, and must not be able to plant
//! files under its old descriptors.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use nssight_tracer::ring::BYTES;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::*;

/// The library of a process that got the number. It records the user number of any process that loads it.
const STRANGER: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
    int mark = open(MARK, O_WRONLY | O_CREAT | O_APPEND, 0666);
    dprintf(mark, "%d\n", (int)geteuid());
    close(mark);
}
"#;

/// The traced program: it outlives nssight, and then executes others in every way.
const DAEMON: &str = "
import ctypes, os, platform, sys, time
place, how = sys.argv[1:]
path = lambda name: os.path.join(place, name)
if how == 'ended' and os.fork(): os._exit(0)
open(path('ready'), 'w').close()
while not os.path.exists(path('go')): time.sleep(0.005)
output, errors = (os.open(path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in ('printed', 'said'))
os.dup2(output, 1); os.dup2(errors, 2)
def raw():
    words = (ctypes.c_char_p * 2)(b'true')
    c = ctypes.CDLL(None)
    c.syscall(59 if platform.machine() == 'x86_64' else 221, b'/bin/true', words, ctypes.c_void_p.in_dll(c, 'environ'))
ways = (lambda: os.execv('/usr/bin/env', ['env']), lambda: os.execve('/usr/bin/env', ['env'], dict(os.environ)),
        lambda: os.execlp('sh', 'sh', '-c', 'env; env'), lambda: os.system('env'), raw)
for way in ways:
    child = os.fork()
    if child == 0:
        way()
        os._exit(0)
    os.waitpid(child, 0)
os.posix_spawn('/usr/bin/env', ['env'], os.environ)
os.wait()
os.rename(path('printed'), path('done'))
";

/// As process 1 of a namespace: runs nssight, ends it, and gives its number to an unprivileged process.
const NAMESPACE: &str = "
import os, signal, subprocess, sys, time
nssight, daemon, place, library, how = sys.argv[1:]
path = lambda name: os.path.join(place, name)
def come(name):
    until = time.monotonic() + 20
    while not os.path.exists(path(name)):
        if time.monotonic() > until: sys.exit(name + ' did not come')
        time.sleep(0.005)
command = [nssight, 'trace', '--output', path('report'), '--', '/usr/bin/python3', '-c', daemon, place, how]
tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL)
come('ready')
if how == 'killed': tracer.kill()
tracer.wait()
for turn in range(1000):
    with open('/proc/sys/kernel/ns_last_pid', 'w') as last: last.write(str(tracer.pid - 1))
    child = os.fork()
    if child == 0:
        if os.getpid() != tracer.pid: os._exit(1)
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        stolen = os.open(library, os.O_RDONLY)
        for number in range(3, 30):
            if number != stolen: os.dup2(stolen, number)
        open(path('stolen'), 'w').close()
        while True: signal.pause()
    if child == tracer.pid: break
    os.waitpid(child, 0)
else:
    sys.exit('nobody got the number')
come('stolen')
open(path('go'), 'w').close()
come('done')
os.kill(child, signal.SIGKILL)
";

#[test]
fn nothing_is_loaded_from_a_process_that_reuses_the_number_of_nssight() {
    assert!(rustix::process::geteuid().is_root(), "only root can make a namespace and drop its rights");
    for how in ["ended", "killed"] {
        let case = Case::new();
        let (place, source, library) =
            (case.path("place"), case.file("stranger.c", STRANGER), case.path("stranger.so"));
        fs::create_dir(&place).unwrap();
        for (path, mode) in [(case.dir.path(), 0o755), (&place, 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mark = place.join("mark");
        let mut compiler = Command::new("gcc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(format!("-DMARK={mark:?}")).arg(source);
        assert!(compiler.status().expect("gcc must be installed (make deps)").success());

        let mut command = Command::new("unshare");
        // With a separate /run: from inside the namespace, nobody can see which other processes use the files of other tests.
        let own_run = "mount -t tmpfs -o mode=0755 own /run && exec \"$@\"";
        command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", own_run, "sh"]);
        command.args(["/usr/bin/python3", "-c", NAMESPACE]);
        command.args([env!("CARGO_BIN_EXE_nssight"), DAEMON]).arg(&place).arg(&library).arg(how);
        let output = command.output().expect("util-linux must be installed");
        assert!(output.status.success(), "{how}: {output:?}");
        let loaded = fs::read_to_string(&mark).unwrap_or_default();
        assert_eq!(loaded, "", "{how}: users whose programs loaded it");
        // Programs that the survivor executes do not mention the tracer, and none reports that it is missing.
        let printed = fs::read_to_string(place.join("done")).unwrap();
        assert!(printed.matches("PATH=").count() >= 6, "{how}: {printed}");
        assert!(!printed.contains("LD_PRELOAD") && !printed.contains(&format!("{VARIABLE}=")), "{how}: {printed}");
        assert_eq!(fs::read_to_string(place.join("said")).unwrap(), "", "{how}");
        if how == "ended" {
            let report = fs::read_to_string(place.join("report")).unwrap();
            assert!(report.contains("is still running"), "{report}");
        }
    }
}

/// Runs a program whose variable claims that a file is the ring, and returns its output.
fn with_ring(file: &File, place: &Place, reader: &Reader) -> Output {
    let variable = place.variable(reader).unwrap();
    let status = file.metadata().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let (_, library_is) = variable.match_indices(':').nth(2).map(|(at, _)| variable.split_at(at)).unwrap();
    let variable = format!("{path}:{}:{}{library_is}", status.dev(), status.ino());
    let mut command = Command::new("/bin/echo");
    command.arg("unharmed").env("LD_PRELOAD", place.library()).env(VARIABLE, variable);
    command.output().unwrap()
}

/// A file taken for the ring because of its number alone would either end the program or receive its events.
#[test]
fn only_a_file_with_length_seals_and_owner_of_the_ring_is_accepted() {
    assert!(rustix::process::geteuid().is_root(), "only root can give a file away");
    let place = Place::new(&fs::read(env!("NSSIGHT_TRACER")).unwrap()).unwrap();
    let reader = Reader::new().unwrap();
    let unharmed = |file: &File| {
        let output = with_ring(file, &place, &reader);
        assert_eq!(
            (output.status.code(), output.stdout.as_slice(), output.stderr.as_slice()),
            (Some(0), &b"unharmed\n"[..], &b""[..]),
            "{output:?}"
        );
    };
    let contents = File::from(reader.descriptor().try_clone_to_owned().unwrap());
    let head = |file: &File| {
        let mut head = [0; 4096];
        contents.read_exact_at(&mut head, 0).unwrap();
        file.write_all_at(&head, 0).unwrap();
    };
    unharmed(&tempfile::tempfile_in("/dev/shm").unwrap());

    // The same length and content, but the file could be truncated at any moment.
    let unsealed = File::from(memfd_create("unsealed", MemfdFlags::ALLOW_SEALING).unwrap());
    unsealed.set_len(BYTES as u64).unwrap();
    head(&unsealed);
    unharmed(&unsealed);
    assert_eq!(events(&unsealed), 0);

    let sealed = |owner: Option<u32>| {
        let file = File::from(memfd_create("sealed", MemfdFlags::ALLOW_SEALING).unwrap());
        file.set_len(BYTES as u64).unwrap();
        head(&file);
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
        std::os::unix::fs::fchown(&file, owner, None).unwrap();
        unharmed(&file);
        events(&file)
    };
    assert_eq!(sealed(Some(65534)), 0);
    // Nothing else was wrong with the file.
    assert!(sealed(None) > 0);
}

/// The number of events written into a ring: the head is in its second line.
fn events(file: &File) -> u64 {
    let mut head = [0; 8];
    file.read_exact_at(&mut head, 64).unwrap();
    u64::from_ne_bytes(head)
}

/// The directory stays for a program that outlives nssight, and is removed when the next trace finds no process using it.
#[test]
fn the_library_stays_for_survivors_and_is_removed_after_them() {
    let case = Case::new();
    let (name, go) = (case.path("name"), case.path("go"));
    let script = format!(
        "
import os, sys, time
if os.fork():
    while not os.path.exists({name:?}): time.sleep(0.005)
    os._exit(0)
os.setsid()
with open({name:?} + '.new', 'w') as name: name.write(os.environ['LD_PRELOAD'])
os.rename({name:?} + '.new', {name:?})
while not os.path.exists({go:?}): time.sleep(0.005)
"
    );
    let output = tracing(&case, &["/usr/bin/python3", "-c", &script], &[]).stdout(Stdio::null()).status().unwrap();
    assert!(output.success());
    let library = PathBuf::from(fs::read_to_string(&name).unwrap());
    let directory = library.parent().unwrap();
    let status = fs::metadata(directory).unwrap();
    assert_eq!((status.uid(), status.mode() & 0o777), (rustix::process::geteuid().as_raw(), 0o700));
    assert!(library.exists());
    let report = read(&case);
    assert!(report["lost"].to_string().contains("programs that it executes run without the library"), "{report:#}");

    // Another trace leaves it alone as long as a process uses it.
    assert_eq!(Trace::of(&["true"], &[]).code(), Some(0));
    assert!(library.exists());
    fs::write(go, "").unwrap();
    // The last output of a process is not its end: only the kernel knows when it has released the library.
    wait_for(|| {
        assert_eq!(Trace::of(&["true"], &[]).code(), Some(0));
        !directory.exists()
    });
}

/// Runs an unprivileged program in a separate file system prepared by `prepare`, and returns the report and `LD_PRELOAD`.
fn elsewhere(prepare: &str, user: &str) -> (Value, String) {
    let case = Case::new();
    fs::set_permissions(case.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let own = case.path("nssight");
    common::copy_nssight(&own);
    let inner = format!("{NSS}nss.NSS_NoDB_Init(None); print(os.environ['LD_PRELOAD'])");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{prepare}\nexec setpriv {user} \"$@\""), "sh"]).arg(own);
    command.args(["trace", "--format", "json", "--timeline", "--output"]).arg(case.path("report"));
    command.args(["--", "/usr/bin/python3", "-c", &inner]);
    let output = command.output().expect("util-linux must be installed");
    assert!(output.status.success(), "{output:?}");
    (read(&case), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_directory_is_chosen_that_is_safe_and_allows_execution() {
    assert!(rustix::process::geteuid().is_root(), "only root can mount, and drop its rights");
    const NOBODY: &str = "--reuid 65534 --regid 65534 --clear-groups";
    const OWN: &str = "mount -t tmpfs -o mode=0700,uid=65534 own /mnt; export XDG_RUNTIME_DIR=/mnt";
    for (prepare, user, place) in [
        ("mount -t tmpfs -o mode=0755 own /run", "", "/run/"),
        ("mount -t tmpfs -o mode=0755,noexec own /run", "", "/var/cache/"),
        ("mount -t tmpfs -o mode=0777 own /run", "", "/var/cache/"),
        (OWN, NOBODY, "/mnt/"),
        // Of a user who has become root with it.
        (OWN, "", "/run/"),
        ("export XDG_RUNTIME_DIR=/run", NOBODY, "/dev/shm/"),
        ("mount -t tmpfs -o mode=0700,uid=65534 own /mnt; export XDG_CACHE_HOME=/mnt", NOBODY, "/mnt/"),
        ("mount -t tmpfs -o mode=1777,noexec own /dev/shm; unset XDG_RUNTIME_DIR", NOBODY, "/tmp/"),
    ] {
        let (report, preload) = elsewhere(prepare, user);
        assert!(preload.starts_with(place), "{prepare} {user}: {preload}");
        let timeline = report["timeline"].to_string();
        assert!(timeline.contains("NSS_NoDB_Init"), "{prepare} {user}: {report:#}");
    }
}
