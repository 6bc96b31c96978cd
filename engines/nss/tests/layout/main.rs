//! Compares every declaration of the crate with the installed headers, by a C compiler, and with the installed libraries.
//!
//! The tables in `structs`, `constants` and `signatures` are checked by rustc against the Rust declarations and by cc
//! against the C ones; what a table omits is found by reading the sources.

mod compiler;
mod constants;
mod signatures;
mod sources;
mod structs;

use compiler::{check, complaint};

#[test]
fn structs_have_the_layout_of_the_headers() {
    check(&structs::assertions());
}

#[test]
fn constants_have_the_values_of_the_headers() {
    check(&constants::assertions());
}

#[test]
fn functions_have_the_signatures_of_the_headers() {
    check(&signatures::assignments());
}

#[test]
fn every_function_is_exported_by_the_installed_libraries() {
    // Calls into each of the four, so that the linker keeps them all.
    assert_eq!(nssight_nss::library::paths().len(), 4);
    let missing: Vec<&str> = signatures::names().filter(|name| !signatures::is_exported(name)).collect();
    assert_eq!(missing, [""; 0]);
    assert!(!signatures::is_exported("CERT_CreateVerifyLog"), "declared in cert.h, and never exported");
}

#[test]
fn no_declaration_is_left_out() {
    assert_eq!(sources::not_in(sources::declared_functions(), signatures::names()), [""; 0]);
    assert_eq!(sources::not_in(sources::called_functions(), signatures::names()), [""; 0]);
    assert_eq!(sources::not_in(sources::declared_structs(), structs::rust_names()), [""; 0]);
}

#[test]
fn the_sources_are_read_as_they_are() {
    let functions = sources::declared_functions();
    assert!(functions.iter().any(|name| name == "PK11_ImportDERPrivateKeyInfoAndReturnKey"), "{functions:?}");
    let calls = sources::called_functions();
    assert!(calls.iter().any(|name| name == "SSL_ImportFD"), "{calls:?}");
    assert!(sources::declared_structs().iter().any(|name| name == "NetAddr"), "a union counts");
    let constants = sources::declared_constants();
    for (name, value) in [
        ("NSS_INIT_READONLY", "0x1"),
        ("certificateUsageSSLCA", "0x0008"),
        ("SSL_ERROR_NO_CERTIFICATE", "-12285"),
        ("CERTDB_TRUSTED_CLIENT_CA", "0x80"),
    ] {
        assert!(constants.contains(&(name.to_owned(), value.to_owned())), "{name} = {value} in {constants:?}");
    }
    assert_eq!(sources::not_in(vec!["PK11_Sing".to_owned()], signatures::names()), ["PK11_Sing"]);
}

/// The checks prove something only if cc refuses wrong declarations.
#[test]
fn the_compiler_refuses_wrong_declarations() {
    let wrong = [
        ("a missing argument", "SECStatus (*f)(PK11SlotInfo *) = PK11_Authenticate;"),
        ("unsigned for signed", "unsigned int (*f)(SECKEYPrivateKey *) = PK11_SignatureLen;"),
        ("long for int", "long (*f)(SECKEYPrivateKey *) = PK11_SignatureLen;"),
        ("no const", "SECStatus (*f)(PK11SlotInfo *, char *) = PK11_CheckUserPassword;"),
        ("another struct", "void (*f)(CERTCertList *) = CERT_DestroyCertificate;"),
        ("no such function", "void (*f)(void) = PK11_NoSuchFunction;"),
        ("a wrong size", "_Static_assert(sizeof(SECItem) == 16, \"size\");"),
        ("a wrong offset", "_Static_assert(offsetof(SECItem, len) == 8, \"offset\");"),
        ("a wrong value", "_Static_assert((SEC_ERROR_BAD_DATABASE) == (-8173), \"value\");"),
    ];
    for (what, source) in wrong {
        assert!(complaint(source).is_some(), "cc accepts {what}: {source}");
    }
    let right = "SECStatus (*f)(PK11SlotInfo *, PRBool, void *) = PK11_Authenticate;";
    assert_eq!(complaint(right), None);
}
