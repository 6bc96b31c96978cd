//! The event of one call.

use core::fmt;

/// Bytes of text that an event has room for; longer text is cut.
pub const TEXT: usize = 8 * (crate::ring::WORDS - FIRST_OF_TEXT);
/// The number of words before the text.
const FIRST_OF_TEXT: usize = 10;

/// Declares the watched functions under their own names, and the numbers that stand for them in an event. Each row also
/// names the library and the purpose of the function.
macro_rules! functions {
    ($($library:ident $purpose:ident: $($name:ident)*;)*) => {
        /// A watched function, or another kind of event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[allow(non_camel_case_types, missing_docs, reason = "they are other libraries' names")]
        pub enum Function { $($($name,)*)* }

        impl Function {
            /// All functions; the number of each is its index.
            pub const ALL: &[Function] = &[$($(Function::$name,)*)*];

            /// Its name, as the library exports it.
            pub const fn name(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)*)* }
            }

            /// The library that exports it.
            pub const fn library(self) -> Library {
                match self { $($(Self::$name => Library::$library,)*)* }
            }

            /// Its purpose.
            pub const fn purpose(self) -> Purpose {
                match self { $($(Self::$name => Purpose::$purpose,)*)* }
            }
        }
    };
}

/// Where a function comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// libnss3
    Nss,
    /// libssl3
    Ssl,
    /// libnspr4
    Nspr,
    /// The C library
    System,
    /// A function of the program, called by NSS
    Program,
    /// No function: a note of the tracer itself
    Tracer,
}

/// The purpose of a function, which is also what has failed when the call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// NSS starts on a database
    Start,
    /// NSS ends
    End,
    /// A module is added to the database, or removed
    Module,
    /// A password is requested, given or tried
    Password,
    /// A certificate is looked up in the database
    Certificate,
    /// A private key is looked up, or signs
    Key,
    /// A name is looked up
    Name,
    /// A connection is made
    Connection,
    /// A TLS session is set up, used or ended; the handle identifies it
    Session,
    /// A process or thread begins, or is waited for
    Process,
    /// The process becomes another program
    Execute,
    /// Sockets in general, and what the tracer reports about a session's bytes
    Socket,
    /// Something that could not be followed
    Lost,
}

functions! {
    Nss Start: NSS_Init NSS_InitReadWrite NSS_Initialize NSS_InitWithMerge NSS_InitContext NSS_NoDB_Init;
    Nss End: NSS_Shutdown NSS_ShutdownContext;
    Nss Password: PK11_SetPasswordFunc PK11_Authenticate PK11_CheckUserPassword PK11_InitPin;
    Nss Certificate: PK11_FindCertFromNickname PK11_FindCertsFromNickname CERT_FindCertByNickname
        CERT_FindCertByNicknameOrEmailAddr CERT_FindUserCertByUsage;
    Nss Key: PK11_FindKeyByAnyCert PK11_FindPrivateKeyFromCert PK11_FindKeyByDERCert PK11_Sign PK11_SignWithMechanism;
    Nss Module: SECMOD_LoadModule SECMOD_LoadUserModule SECMOD_UnloadUserModule SECMOD_OpenUserDB SECMOD_CloseUserDB
        SECMOD_FindModule SECMOD_AddNewModule;
    Nss Process: SECMOD_RestartModules;
    Ssl Session: SSL_ImportFD SSL_OptionSet SSL_OptionSetDefault SSL_VersionRangeSet SSL_VersionRangeSetDefault SSL_SetURL
        SSL_GetClientAuthDataHook SSL_AuthCertificateHook SSL_BadCertHook SSL_HandshakeCallback SSL_AuthCertificate
        SSL_AuthCertificateComplete NSS_GetClientAuthData SSL_ForceHandshake SSL_ForceHandshakeWithTimeout
        SSL_ResetHandshake SSL_ReHandshake SSL_ConfigSecureServer SSL_ConfigServerCert;
    Nspr Connection: PR_Connect PR_ConnectContinue PR_GetConnectStatus;
    Nspr Session: PR_Accept PR_Read PR_Recv PR_Write PR_Send PR_Close PR_Shutdown PR_Poll;
    Nspr Name: PR_GetAddrInfoByName PR_GetHostByName;
    System Process: fork vfork posix_spawn posix_spawnp waitpid wait wait3 wait4 pthread_create;
    System Execute: execve execv execvp execvpe execveat fexecve execl execlp execle;
    System Connection: connect;
    System Socket: accept accept4 socketpair shutdown close;
    Program Password: password_callback;
    Program Session: client_auth_hook auth_certificate_hook bad_certificate_hook handshake_callback;
    Tracer Process: started forked;
    Tracer Socket: accepted wire_bytes wire_skipped wire_end chunk reply;
    Tracer Lost: lost;
}

impl Function {
    /// The function with this number.
    pub fn of_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The moment within a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The call is about to be forwarded; reported for calls that may wait.
    Enter,
    /// The call succeeded.
    Done,
    /// The call failed.
    Failed,
    /// No call: a note of the tracer.
    Note,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Enter, Self::Done, Self::Failed, Self::Note];
}

/// One event. What `handle`, `number`, `extra` and `text` mean depends on the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// What was called.
    pub function: Function,
    /// The moment within the call.
    pub phase: Phase,
    /// The number of watched calls around this one.
    pub depth: u8,
    /// What it returned.
    pub result: i64,
    /// NSPR's error, for a failed call of NSS, SSL or NSPR.
    pub error: i32,
    /// The system's error, for a failed call.
    pub os_error: i32,
    /// How long it took.
    pub took_ns: u64,
    /// A pointer that distinguishes objects, or 0.
    pub handle: u64,
    /// A descriptor, a length, an option, a process.
    pub number: i64,
    /// A second number of the same kinds.
    pub extra: i64,
    /// Bytes of `text` in use.
    pub length: u16,
    /// A name, an address or bytes of the wire.
    pub text: [u8; TEXT],
}

impl Event {
    /// An event whose other fields are not set yet.
    pub const fn new(function: Function, phase: Phase) -> Self {
        Self {
            at_ns: 0,
            pid: 0,
            tid: 0,
            function,
            phase,
            depth: 0,
            result: 0,
            error: 0,
            os_error: 0,
            took_ns: 0,
            handle: 0,
            number: 0,
            extra: 0,
            length: 0,
            text: [0; TEXT],
        }
    }

    /// The text in use.
    pub fn text(&self) -> &[u8] {
        self.text.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The words of a slot after the first, in order.
    pub fn words(&self) -> impl Iterator<Item = u64> + '_ {
        let kind = u64::from(self.function as u16)
            | u64::from(self.phase as u8) << 16
            | u64::from(self.depth) << 24
            | u64::from(self.length) << 32;
        let head = [
            self.at_ns,
            u64::from(self.pid) << 32 | u64::from(self.tid),
            kind,
            self.result as u64,
            u64::from(self.error as u32) << 32 | u64::from(self.os_error as u32),
            self.took_ns,
            self.handle,
            self.number as u64,
            self.extra as u64,
        ];
        let used = usize::from(self.length).div_ceil(8);
        let text = self.text.chunks_exact(8).take(used).map(|eight| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(eight);
            u64::from_le_bytes(bytes)
        });
        head.into_iter().chain(text)
    }

    /// The inverse of [`Event::words`]; `None` for words that no tracer of this version writes.
    pub fn of_words(words: &[u64; crate::ring::WORDS]) -> Option<Self> {
        let kind = words[3];
        let function = Function::of_number(kind as u16)?;
        let phase = *Phase::ALL.get(usize::from((kind >> 16) as u8))?;
        let length = (kind >> 32) as u16;
        if usize::from(length) > TEXT {
            return None;
        }
        let mut event = Self::new(function, phase);
        (event.at_ns, event.pid, event.tid) = (words[1], (words[2] >> 32) as u32, words[2] as u32);
        (event.depth, event.length, event.result) = ((kind >> 24) as u8, length, words[4] as i64);
        (event.error, event.os_error) = ((words[5] >> 32) as i32, words[5] as i32);
        (event.took_ns, event.handle) = (words[6], words[7]);
        (event.number, event.extra) = (words[8] as i64, words[9] as i64);
        for (eight, word) in event.text.chunks_exact_mut(8).zip(&words[FIRST_OF_TEXT..]) {
            eight.copy_from_slice(&word.to_le_bytes());
        }
        Some(event)
    }
}
