//! The environment of a process that may change NSS's behaviour.

use std::collections::BTreeMap;
use std::fs;

/// Lines of /proc/PID/status that matter here (proc(5)).
const STATUS: [&str; 12] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "NoNewPrivs",
    "Seccomp",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "Threads",
];
/// Prefixes of the variables that NSS and NSPR read.
const VARIABLES: [&str; 4] = ["NSS_", "NSPR_", "SSL", "SQLITE_"];
/// Values longer than this are truncated: a line must stay below PIPE_BUF.
const VALUE_AT_MOST: usize = 80;

/// Ids (real, effective, saved, file system), groups, capabilities, security label, seccomp, limits, namespaces, open
/// descriptors, signal masks, and the environment variables that NSS reads.
pub(super) fn of_this_process() -> BTreeMap<String, String> {
    let mut context = BTreeMap::new();
    let mut add = |name: String, value: &str| {
        let value: String =
            value.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(VALUE_AT_MOST).collect();
        context.insert(name, value);
    };
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    for (name, value) in status.lines().filter_map(|line| line.split_once(':')) {
        if STATUS.contains(&name) {
            add(name.to_owned(), value);
        }
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    for name in ["Max open files", "Max locked memory", "Max processes", "Max address space"] {
        if let Some(value) = limits.lines().find_map(|line| line.strip_prefix(name)) {
            add(name.to_owned(), value);
        }
    }
    for name in ["mnt", "net", "pid", "user"] {
        if let Ok(link) = fs::read_link(format!("/proc/self/ns/{name}")) {
            add(format!("namespace {name}"), &link.to_string_lossy());
        }
    }
    if let Ok(label) = fs::read_to_string("/proc/self/attr/current") {
        add("security label".to_owned(), label.trim_end_matches('\0'));
    }
    add("descriptors".to_owned(), &descriptors());
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if VARIABLES.iter().any(|start| name.starts_with(start)) {
            add(name.into_owned(), &value.to_string_lossy());
        }
    }
    context
}

/// Number of open descriptors of each kind.
fn descriptors() -> String {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = match target.split_once(':') {
            Some((kind, _)) if !target.starts_with('/') => kind.to_owned(),
            _ if target.starts_with("/proc") => continue,
            _ if target.starts_with("/dev") => "device".to_owned(),
            _ => "file".to_owned(),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_context_of_this_process_is_found() {
        let context = super::of_this_process();
        for name in ["Uid", "Gid", "CapEff", "NoNewPrivs", "SigBlk", "Max open files", "namespace mnt", "descriptors"] {
            assert!(context.get(name).is_some_and(|value| !value.is_empty()), "{name}: {context:?}");
        }
        assert!(context.values().all(|value| value.chars().count() <= super::VALUE_AT_MOST));
    }
}
