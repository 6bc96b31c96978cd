//! `nssight db inspect` and `db compare` with large databases, from 10,000 to 100,000 certificates: compared with `certutil -L` on the same
//! files, and their memory.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nssight_fixtures::authority::{Identity, Spec, Usage};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use openssl::x509::X509;
use rusqlite::Connection;

use crate::{Competitor, Figures, binary, measure, tool};

const SMALL: usize = 10_000;
const LARGE: usize = 100_000;
const RUNS: usize = 5;
/// Argument that makes this program create databases, so that its allocations do not count as memory of the measured children.
pub(crate) const MAKE: &str = "make-databases";

type Failure = Box<dyn Error + Send + Sync>;

pub(crate) fn run() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    tool(Command::new(std::env::current_exe()?).arg(MAKE).arg(directory.path()))?;
    for (format, aim) in [(DbFormat::Sql, 200.0), (DbFormat::Dbm, 40.0)] {
        let at = |name: &str| path(directory.path(), format, name);
        let (small, copy, large) = (at("small"), at("copy"), at("large"));
        println!("{} with {SMALL} and {LARGE} certificates, medians of {RUNS} runs", format.files()[0]);
        let listed = once("certutil -L", Command::new("certutil").arg("-L").arg("-d").arg(format.directory(&small)))?;
        let inspected = several("db inspect", db("inspect", format, &[&small]))?;
        let compared = several("db compare", db("compare", format, &[&small, &copy]))?;
        let inspected_large = several("db inspect, 10 times as many", db("inspect", format, &[&large]))?;
        let ratio = |one: &Figures, other: &Figures| one.wall.as_secs_f64() / other.wall.as_secs_f64();
        println!("certutil -L / inspect: {:.0} (aim: at least {aim})", ratio(&listed, &inspected));
        println!("compare / inspect: {:.2} (aim: at most 3)", ratio(&compared, &inspected));
        println!("100,000 / 10,000: {:.1} (aim: at most 12)", ratio(&inspected_large, &inspected));
        for (database, figures) in [(&small, &inspected), (&large, &inspected_large)] {
            let bytes: u64 =
                format.files().iter().map(|name| fs::metadata(database.join(name)).map_or(0, |it| it.len())).sum();
            let (file, peak) = (bytes as f64 / 1048576.0, figures.peak_kib as f64 / 1024.0);
            println!(
                "peak memory {peak:.0} MiB for {file:.0} MiB of files: {:.2} of 4 files and 20 MiB (aim: at most 1)",
                peak / (4.0 * file + 20.0)
            );
        }
        println!();
    }
    Ok(())
}

fn path(directory: &Path, format: DbFormat, name: &str) -> PathBuf {
    directory.join(format!("{name}-{}", format.files()[0]))
}

fn db(what: &str, format: DbFormat, databases: &[&Path]) -> Command {
    let mut command = Command::new(binary("nssight"));
    command.args(["db", what]).args(databases.iter().map(|database| format.directory(database)));
    command
}

fn several(name: &'static str, command: Command) -> Result<Figures, Failure> {
    let mut contestant = Competitor::new(name, command)?;
    for round in 0..=RUNS {
        let figures = measure(&mut contestant)?;
        if round > 0 {
            contestant.figures.push(figures);
        }
    }
    let medians = contestant.medians();
    println!("{name:<30} wall {:>8.3} s", medians.wall.as_secs_f64());
    Ok(medians)
}

/// Runs only once, because a run takes most of a minute.
fn once(name: &'static str, command: &mut Command) -> Result<Figures, Failure> {
    let mut command_again = Command::new(command.get_program());
    command_again.args(command.get_args());
    let figures = measure(&mut Competitor::new(name, command_again)?)?;
    println!("{name:<30} wall {:>8.3} s, one run", figures.wall.as_secs_f64());
    Ok(figures)
}

/// Creates the databases. Certificates go into `cert8.db` through NSS. For `cert9.db`, NSS becomes slower with every certificate and takes
/// five minutes for the small database. So rows are added there that copy one written by NSS, except for their certificate.
pub(crate) fn make(directory: &Path) -> Result<(), Failure> {
    let authority = Identity::authority("Bench CA")?;
    let issue = |number: usize| {
        authority.issue(&Spec::new(&format!("client {number}"), Usage::Client)).map(|it| it.certificate)
    };
    let certificates = (0..LARGE).map(issue).collect::<Result<Vec<X509>, _>>()?;
    for (name, count) in [("small", SMALL), ("large", LARGE)] {
        let certificates = &certificates[..count];
        let mut builder = DbBuilder::new(DbFormat::Dbm).password(b"").x509("ca", &authority.certificate, "CT,C,C")?;
        for (number, certificate) in certificates.iter().enumerate() {
            builder = builder.x509(&format!("cert-{number}"), certificate, "")?;
        }
        builder.build(&path(directory, DbFormat::Dbm, name))?;
        let database = path(directory, DbFormat::Sql, name);
        DbBuilder::new(DbFormat::Sql)
            .password(b"")
            .x509("ca", &authority.certificate, "CT,C,C")?
            .x509("template", &certificates[0], "")?
            .build(&database)?;
        multiply(&database.join("cert9.db"), certificates)?;
    }
    for format in [DbFormat::Sql, DbFormat::Dbm] {
        let (from, to) = (path(directory, format, "small"), path(directory, format, "copy"));
        fs::create_dir(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn multiply(file: &Path, certificates: &[X509]) -> Result<(), Failure> {
    let mut connection = Connection::open(file)?;
    let transaction = connection.transaction()?;
    transaction
        .execute_batch("CREATE TEMP TABLE one AS SELECT * FROM nssPublic WHERE a3 = CAST('template' AS BLOB)")?;
    transaction.execute("DELETE FROM nssPublic WHERE a3 = CAST('template' AS BLOB)", [])?;
    let mut change =
        transaction.prepare("UPDATE one SET id = ?1, a3 = ?2, a11 = ?3, a81 = ?4, a82 = ?5, a101 = ?6, a102 = ?7")?;
    let mut add = transaction.prepare("INSERT INTO nssPublic SELECT * FROM one")?;
    for (number, certificate) in certificates.iter().enumerate() {
        let serial = certificate.serial_number().to_bn()?.to_vec();
        // CKA_SERIAL_NUMBER is a DER INTEGER (PKCS #11, 4.6.3); these are positive and short.
        let padding: &[u8] = if serial.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
        let length = u8::try_from(padding.len() + serial.len())?;
        let serial = [&[2, length], padding, &serial].concat();
        let point = certificate.public_key()?.public_key_to_der()?;
        // A P-256 SubjectPublicKeyInfo ends with the uncompressed point.
        let id = openssl::sha::sha1(&point[point.len().saturating_sub(65)..]);
        let (issuer, subject) = (certificate.issuer_name().to_der()?, certificate.subject_name().to_der()?);
        let nickname = format!("cert-{number}").into_bytes();
        let row = 0x1000_0000 + i64::try_from(number)?;
        change.execute((row, nickname, certificate.to_der()?, issuer, serial, subject, id.to_vec()))?;
        add.execute([])?;
    }
    drop((change, add));
    transaction.commit()?;
    Ok(())
}
