//! `environment`: versions, policy, user, limits and clock of this host. It never fails; the other layers depend on it.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use nssight_diagnosis::derive::dates;
use nssight_diagnosis::fact::{Facts, Key, fact};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome};
use nssight_nss::{library, process};
use time::OffsetDateTime;

use crate::openssl_configuration::{self, Configuration};
use crate::walk::{Probe, Walk};

/// No other layer is needed: a broken configuration does not hide the state of the host.
pub const PROBE: Probe = Probe { layer: Layer::Environment, needs: &[], run };

/// Variables that change the behaviour of NSS, NSPR, the linker or the resolver. Their values are shown, since none of
/// them holds a secret.
const VARIABLES: &[&str] = &[
    "NSS_DEFAULT_DB_TYPE",
    "NSS_FIPS",
    "NSS_IGNORE_SYSTEM_POLICY",
    "NSS_STRICT_NOFORK",
    "NSS_SDB_USE_CACHE",
    "NSS_SSL_CBC_RANDOM_IV",
    "NSS_SSL_ENABLE_RENEGOTIATION",
    "NSS_SSL_REQUIRE_SAFE_NEGOTIATION",
    "NSS_SSL_SERVER_CACHE_SIZE",
    "NSS_ALLOW_WEAK_SIGNATURE_ALG",
    "NSS_HASH_ALG_SUPPORT",
    "NSS_MIN_MP_PBE_ITERATION_COUNT",
    "NSS_MAX_MP_PBE_ITERATION_COUNT",
    "NSS_ALLOW_LEGACY_DBM_ITERATION_COUNT",
    "NSPR_LOG_MODULES",
];

/// Variables that change the behaviour of either library, the linker or the resolver.
const COMMON_VARIABLES: &[&str] =
    &["SSLKEYLOGFILE", "LD_PRELOAD", "LD_LIBRARY_PATH", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS"];

/// The system-wide policy of Fedora and its derivatives.
const CRYPTO_POLICY: &str = "/etc/crypto-policies/state/current";
const CRYPTO_POLICY_NSS: &str = "/etc/crypto-policies/back-ends/nss.config";

fn run(walk: &mut Walk<'_>) -> Outcome {
    let is_of_files = walk.settings.target.as_ref().is_ok_and(|target| target.files().is_some());
    if is_of_files { with_openssl() } else { with_nss() }
}

/// Variables that change what OpenSSL trusts, allows or logs.
const OPENSSL_VARIABLES: &[&str] = &["OPENSSL_CONF", "OPENSSL_MODULES", "SSL_CERT_FILE", "SSL_CERT_DIR"];

fn with_openssl() -> Outcome {
    let mut notes = Notes::default();
    let version = nssight_openssl::version();
    notes.put(fact::OPENSSL_VERSION.text(version));
    note_variables(OPENSSL_VARIABLES, &mut notes);
    if let Some(policy) = first_line(CRYPTO_POLICY) {
        notes.put(fact::HOST_CRYPTO_POLICY.text(policy));
    }
    this_process(&mut notes);
    // OpenSSL cannot have been installed after the present time.
    let installed = fs::metadata(openssl_configuration::built_in()).ok().and_then(|meta| meta.modified().ok());
    let configuration = Configuration::read();
    let mut facts = Facts::default();
    configuration.facts(&mut facts);
    notes.extend(facts);
    match configuration.remark() {
        Some(remark) if configuration.leaves_nothing() => notes.fail(signal::TLS_CONFIGURATION_REMARK, remark),
        remark => clock(notes, installed, version.to_owned(), remark),
    }
}

fn with_nss() -> Outcome {
    let mut notes = Notes::default();
    notes.put(fact::NSS_VERSION.text(library::nss_version()));
    notes.put(fact::NSPR_VERSION.text(library::nspr_version()));
    if library::ssl_version() != library::nss_version() {
        let version = library::ssl_version();
        notes.put(fact::LIBSSL3_VERSION.text(format!("{version}, which is not NSS's own version")));
    }
    for (name, path) in library::paths() {
        notes.put(fact::NSS_LIBRARY.text(format!("{name}: {}", path.display())));
    }
    note_variables(VARIABLES, &mut notes);
    if let Some(policy) = first_line(CRYPTO_POLICY) {
        notes.put(fact::HOST_CRYPTO_POLICY.text(policy));
    }
    if Path::new(CRYPTO_POLICY_NSS).exists() {
        notes.put(fact::HOST_CRYPTO_POLICY_FILE.text(CRYPTO_POLICY_NSS));
    }
    this_process(&mut notes);
    // The file of the library cannot be newer than the present time.
    let installed = library::paths().into_iter().filter_map(|(_, path)| fs::metadata(path).ok()?.modified().ok()).max();
    clock(notes, installed, format!("NSS {}, NSPR {}", library::nss_version(), library::nspr_version()), None)
}

fn note_variables(names: &[&str], notes: &mut Notes) {
    for name in names.iter().chain(COMMON_VARIABLES) {
        if let Some(value) = std::env::var_os(name) {
            notes.put(fact::HOST_VARIABLE.text(format!("{name}={}", value.display())));
        }
    }
}

/// The kernel's information about this process (proc(5)).
fn this_process(notes: &mut Notes) {
    let status = read_small("/proc/self/status").unwrap_or_default();
    let wanted: [(&str, Key); 6] = [
        ("Uid", fact::PROCESS_UID),
        ("Gid", fact::PROCESS_GID),
        ("Groups", fact::PROCESS_GROUPS),
        ("CapEff", fact::PROCESS_CAPABILITIES),
        ("NoNewPrivs", fact::PROCESS_NO_NEW_PRIVS),
        ("Seccomp", fact::PROCESS_SECCOMP),
    ];
    for (field, key) in wanted {
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        if let Some(value) = value {
            notes.put(key.text(value.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    if let Some(label) = first_line("/proc/self/attr/current") {
        notes.put(fact::PROCESS_SECURITY_LABEL.text(label.trim_end_matches('\0')));
    }
    let limits = read_small("/proc/self/limits").unwrap_or_default();
    for (name, key) in
        [("Max open files", fact::PROCESS_MAX_OPEN_FILES), ("Max locked memory", fact::PROCESS_MAX_LOCKED_MEMORY)]
    {
        let values = limits.lines().find_map(|line| line.strip_prefix(name));
        if let Some(soft) = values.and_then(|values| values.split_whitespace().next()) {
            notes.put(key.text(soft));
        }
    }
}

/// A clock earlier than the day on which the library was in use cannot judge a certificate. `remark` is another remark,
/// if any.
fn clock(mut notes: Notes, installed: Option<SystemTime>, library: String, remark: Option<String>) -> Outcome {
    let now = OffsetDateTime::now_utc();
    notes.put(fact::CLOCK_NOW.number(now.unix_timestamp()));
    if let Some(synchronised) = process::clock_is_synchronised() {
        notes.put(if synchronised { fact::ClockSynchronised::Yes } else { fact::ClockSynchronised::No });
    }
    let installed = installed.map(|installed| OffsetDateTime::from(installed).unix_timestamp());
    let state = dates::clock(now.unix_timestamp(), installed);
    notes.put(state);
    match state {
        fact::ClockState::BeforeInstallation => {
            installed.into_iter().for_each(|installed| notes.put(fact::NSS_INSTALLED.number(installed)));
            let summary = format!("the clock shows {}, a time before the TLS library was installed", now.date());
            notes.warn(signal::HOST_REMARK, summary)
        }
        fact::ClockState::Plausible => match remark {
            Some(remark) => notes.warn(signal::TLS_CONFIGURATION_REMARK, remark),
            None => notes.pass(library),
        },
    }
}

fn first_line(path: &str) -> Option<String> {
    let text = read_small(path)?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Reads at most 64 KiB of a system file.
fn read_small(path: &str) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(64 * 1024).read_to_string(&mut text).ok()?;
    Some(text)
}
