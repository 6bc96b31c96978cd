//! Builds the tracer's library, which the binary carries inside itself.
//!
//! Cargo cannot hand the file of one package to another's build on a stable toolchain, so the compiler is called here, once,
//! for a crate without dependencies.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let source = root.join("tracer/src");
    println!("cargo:rerun-if-changed={}", source.display());
    println!("cargo:rerun-if-changed=build.rs");
    let library = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("libnssight_tracer.so");
    compile(&source.join("lib.rs"), &library);
    println!("cargo:rustc-env=NSSIGHT_TRACER={}", library.display());
}

fn compile(source: &Path, library: &Path) {
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets it"));
    rustc.args(["--edition", "2024", "--crate-name", "nssight_tracer", "--crate-type", "cdylib"]);
    rustc.args(["--cfg", "feature=\"preload\"", "--cap-lints", "warn"]);
    // Whole-program optimisation leaves the standard library's unwinding behind, which nothing here needs.
    rustc.args(["-C", "opt-level=2", "-C", "panic=abort", "-C", "lto=fat", "-C", "strip=symbols"]);
    rustc.args(["-C", "link-arg=-Wl,-z,defs", "-C", "link-arg=-Wl,-z,now"]);
    rustc.arg("--target").arg(env::var_os("TARGET").expect("cargo sets it"));
    // For another machine, whoever builds has told cargo what links for it.
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    rustc.arg("-o").arg(library).arg(source);
    let status = rustc.status().expect("the compiler that builds nssight runs");
    assert!(status.success(), "the tracer's library could not be built");
}
