//! `nssight lab`: a peer on loopback with a PKI and a database of its own, healthy or with a fault to order.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nssight_fixtures::authority::{DAY, Identity, Spec, Usage};
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use nssight_probes::settings::{Overrides, Request};
use nssight_probes::{Layer, Plan};

use crate::cli::{LabCommand, OutputOptions};
use crate::worker::Passwords;
use crate::{diagnose, exit};

/// Of the lab's own database, which holds nothing worth a secret.
const PASSWORD: &str = "lab-password";
const NICKNAME: &str = "sigul-client-cert";
/// A fault that shows as silence shows sooner.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What can be ordered: an id, and what is changed.
const FAULTS: &[(&str, &str)] = &[
    ("client-cert-other-ca", "the client's certificate comes from a CA that the bridge does not know"),
    ("client-cert-expired", "the client's certificate expired yesterday"),
    ("ca-untrusted", "the CA is in the client's database without trust"),
    ("password-wrong", "the configuration holds another password"),
    ("bridge-name", "the bridge's certificate is for another host"),
    ("bridge-silent", "the bridge takes the connection and never answers"),
    ("bridge-closes", "the bridge closes after the ClientHello"),
    ("bridge-drops-client", "the bridge closes after the client's certificate, without an alert"),
];

pub(crate) fn run(command: &LabCommand) -> ExitCode {
    match command {
        LabCommand::List => list(),
        LabCommand::Run { fault, output } => {
            let fault = fault.as_deref();
            if let Some(unknown) = fault.filter(|id| !FAULTS.iter().any(|(known, _)| known == id)) {
                return exit::usage(format!("the lab has no fault \"{unknown}\"; `nssight lab list` shows them"));
            }
            match diagnose_lab(fault, output) {
                Ok(code) => code,
                Err(error) => {
                    eprintln!("nssight: the lab could not be set up: {error}");
                    ExitCode::from(exit::INCONCLUSIVE)
                }
            }
        }
    }
}

fn list() -> ExitCode {
    let mut out = io::stdout().lock();
    for (id, what) in FAULTS {
        if writeln!(out, "{id:<22} {what}").is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn diagnose_lab(fault: Option<&str>, output: &OutputOptions) -> Result<ExitCode, Box<dyn Error>> {
    let directory = tempfile::Builder::new().prefix("nssight-lab-").tempdir()?;
    let lab = Lab::start(directory.path(), fault)?;
    let overrides = Overrides::default();
    let plan = Plan::new(Some(Layer::OuterHandshake), Vec::new())?;
    let request = Request {
        config: Some(&directory.path().join("client.conf")),
        overrides: &overrides,
        password: None,
        until: plan.until,
        timeout: TIMEOUT,
        home: None,
    };
    let code = diagnose::walk(&request, Passwords::default(), &plan, output);
    drop(lab);
    Ok(code)
}

struct Lab {
    _bridge: Endpoint,
}

impl Lab {
    /// Makes certificates, database and configuration in `directory`, and starts the bridge.
    fn start(directory: &Path, fault: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let ordered = |id: &str| fault == Some(id);
        let ca = Identity::authority("Lab CA")?;
        let host = if ordered("bridge-name") { "bridge.example" } else { "localhost" };
        let bridge = ca.issue(&Spec::new("bridge", Usage::Server).names(&[host]))?;
        let spec = Spec::new("client", Usage::Client);
        let client = match fault {
            Some("client-cert-other-ca") => Identity::authority("Other CA")?.issue(&spec)?,
            Some("client-cert-expired") => ca.issue(&spec.valid(-30 * DAY, -DAY))?,
            _ => ca.issue(&spec)?,
        };
        let trust = if ordered("ca-untrusted") { ",," } else { "CT,C,C" };
        let database = directory.join("db");
        DbBuilder::new(DbFormat::Sql)
            .password(PASSWORD.as_bytes())
            .x509_identity(NICKNAME, &client.certificate, &client.key, "")?
            .x509("lab-ca", &ca.certificate, trust)?
            .build(&database)?;
        // Sigul's own range of versions.
        let options = Options::new(&bridge, &ca).tls12().behaving(match fault {
            Some("bridge-silent") => Behaviour::Answer(Vec::new(), Leave::Stall),
            Some("bridge-closes") => Behaviour::Answer(Vec::new(), Leave::Close),
            Some("bridge-drops-client") => Behaviour::LeaveAfterCertificate(Leave::Close),
            _ => Behaviour::Well,
        });
        let bridge = Endpoint::start(options)?;
        let password = if ordered("password-wrong") { "another-password" } else { PASSWORD };
        let text = format!(
            "[nss]\nnss-dir: {}\nnss-password: {password}\n\n[client]\nbridge-hostname: localhost\nbridge-port: {}\n\
             server-hostname: server.example\nclient-cert-nickname: {NICKNAME}\nuser-name: lab\n",
            database.display(),
            bridge.port()
        );
        let mut file =
            fs::File::options().write(true).create_new(true).mode(0o600).open(directory.join("client.conf"))?;
        file.write_all(text.as_bytes())?;
        Ok(Self { _bridge: bridge })
    }
}
