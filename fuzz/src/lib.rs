//! What the targets for databases share.

use std::sync::LazyLock;
use std::time::Duration;

use nssight_nssdb::{Database, Format, Inventory};
use tempfile::TempDir;

/// In memory, where there is such a place.
static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| {
    let builder = tempfile::Builder::new();
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).expect("a directory")
});

/// Reads these bytes as both files of a database, and does everything with it that can be done. The corpus has the password
/// "pw".
pub fn database(format: Format, bytes: &[u8]) {
    let directory = DIRECTORY.path();
    for name in [format.certificate_file(), format.key_file()] {
        std::fs::write(directory.join(name), bytes).expect("written");
    }
    let _ = Inventory::of(directory);
    let Ok(database) = Database::open(directory, format) else { return };
    let _ = database.pairing();
    for certificate in &database.certificates {
        let _ = (certificate.certutil_letters(), certificate.issuer_and_serial(), certificate.subject());
    }
    if let Ok(unlocked) = database.unlock(b"pw") {
        let _ = unlocked.verify_signatures(Duration::from_millis(50));
        for key in database.private_keys.iter().take(1) {
            let _ = unlocked.private_key(key);
        }
    }
}
