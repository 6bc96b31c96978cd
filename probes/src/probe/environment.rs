//! `environment`: versions, policy, user, limits and clock of this host. Never fails; it is what the others rest on.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nssight_nss::library;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::catalogue::Cause;
use crate::finding::{Notes, Outcome};
use crate::plan::Probe;
use crate::vocabulary::Layer;
use crate::walk::Walk;

/// Nothing is needed: a broken configuration does not hide the host.
pub const PROBE: Probe = Probe { layer: Layer::Environment, needs: &[], causes: &[Cause::ClockSkew], run };

/// Variables that change what NSS, NSPR or a Sigul client do. Values are shown; none of them holds a secret.
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
    "SSLKEYLOGFILE",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "RES_OPTIONS",
];

/// Where Fedora and its kin keep the system-wide policy.
const CRYPTO_POLICY: &str = "/etc/crypto-policies/state/current";
const CRYPTO_POLICY_NSS: &str = "/etc/crypto-policies/back-ends/nss.config";

fn run(_walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    notes.add("nss", library::nss_version());
    notes.add("nspr", library::nspr_version());
    if library::ssl_version() != library::nss_version() {
        notes.add("libssl3", format!("{}, which is not NSS's own version", library::ssl_version()));
    }
    for (name, path) in library::paths() {
        notes.add(format!("library {name}"), path.display());
    }
    for name in VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            notes.add(format!("${name}"), value.display());
        }
    }
    if let Some(policy) = first_line(CRYPTO_POLICY) {
        notes.add("crypto policy", policy);
    }
    if Path::new(CRYPTO_POLICY_NSS).exists() {
        notes.add("crypto policy for NSS", CRYPTO_POLICY_NSS);
    }
    process(&mut notes);
    clock(notes)
}

/// The kernel's word on this process (proc(5)).
fn process(notes: &mut Notes) {
    let status = read_small("/proc/self/status").unwrap_or_default();
    let wanted = [
        ("Uid", "uid (real effective saved fs)"),
        ("Gid", "gid (real effective saved fs)"),
        ("Groups", "groups"),
        ("CapEff", "capabilities"),
        ("NoNewPrivs", "no_new_privs"),
        ("Seccomp", "seccomp mode"),
    ];
    for (field, key) in wanted {
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        if let Some(value) = value {
            notes.add(key, value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    if let Some(label) = first_line("/proc/self/attr/current") {
        notes.add("security label", label.trim_end_matches('\0'));
    }
    let limits = read_small("/proc/self/limits").unwrap_or_default();
    for name in ["Max open files", "Max locked memory"] {
        let values = limits.lines().find_map(|line| line.strip_prefix(name));
        if let Some(soft) = values.and_then(|values| values.split_whitespace().next()) {
            notes.add(name.to_lowercase(), soft);
        }
    }
}

/// A clock that stands before the day this NSS was in use cannot judge a certificate.
fn clock(mut notes: Notes) -> Outcome {
    let now = OffsetDateTime::now_utc();
    notes.add("clock", now.format(&Rfc3339).unwrap_or_else(|_| now.to_string()));
    // The library's file cannot be younger than now.
    let installed = library::paths().into_iter().filter_map(|(_, path)| fs::metadata(path).ok()?.modified().ok()).max();
    match installed {
        Some(installed) if installed > SystemTime::now() + Duration::from_secs(24 * 3600) => {
            let installed = OffsetDateTime::from(installed).date();
            notes.add("NSS installed", installed);
            notes.warn(Cause::ClockSkew, format!("the clock says {}, before NSS itself was installed", now.date()))
        }
        _ => notes.pass(format!("NSS {}, NSPR {}", library::nss_version(), library::nspr_version())),
    }
}

fn first_line(path: &str) -> Option<String> {
    let text = read_small(path)?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// At most 64 KiB of a file of the system.
fn read_small(path: &str) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(64 * 1024).read_to_string(&mut text).ok()?;
    Some(text)
}
