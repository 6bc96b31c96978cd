//! A client's key on a SoftHSM token.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nssight_fixtures::authority::Identity;
use nssight_fixtures::nssdb::DbFormat;

use crate::Failure;
use crate::client::{NICKNAME, PASSWORD};

/// The token's name.
pub(crate) const NAME: &str = "truth-token";
/// Its PIN.
pub(crate) const PIN: &str = "truth-pin-5Kd";
/// The paths of the module on Debian and Fedora.
const MODULES: [&str; 3] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so", "/usr/lib64/pkcs11/libsofthsm2.so"];

/// A password file with one line for the database and one for the token.
pub(crate) fn passwords(pin: &str) -> String {
    format!("NSS Certificate DB:{PASSWORD}\n{NAME}:{pin}\n")
}

/// Creates a token with this identity, and lists its module in the database.
///
/// # Errors
/// Errors of the tools.
pub(crate) fn fill(
    directory: &Path,
    database: &Path,
    identity: &Identity,
    diagnose: &mut Command,
) -> Result<(), Failure> {
    let tokens = directory.join("tokens");
    fs::create_dir(&tokens)?;
    let write = |name: &str, content: &[u8]| -> Result<_, Failure> {
        let path = directory.join(name);
        fs::write(&path, content)?;
        Ok(path)
    };
    let config = write("softhsm2.conf", format!("directories.tokendir = {}\n", tokens.display()).as_bytes())?;
    let module = MODULES.into_iter().find(|module| Path::new(module).exists()).ok_or("softhsm2 is not installed")?;
    let p12 = write("client.p12", &identity.pkcs12(NICKNAME, "transport")?)?;
    let (transport, both) = (write("transport", b"transport\n")?, write("both", passwords(PIN).as_bytes())?);
    let name = DbFormat::Sql.directory(database);
    let tool = |program: &str, arguments: &[&OsStr]| -> Result<(), Failure> {
        let mut command = Command::new(program);
        let output = command.args(arguments).env("SOFTHSM2_CONF", &config).stdin(Stdio::null()).output()?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into())
        }
    };
    let word = |text: &'static str| OsStr::new(text);
    tool(
        "softhsm2-util",
        &["--init-token", "--free", "--label", NAME, "--pin", PIN, "--so-pin", "12345678"].map(OsStr::new),
    )?;
    tool(
        "modutil",
        &[word("-force"), word("-add"), word("soft"), word("-libfile"), word(module), word("-dbdir"), &name],
    )?;
    tool(
        "pk12util",
        &[
            word("-i"),
            p12.as_ref(),
            word("-h"),
            word(NAME),
            word("-d"),
            &name,
            word("-k"),
            both.as_ref(),
            word("-w"),
            transport.as_ref(),
        ],
    )?;
    diagnose.env("SOFTHSM2_CONF", &config);
    Ok(())
}
