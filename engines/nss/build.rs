//! Links NSPR, NSS and libssl3 of the system; `nss-sys` leaves out libnssutil3, which holds the policy functions.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without an answer from pkg-config, the linker searches its default directories, as `nss-sys` lets it do.
    if pkg_config::Config::new().atleast_version("3.80").probe("nss").is_err() {
        println!("cargo:warning=pkg-config does not know nss (>= 3.80): run `make deps`");
    }
    println!("cargo:rustc-link-lib=nssutil3");
}
