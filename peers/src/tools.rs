//! The servers of TLS libraries.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use nssight_fixtures::nssdb::{DbBuilder, DbFormat};

use crate::{Asks, Failure, Files, Setup, Tls};

pub(crate) fn s_server(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-naccept", "1000", "-accept", &format!("127.0.0.1:{port}")]);
    command.arg("-cert").arg(&files.certificate).arg("-key").arg(&files.key);
    command.arg("-cert_chain").arg(&files.certificate).arg("-CAfile").arg(&files.client_ca);
    command.arg(match setup.version {
        Tls::V12 => "-tls1_2",
        Tls::V13 => "-tls1_3",
    });
    match setup.asks {
        Asks::Required => command.args(["-Verify", "5", "-verify_return_error"]),
        Asks::Optional => command.args(["-verify", "5", "-verify_return_error"]),
        Asks::Nothing => &mut command,
    };
    Ok(command)
}

pub(crate) fn selfserv(setup: &Setup<'_>, _: &Files, port: u16) -> Result<Command, Failure> {
    let (certificate, key) = (&setup.identity.certificate, &setup.identity.key);
    let mut builder =
        DbBuilder::new(DbFormat::Sql).password(b"server").x509_identity("server", certificate, key, "")?;
    for (index, link) in setup.identity.chain.iter().enumerate() {
        builder = builder.x509(&format!("intermediate {index}"), link, ",,")?;
    }
    builder = builder.x509("client-ca", &setup.client_ca.certificate, "T,,")?;
    builder.build(&setup.directory.join("db"))?;
    let mut command = Command::new("selfserv");
    command.args(["-d", "sql:db", "-n", "server", "-w", "server", "-p", &port.to_string()]);
    let version = setup.version.as_str();
    command.args(["-V", &format!("{version}:{version}")]);
    match setup.asks {
        Asks::Required => command.arg("-rr"),
        Asks::Optional => command.arg("-r"),
        Asks::Nothing => &mut command,
    };
    Ok(command)
}

pub(crate) fn gnutls_serv(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let mut command = Command::new("gnutls-serv");
    command.args(["--quiet", "--echo", "--port", &port.to_string()]);
    command.arg("--x509certfile").arg(&files.certificate).arg("--x509keyfile").arg(&files.key);
    command.arg("--x509cafile").arg(&files.client_ca);
    command.args(["--priority", setup.version.gnutls_priority()]);
    match setup.asks {
        Asks::Required => command.args(["--require-client-cert", "--verify-client-cert"]),
        Asks::Optional => command.arg("--verify-client-cert"),
        Asks::Nothing => command.arg("--disable-client-cert"),
    };
    Ok(command)
}

pub(crate) fn jsse(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]).arg("-cp").arg(classes()?);
    command.arg("Jsse").arg(port.to_string());
    command.arg(&files.certificate).arg(&files.key).arg(&files.client_ca);
    command.arg(setup.version.openssl_name());
    command.arg(setup.asks.spelled("required", "optional", "nothing"));
    Ok(command)
}

/// The directory of the Java server's class; it is compiled once.
fn classes() -> Result<PathBuf, Failure> {
    static CLASSES: LazyLock<Result<tempfile::TempDir, String>> = LazyLock::new(|| {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/Jsse.java");
        let output = Command::new("javac").arg("-d").arg(directory.path()).arg(source).output();
        let output = output.map_err(|error| format!("javac: {error}"))?;
        if output.status.success() { Ok(directory) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    });
    CLASSES.as_ref().map(|directory| directory.path().to_owned()).map_err(|error| error.clone().into())
}
