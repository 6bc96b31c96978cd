//! A configuration file: its content, and whether it is a configuration at all.

use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nssight_diagnosis::fact::fact::ConfigState;
use zeroize::Zeroizing;

use super::ConfigTrouble;
use crate::files;

/// A configuration has a page or two; nothing larger is read.
const CONFIG_AT_MOST: u64 = 1024 * 1024;

/// The content of a configuration file and its permission bits. Only a regular file of reasonable size is opened.
pub(crate) fn read_file(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), ConfigTrouble> {
    let shown = path.display();
    let trouble = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ConfigTrouble::of(ConfigState::Missing, format!("{shown} does not exist")),
        _ => ConfigTrouble::of(ConfigState::Unreadable, format!("{shown} cannot be read: {error}")),
    };
    let meta = files::within(path, files::PATIENCE, |path| std::fs::metadata(path)).map_err(trouble)?;
    if !meta.is_file() {
        let kind = if meta.is_dir() { "a directory" } else { "not a regular file" };
        // A user who has only a database meant to name it.
        let has = |name: &&str| !files::is_missing(&path.join(name));
        let is_database = meta.is_dir() && ["cert9.db", "cert8.db"].iter().any(has);
        return Err(if is_database {
            ConfigTrouble::usage(format!("{shown} is a directory with an NSS database: give it as --db {shown}"))
        } else {
            ConfigTrouble::invalid(format!("{shown} is {kind}: name a configuration file"))
        });
    }
    if meta.size() > CONFIG_AT_MOST {
        let summary =
            format!("{shown} has {} bytes; a configuration is at most {CONFIG_AT_MOST} bytes long", meta.size());
        return Err(ConfigTrouble::invalid(summary));
    }
    let bytes = files::within(path, files::PATIENCE, |path| {
        let file = files::regular(path)?;
        // Allocated at full size: a buffer that grows would leave copies of a password in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(CONFIG_AT_MOST).unwrap_or(0) + 1));
        file.take(CONFIG_AT_MOST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let bytes = bytes.map_err(trouble)?;
    if let Some(what) = mistaken(&bytes, path) {
        return Err(ConfigTrouble::usage(format!("{shown} is not a configuration but {what}")));
    }
    Ok((bytes, meta.permissions().mode() & 0o7777))
}

/// A file that belongs to an option other than -c, and that option.
fn mistaken(bytes: &[u8], path: &Path) -> Option<String> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let database = || format!("a file of an NSS database: give its directory as --db {}", directory.display());
    // Both byte orders of Berkeley DB's hash (db.h, HASHMAGIC).
    match bytes {
        [b'S', b'Q', b'L', b'i', b't', b'e', b' ', ..] => Some(database()),
        [0x00, 0x06, 0x15, 0x61, ..] | [0x61, 0x15, 0x06, 0x00, ..] => Some(database()),
        _ if bytes.starts_with(b"-----BEGIN ") => Some("a PEM file: give it as --cert, --key or --cacert".to_owned()),
        _ => None,
    }
}
