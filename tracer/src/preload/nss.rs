//! libnss3: databases, passwords, certificates, keys, modules. Signatures as in nss.h, pk11pub.h, cert.h and secmod.h.

use core::ffi::{c_char, c_int, c_ulong, c_void};

use super::call::forward;

/// A pointer that is passed on and never dereferenced.
type Opaque = *mut c_void;

fn no(status: c_int) -> bool {
    status != 0
}

fn null(pointer: Opaque) -> bool {
    pointer.is_null()
}

forward! {
    Nss fn NSS_Init(dir: *const c_char) -> c_int = -1, fails no; |call| {
        // SAFETY: a C string or null, by the function's contract; so are all texts below.
        unsafe { call.text(dir) };
        call.waits();
    }
    Nss fn NSS_InitReadWrite(dir: *const c_char) -> c_int = -1, fails no; |call| {
        // SAFETY: as above.
        unsafe { call.text(dir) };
        call.waits();
    }
    Nss fn NSS_NoDB_Init(dir: *const c_char) -> c_int = -1, fails no; |call| { call.waits() }
    Nss fn NSS_Initialize(dir: *const c_char, cert: *const c_char, key: *const c_char, secmod: *const c_char, flags: u32)
        -> c_int = -1, fails no; |call| {
        // SAFETY: as above.
        unsafe { call.text(dir) };
        call.number(flags);
        call.waits();
    }
    Nss fn NSS_InitWithMerge(dir: *const c_char, cert: *const c_char, key: *const c_char, secmod: *const c_char,
        update: *const c_char, update_cert: *const c_char, update_key: *const c_char, id: *const c_char,
        name: *const c_char, flags: u32) -> c_int = -1, fails no; |call| {
        // SAFETY: as above.
        unsafe { call.text(dir) };
        call.number(flags);
        call.waits();
    }
    Nss fn NSS_InitContext(dir: *const c_char, cert: *const c_char, key: *const c_char, secmod: *const c_char,
        parameters: Opaque, flags: u32) -> Opaque = core::ptr::null_mut(), fails null; |call| {
        // SAFETY: as above.
        unsafe { call.text(dir) };
        call.number(flags);
        call.waits();
    }
    Nss fn NSS_Shutdown() -> c_int = -1, fails no; |call| { call.waits() }
    Nss fn NSS_ShutdownContext(context: Opaque) -> c_int = -1, fails no; |call| { call.waits() }
    Nss fn PK11_Authenticate(slot: Opaque, load: c_int, window: Opaque) -> c_int = -1, fails no; |call| {
        call.handle(slot);
        call.waits();
    }
    Nss fn PK11_CheckUserPassword(slot: Opaque, password: *const c_char) -> c_int = -1, fails no; |call| {
        call.handle(slot);
        call.waits();
    }
    Nss fn PK11_InitPin(slot: Opaque, officer: *const c_char, user: *const c_char) -> c_int = -1, fails no; |call| {
        call.handle(slot);
        call.waits();
    }
    Nss fn PK11_FindCertFromNickname(nickname: *const c_char, window: Opaque) -> Opaque = core::ptr::null_mut(),
        fails null; |call| {
        // SAFETY: as above.
        unsafe { call.text(nickname) };
        call.waits();
    }
    Nss fn PK11_FindCertsFromNickname(nickname: *const c_char, window: Opaque) -> Opaque = core::ptr::null_mut(),
        fails null; |call| {
        // SAFETY: as above.
        unsafe { call.text(nickname) };
        call.waits();
    }
    Nss fn CERT_FindCertByNickname(database: Opaque, nickname: *const c_char) -> Opaque = core::ptr::null_mut(),
        fails null; |call| {
        // SAFETY: as above.
        unsafe { call.text(nickname) };
        call.waits();
    }
    Nss fn CERT_FindCertByNicknameOrEmailAddr(database: Opaque, nickname: *const c_char) -> Opaque
        = core::ptr::null_mut(), fails null; |call| {
        // SAFETY: as above.
        unsafe { call.text(nickname) };
        call.waits();
    }
    Nss fn CERT_FindUserCertByUsage(database: Opaque, nickname: *const c_char, usage: c_int, valid: c_int, window: Opaque)
        -> Opaque = core::ptr::null_mut(), fails null; |call| {
        // SAFETY: as above.
        unsafe { call.text(nickname) };
        call.waits();
    }
    Nss fn PK11_FindKeyByAnyCert(certificate: Opaque, window: Opaque) -> Opaque = core::ptr::null_mut(), fails null;
        |call| { call.waits() }
    Nss fn PK11_FindPrivateKeyFromCert(slot: Opaque, certificate: Opaque, window: Opaque) -> Opaque
        = core::ptr::null_mut(), fails null; |call| { call.waits() }
    Nss fn PK11_FindKeyByDERCert(slot: Opaque, certificate: Opaque, window: Opaque) -> Opaque = core::ptr::null_mut(),
        fails null; |call| { call.waits() }
    Nss fn PK11_Sign(key: Opaque, signature: Opaque, hash: Opaque) -> c_int = -1, fails no; |call| { call.waits() }
    Nss fn PK11_SignWithMechanism(key: Opaque, mechanism: c_ulong, parameters: Opaque, signature: Opaque, hash: Opaque)
        -> c_int = -1, fails no; |call| { call.waits() }
    Nss fn SECMOD_LoadModule(specification: *const c_char, parent: Opaque, recurse: c_int) -> Opaque
        = core::ptr::null_mut(), fails null; |call| { call.waits() }
    Nss fn SECMOD_LoadUserModule(specification: *const c_char, parent: Opaque, recurse: c_int) -> Opaque
        = core::ptr::null_mut(), fails null; |call| { call.waits() }
    Nss fn SECMOD_UnloadUserModule(module: Opaque) -> c_int = -1, fails no; |call| { call.waits() }
    Nss fn SECMOD_RestartModules(force: c_int) -> c_int = -1, fails no; |call| {
        call.number(force);
        call.waits();
    }
    Nss fn SECMOD_OpenUserDB(specification: *const c_char) -> Opaque = core::ptr::null_mut(), fails null;
        |call| { call.waits() }
    Nss fn SECMOD_CloseUserDB(slot: Opaque) -> c_int = -1, fails no; |call| { call.waits() }
    Nss fn SECMOD_FindModule(name: *const c_char) -> Opaque = core::ptr::null_mut(), fails null; |call| {
        // SAFETY: as above.
        unsafe { call.text(name) };
    }
    Nss fn SECMOD_AddNewModule(name: *const c_char, library: *const c_char, mechanisms: c_ulong, ciphers: c_ulong)
        -> c_int = -1, fails no; |call| {
        // SAFETY: as above.
        unsafe { call.text(name) };
        call.waits();
    }
}
