//! The client's side: a database or files for each fault, and the command-line options.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nssight_fixtures::authority::{DAY, Identity};
use nssight_fixtures::crl::List;
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};

use crate::Failure;
use crate::case::{Database, Fault, Odd, Password, Revokes};
use crate::pki::Pki;
use crate::token;

/// The password of every database that has one.
pub(crate) const PASSWORD: &str = "truth-password";
/// The nickname of the client's certificate.
pub(crate) const NICKNAME: &str = "truth-client";
const LONG_NICKNAME: &str = "Prüf-Klient 7 (alt)";

impl Fault {
    fn is(&self, odd: Odd) -> bool {
        self.odd.contains(&odd)
    }
}

/// Writes the files of a fault into `directory`, and names them on the command line.
///
/// # Errors
/// Errors of OpenSSL and of the file system.
pub(crate) fn files(fault: &Fault, pki: &Pki, directory: &Path, command: &mut Command) -> Result<(), Failure> {
    let file = |name: &str, content: &[u8]| -> Result<PathBuf, Failure> {
        let path = directory.join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    };
    command.arg("--cacert").arg(file("ca.pem", &pki.certificate("server-ca")?.certificate.to_pem()?)?);
    if fault.client == "none" {
        return Ok(());
    }
    let Identity { certificate, key, chain } = pki.certificate(&format!("client:{}", fault.client))?;
    let mut all = certificate.to_pem()?;
    for link in chain {
        all.extend(link.to_pem()?);
    }
    command.arg("--cert").arg(file("client.pem", &all)?);
    command.arg("--key").arg(file("client.key", &key.private_key_to_pem_pkcs8()?)?);
    Ok(())
}

/// Creates the database of a fault in `directory`, and names it on the command line.
///
/// # Errors
/// Errors of OpenSSL, of NSS and of the file system.
pub(crate) fn arguments(fault: &Fault, pki: &Pki, directory: &Path, command: &mut Command) -> Result<(), Failure> {
    let format = match fault.database {
        Database::Sql => DbFormat::Sql,
        Database::Dbm => DbFormat::Dbm,
    };
    let path = directory.join(if fault.is(Odd::LongPath) { "d b/zweite Prüfung" } else { "db" });
    let database = if fault.is(Odd::KindUnsaid) { path.clone().into_os_string() } else { format.directory(&path) };
    if !fault.is(Odd::Missing) {
        builder(fault, pki, format)?.build(&path)?;
        if fault.is(Odd::Beside) {
            let other = if format == DbFormat::Sql { DbFormat::Dbm } else { DbFormat::Sql };
            DbBuilder::new(other).password(PASSWORD.as_bytes()).build(&path)?;
        }
        spoil(fault, pki, format, &path)?;
    }
    let mut nickname = if fault.is(Odd::LongNickname) { LONG_NICKNAME } else { NICKNAME }.to_owned();
    if fault.is(Odd::OnToken) {
        let identity = pki.certificate(&format!("client:{}", fault.client))?;
        token::fill(directory, &path, identity, command)?;
        nickname = format!("{}:{NICKNAME}", token::NAME);
    }
    if fault.is(Odd::ModuleMissing) {
        let list = path.join("pkcs11.txt");
        let text = fs::read_to_string(&list)?;
        fs::write(&list, text.replace("libsofthsm2.so", "libgone.so"))?;
    }
    if fault.is(Odd::TokenAbsent) {
        nickname = format!("no-such-token:{NICKNAME}");
    }
    if fault.is(Odd::MisspeltNickname) {
        nickname.push('s');
    }
    if fault.is(Odd::OtherNickname) {
        "somebody".clone_into(&mut nickname);
    }
    if fault.is(Odd::TokenName) {
        nickname = format!("NSS Certificate DB:{nickname}");
    }
    command.arg("--db").arg(database);
    password(fault, directory, command)?;
    if fault.client != "none" {
        command.args(["--nickname", &nickname]);
    }
    Ok(())
}

fn builder(fault: &Fault, pki: &Pki, format: DbFormat) -> Result<DbBuilder, Failure> {
    let is_empty = matches!(fault.password, Password::EmptyNone | Password::EmptyFile | Password::EmptyWrong);
    let mut builder = DbBuilder::new(format).password(if is_empty { b"" } else { PASSWORD.as_bytes() });
    if fault.is(Odd::SavedLogins) {
        builder = builder.saved_logins();
    }
    let waits = || Identity::authority("waits");
    if fault.is(Odd::RequestOutstanding) || fault.is(Odd::OtherKey) {
        builder = builder.pkey("", &waits()?.key)?;
    }
    let nickname = if fault.is(Odd::LongNickname) { LONG_NICKNAME } else { NICKNAME };
    // "none" has no certificate at all; with an outstanding request there is none yet.
    if fault.client != "none" && !fault.is(Odd::OnToken) && fault.client != "requested" {
        let identity = pki.certificate(&format!("client:{}", fault.client))?;
        let (certificate, key) = (&identity.certificate, &identity.key);
        builder = if fault.is(Odd::NoKey) || fault.is(Odd::OtherKey) {
            builder.x509(nickname, certificate, ",,")?
        } else {
            builder.x509_identity(nickname, certificate, key, "")?
        };
        for (place, link) in identity.chain.iter().enumerate() {
            builder = builder.x509(&format!("own-intermediate-{place}"), link, "")?;
        }
    }
    for (nickname, name, trust) in
        [("server-ca", "server-ca", &fault.authorities), ("client-ca", "client-ca", &fault.own_authority)]
    {
        if trust != "none" {
            builder = builder.x509(nickname, &pki.certificate(name)?.certificate, trust)?;
        }
    }
    for [nickname, name, trust] in &fault.store {
        builder = builder.x509(nickname, &pki.certificate(name)?.certificate, trust)?;
    }
    if fault.is(Odd::Many) {
        for number in 0..40 {
            let name = format!("Unrelated CA {number}");
            builder = builder.x509(&name, &Identity::authority(&name)?.certificate, ",,")?;
        }
    }
    for Revokes { by, revokes, days } in &fault.lists {
        let revoked = revokes.iter().map(|name| pki.certificate(name)).collect::<Result<Vec<_>, _>>()?;
        let revoked: Vec<_> = revoked.into_iter().map(|identity| &*identity.certificate).collect();
        let list = List { revoked: &revoked, updates: (days.0 * DAY, days.1 * DAY), is_broken: false };
        builder = builder.revocation_list(&list.signed_by(pki.certificate(by)?)?);
    }
    Ok(builder)
}

/// Damages the files after their creation.
fn spoil(fault: &Fault, pki: &Pki, format: DbFormat, path: &Path) -> Result<(), Failure> {
    let [certificates, keys] = format.files().map(|file| path.join(file));
    let cut = |file: &PathBuf| -> Result<(), Failure> {
        let bytes = fs::read(file)?;
        Ok(fs::write(file, &bytes[..bytes.len() / 2])?)
    };
    if fault.is(Odd::CertificatesCut) {
        cut(&certificates)?;
    }
    if fault.is(Odd::KeysCut) {
        cut(&keys)?;
    }
    if fault.is(Odd::KeysMissing) {
        fs::remove_file(&keys)?;
    }
    if fault.is(Odd::KeysForeign) {
        let elsewhere = tempfile::tempdir()?;
        let identity = &pki.clients["rsa"];
        let builder = DbBuilder::new(format).password(PASSWORD.as_bytes());
        builder.x509_identity("other", &identity.certificate, &identity.key, "")?.build(elsewhere.path())?;
        fs::copy(elsewhere.path().join(format.files()[1]), &keys)?;
    }
    if fault.is(Odd::Wal) {
        let script = "import sqlite3, sys\nfor file in sys.argv[1:]:\n    c = sqlite3.connect(file)\n    \
                      c.execute('pragma journal_mode=wal')\n    c.close()";
        let mut python = Command::new("python3");
        python.args(["-c", script]).args([&certificates, &keys]).stdin(Stdio::null());
        if !python.status()?.success() {
            return Err("the journal mode could not be set".into());
        }
    }
    Ok(())
}

fn password(fault: &Fault, directory: &Path, command: &mut Command) -> Result<(), Failure> {
    let file = directory.join("password");
    let text = match fault.password {
        Password::Right if fault.is(Odd::OnToken) => token::passwords(token::PIN),
        Password::Wrong if fault.is(Odd::OnToken) => token::passwords("another-pin"),
        Password::Right => PASSWORD.to_owned(),
        Password::Crlf => format!("{PASSWORD}\r\n"),
        Password::ForToken => format!("NSS Certificate DB:{PASSWORD}\nsome token:another\n"),
        Password::Lines => format!("another\n{PASSWORD}\n"),
        Password::Wrong | Password::EmptyWrong => "another-password\n".to_owned(),
        Password::EmptyFile => String::new(),
        Password::Blank => format!("{PASSWORD} \n"),
        Password::FileMissing => {
            command.arg("--password-file").arg(file);
            return Ok(());
        }
        Password::Environment => {
            command.args(["--password-env", "TRUTH_PASSWORD"]).env("TRUTH_PASSWORD", PASSWORD);
            return Ok(());
        }
        Password::None | Password::EmptyNone => return Ok(()),
    };
    fs::write(&file, text)?;
    command.arg("--password-file").arg(file);
    Ok(())
}
