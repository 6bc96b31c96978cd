//! Every struct that is read or filled in Rust: its size, and the offset and size of each field.

use std::mem::{offset_of, size_of};

use nss_sys::cert::{CERTCertList, CERTCertListNode, CERTCertTrust, CERTCertificate};
use nss_sys::nspr::{PRCList, PRFileDesc, PRIOMethods};
use nss_sys::{SECItem, SSLVersionRange};
use nssight_nss::ffi::{
    CERTDistNames, CERTVerifyLog, CERTVerifyLogNode, NetAddr, NetAddrInet, PK11SlotListElement, SSLAlert,
    SSLChannelInfo, SSLCipherSuiteInfo, SocketOption, SocketOptionValue,
};

/// A struct as Rust declares it.
struct Layout {
    rust: &'static str,
    /// The type in C; an expression for types without a name in C.
    c: &'static str,
    /// Whether Rust declares all of it. Otherwise only the first fields: NSS allocates the struct, or is given its size.
    whole: bool,
    size: usize,
    fields: Vec<(&'static str, usize, usize)>,
}

fn size_behind<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

fn size_in_union<S, F>(_: fn(*const S) -> *const F) -> usize {
    size_of::<F>()
}

macro_rules! layouts {
    ($($extent:ident $kind:ident $rust:ident = $c:literal { $($field:ident),* $(,)? })+) => {
        vec![$(Layout {
            rust: stringify!($rust),
            c: $c,
            whole: stringify!($extent) == "whole",
            size: size_of::<$rust>(),
            fields: vec![$((stringify!($field), offset_of!($rust, $field), layouts!(@size $kind $rust $field))),*],
        }),+]
    };
    (@size record $rust:ident $field:ident) => { size_behind::<$rust, _>(|record| &record.$field) };
    // SAFETY: only the address of the field is taken, and the function is never called.
    (@size choice $rust:ident $field:ident) => { size_in_union::<$rust, _>(|choice| unsafe { &raw const (*choice).$field }) };
}

fn layouts() -> Vec<Layout> {
    layouts! {
        whole record SECItem = "SECItem" { type_, data, len }
        whole record PRCList = "PRCList" { next, prev }
        whole record CERTCertList = "CERTCertList" { list, arena }
        whole record CERTCertListNode = "CERTCertListNode" { links, cert, appData }
        whole record CERTCertTrust = "CERTCertTrust" { sslFlags, emailFlags, objectSigningFlags }
        whole record SSLVersionRange = "SSLVersionRange" { min, max }
        whole record PRFileDesc = "PRFileDesc" { methods, secret, lower, higher, dtor, identity }
        whole record PRIOMethods = "PRIOMethods" {
            file_type, close, read, write, available, available64, fsync, seek, seek64, fileInfo, fileInfo64, writev,
            connect, accept, bind, listen, shutdown, recv, send, recvfrom, sendto, poll, acceptread, transmitfile,
            getsockname, getpeername, reserved_fn_6, reserved_fn_5, getsocketoption, setsocketoption, sendfile,
            connectcontinue, reserved_fn_3, reserved_fn_2, reserved_fn_1, reserved_fn_0,
        }
        part record CERTCertificate = "CERTCertificate" {
            arena, subjectName, issuerName, signatureWrap, derCert, derIssuer, derSubject, derPublicKey, certKey, version,
            serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, issuerID, subjectID, extensions,
            emailAddr, dbhandle, subjectKeyID, keyIDGenerated, keyUsage, rawKeyUsage, keyUsagePresent, nsCertType,
            keepSession, timeOK, domainOK, isperm, istemp, nickname, dbnickname, nssCertificate, trust, referenceCount,
            subjectList, authKeyID, isRoot, options, series, slot, pkcs11ID, ownSlot,
        }
        part record PK11SlotListElement = "PK11SlotListElement" { next, prev, slot }
        whole record CERTDistNames = "CERTDistNames" { arena, nnames, names, head }
        whole record CERTVerifyLogNode = "CERTVerifyLogNode" { cert, error, depth, arg, next, prev }
        whole record CERTVerifyLog = "CERTVerifyLog" { arena, count, head, tail }
        whole record SSLAlert = "SSLAlert" { level, description }
        part record SSLChannelInfo = "SSLChannelInfo" {
            length, protocolVersion, cipherSuite, authKeyBits, keaKeyBits, creationTime, lastAccessTime, expirationTime,
            sessionIDLength, sessionID, compressionMethodName,
        }
        part record SSLCipherSuiteInfo = "SSLCipherSuiteInfo" { length, cipherSuite, cipherSuiteName }
        whole choice NetAddr = "PRNetAddr" { inet }
        whole record NetAddrInet = "__typeof__(((PRNetAddr *)0)->inet)" { family, port, ip, pad }
        whole record SocketOption = "PRSocketOptionData" { option, value }
        whole choice SocketOptionValue = "__typeof__(((PRSocketOptionData *)0)->value)" { non_blocking }
    }
}

pub(crate) fn rust_names() -> impl Iterator<Item = &'static str> {
    layouts().into_iter().map(|layout| layout.rust)
}

pub(crate) fn assertions() -> String {
    let mut source = String::new();
    for Layout { rust, c, whole, size, fields } in layouts() {
        let relation = if whole { "==" } else { ">=" };
        source += &format!("_Static_assert(sizeof({c}) {relation} {size}, \"size of {rust}\");\n");
        for (field, offset, size) in fields {
            // `type` is a keyword of Rust.
            let field = field.trim_end_matches('_');
            source += &format!("_Static_assert(offsetof({c}, {field}) == {offset}, \"offset of {rust}.{field}\");\n");
            source += &format!("_Static_assert(sizeof((({c} *)0)->{field}) == {size}, \"size of {rust}.{field}\");\n");
        }
    }
    source
}
