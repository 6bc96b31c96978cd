//! A check in separate network namespaces, with the names, routes, filters and packet sizes of a fault.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use nssight_fixtures::authority::{Identity, Spec, Usage};

use crate::Failure;
use crate::case::{Fault, Tls};
use crate::pki::Pki;

const BEGIN: &str = include_str!("../../fixtures/networks.sh");
/// The port of the peer's server.
const PORT: u16 = 44334;
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 signer\n";
const RESOLVER: &str = "nameserver 10.77.1.254\noptions timeout:1 attempts:1\n";

/// The command that creates the namespaces and then runs `diagnose` in them.
///
/// # Errors
/// Errors of OpenSSL and of the file system.
pub(crate) fn within(
    fault: &Fault,
    version: Tls,
    pki: &Pki,
    directory: &Path,
    diagnose: &Command,
) -> Result<Command, Failure> {
    let network = &fault.network;
    let directory = &directory.join("network");
    fs::create_dir(directory)?;
    let names: Vec<&str> = network.names.iter().map(String::as_str).collect();
    let own = |ca: &Identity| ca.issue(&Spec::new("peer", Usage::Server).names(&names));
    let server = if names.is_empty() {
        pki.certificate(&format!("server:{}", fault.server))?.clone()
    } else {
        own(&pki.authorities["server-ca"])?
    };
    let file = |name: &str, content: &[u8]| fs::write(directory.join(name), content);
    file("hosts", format!("{HOSTS}{}\n", network.hosts).as_bytes())?;
    file("nsswitch.conf", format!("hosts: {}\n", network.switch.as_deref().unwrap_or("files dns")).as_bytes())?;
    file("resolv.conf", format!("{RESOLVER}{}\n", network.resolver).as_bytes())?;
    file("server.pem", &server.certificate.to_pem()?)?;
    file("server.key", &server.key.private_key_to_pem_pkcs8()?)?;
    file("ca.pem", &pki.authorities["client-ca"].certificate.to_pem()?)?;
    let option = match version {
        Tls::V12 => "-tls1_2",
        Tls::V13 => "-tls1_3",
    };
    let script = format!(
        "dir=$1; shift\n{BEGIN}\nport={PORT}\npeer_serves() {{ serve in_peer \"${{1:-10.77.2.2}}\" $port {option} -Verify 1 \
         -verify_return_error; }}\n{}\n\"$@\"\n",
        network.setup
    );
    file("situation.sh", script.as_bytes())?;
    let mut command = Command::new("unshare");
    // When the first process of a PID namespace ends, the kernel ends all others (pid_namespaces(7)).
    command.args(["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-eu"]);
    command.arg(directory.join("situation.sh")).arg(directory).arg(diagnose.get_program());
    command.args(diagnose.get_args().map(OsString::from).collect::<Vec<_>>());
    for (name, value) in diagnose.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("LOCALDOMAIN").env_remove("RES_OPTIONS");
    Ok(command)
}

/// The client's argument for the peer.
pub(crate) fn target(host: &str) -> String {
    format!("{host}:{PORT}")
}
