//! The client's side: identities, and a database for each fault.

use std::fs;
use std::path::Path;
use std::process::Command;

use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};

use crate::Failure;
use crate::case::{ClientIdentity, Database, Fault};

const PASSWORD: &str = "truth-password";
const NICKNAME: &str = "truth-client";

/// Every identity that the client may have.
pub(crate) struct Clients {
    /// Their CA, which the servers know. It is another one than the servers', as in many deployments.
    pub authority: Identity,
    good: Identity,
    rsa: Identity,
    other_ca: Identity,
    self_signed: Identity,
    expired: Identity,
    not_yet_valid: Identity,
}

impl Clients {
    /// Makes them.
    ///
    /// # Errors
    /// Those of OpenSSL.
    pub(crate) fn make() -> Result<Self, Failure> {
        let authority = Identity::authority("Truth Client CA")?;
        let client = || Spec::new("truth client", Usage::Client);
        Ok(Self {
            good: authority.issue(&client())?,
            rsa: authority.issue(&client().key(KeyKind::Rsa(2048)))?,
            other_ca: Identity::authority("Another Client CA")?.issue(&client())?,
            self_signed: Identity::self_signed(&client())?,
            expired: authority.issue(&client().valid(-60 * DAY, -DAY))?,
            not_yet_valid: authority.issue(&client().valid(30 * DAY, 60 * DAY))?,
            authority,
        })
    }

    /// Makes the database of a fault in `directory`, and names it on the command line.
    ///
    /// # Errors
    /// Those of OpenSSL and of the file system.
    pub(crate) fn arguments(
        &self,
        fault: &Fault,
        server_ca: &Identity,
        directory: &Path,
        command: &mut Command,
    ) -> Result<(), Failure> {
        let identity = match fault.client {
            ClientIdentity::Rsa => &self.rsa,
            ClientIdentity::OtherCa => &self.other_ca,
            ClientIdentity::SelfSigned => &self.self_signed,
            ClientIdentity::Expired => &self.expired,
            ClientIdentity::NotYetValid => &self.not_yet_valid,
            ClientIdentity::Good | ClientIdentity::None | ClientIdentity::NoKey | ClientIdentity::WrongNickname => {
                &self.good
            }
        };
        let format = match fault.database {
            Database::Sql => DbFormat::Sql,
            Database::Dbm => DbFormat::Dbm,
        };
        let mut builder = DbBuilder::new(format).password(PASSWORD.as_bytes());
        builder = match fault.client {
            ClientIdentity::None => builder,
            ClientIdentity::NoKey => builder.x509(NICKNAME, &identity.certificate, ",,")?,
            _ => builder.x509_identity(NICKNAME, &identity.certificate, &identity.key, "")?,
        };
        if fault.authorities != "none" {
            builder = builder.x509("server-ca", &server_ca.certificate, &fault.authorities)?;
        }
        // A client's own CA needs no trust.
        builder = builder.x509("client-ca", &self.authority.certificate, ",,")?;
        let database = directory.join("db");
        builder.build(&database)?;
        let password = directory.join("password");
        fs::write(&password, PASSWORD)?;
        command.arg("--db").arg(format.directory(&database)).arg("--password-file").arg(password);
        match fault.client {
            ClientIdentity::None => {}
            ClientIdentity::WrongNickname => {
                command.args(["--nickname", &format!("{NICKNAME}s")]);
            }
            _ => {
                command.args(["--nickname", NICKNAME]);
            }
        }
        Ok(())
    }
}
