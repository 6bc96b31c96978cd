//! Runs the C compiler over a few lines of C, against the installed headers.

use std::io::Write;
use std::process::{Command, Stdio};

const HEADERS: &[&str] = &[
    "stddef.h",
    "nspr.h",
    "prio.h",
    "prerr.h",
    "prerror.h",
    "plarena.h",
    "pk11sdr.h",
    "nss.h",
    "nssutil.h",
    "cert.h",
    "certdb.h",
    "keyhi.h",
    "pk11pub.h",
    "pk11sdr.h",
    "secerr.h",
    "secitem.h",
    "secmod.h",
    "secoid.h",
    "secport.h",
    "ssl.h",
    "sslerr.h",
    "sslt.h",
];

/// Fails the test with the compiler's messages, if there are any.
pub(crate) fn check(source: &str) {
    if let Some(complaint) = complaint(source) {
        panic!("the installed headers of NSS say otherwise:\n{complaint}");
    }
}

/// What the compiler objects to.
pub(crate) fn complaint(source: &str) -> Option<String> {
    let includes: String = HEADERS.iter().map(|header| format!("#include <{header}>\n")).collect();
    let strict = ["-std=gnu11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"];
    let mut cc = Command::new("cc")
        .args(strict)
        .args(header_paths())
        .args(["-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cc is needed (Debian: gcc)");
    let mut stdin = cc.stdin.take().expect("a pipe");
    stdin.write_all(format!("{includes}\n{source}\n").as_bytes()).expect("cc reads its input");
    drop(stdin);
    let output = cc.wait_with_output().expect("cc ends");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `-isystem`, so that only our lines are judged, not the headers' own style.
fn header_paths() -> Vec<String> {
    let output = Command::new("pkg-config").args(["--cflags-only-I", "nss", "nspr"]).output();
    let output = output.expect("pkg-config is needed (Debian: pkg-config)");
    assert!(output.status.success(), "the headers of NSS and NSPR are needed (Debian: libnss3-dev, libnspr4-dev)");
    let flags = String::from_utf8_lossy(&output.stdout);
    flags
        .split_whitespace()
        .filter_map(|flag| flag.strip_prefix("-I"))
        .flat_map(|path| ["-isystem".into(), path.into()])
        .collect()
}
