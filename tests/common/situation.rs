//! Private networks of a test: this host, a router, and the peer's host, each a network namespace, with the names, routes, filters and
//! packet sizes of a case. Everything ends with the process that holds the namespaces.
//!
//! ```text
//! this host 10.77.1.1 ── 10.77.1.254 router 10.77.2.254 ── 10.77.2.2 the peer's host
//!   fd77:1::1                fd77:1::fe    fd77:2::fe        fd77:2::2
//! ```

use std::path::Path;
use std::process::Command;

use nssight_fixtures::authority::Identity;
use nssight_fixtures::nssdb::DbFormat;

use super::{Case, NICKNAME, PKI, Run, run_beside};

/// The peer's address.
pub const PEER: &str = "10.77.2.2";
/// The port of its server.
pub const PORT: u16 = 44334;

/// Creates the namespaces, and defines functions for the cases.
const BEGIN: &str = include_str!("../../fixtures/networks.sh");

/// One private network.
pub struct Situation {
    case: Case,
    server: Identity,
    hosts: String,
    switch: String,
    resolver: String,
    setup: String,
}

impl Situation {
    /// Everything works; the peer's certificate has `names`.
    pub fn new(names: &[&str]) -> Self {
        use nssight_fixtures::authority::{Spec, Usage};
        let server = PKI.ca.issue(&Spec::new("peer", Usage::Server).names(names)).unwrap();
        Self::with(server)
    }

    /// As [`Self::new`], with this certificate of the peer.
    pub fn with(server: Identity) -> Self {
        Self {
            case: Case::new(),
            server,
            hosts: "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 signer\n".to_owned(),
            switch: "hosts: files dns\n".to_owned(),
            resolver: "nameserver 10.77.1.254\noptions timeout:1 attempts:1\n".to_owned(),
            setup: String::new(),
        }
    }

    /// Adds lines to the hosts file.
    pub fn hosts(mut self, lines: &str) -> Self {
        self.hosts.push_str(&format!("{lines}\n"));
        self
    }

    /// Sets the order of sources.
    pub fn switch(mut self, order: &str) -> Self {
        self.switch = format!("hosts: {order}\n");
        self
    }

    /// Adds lines to resolv.conf.
    pub fn resolver(mut self, lines: &str) -> Self {
        self.resolver.push_str(&format!("{lines}\n"));
        self
    }

    /// Adds commands, which can use the functions of the script above.
    pub fn with_setup(mut self, commands: &str) -> Self {
        self.setup.push_str(&format!("{commands}\n"));
        self
    }

    /// Starts the usual server on the peer's host.
    pub fn serving(self) -> Self {
        self.with_setup(&format!("serve in_peer {PEER} {PORT} -Verify 1 -verify_return_error"))
    }

    /// Diagnoses the peer under this name.
    pub fn diagnose(&self, host: &str) -> Run {
        self.diagnose_with(&format!("{host}:{PORT}"), &[])
    }

    /// As [`Self::diagnose`], with more options.
    pub fn diagnose_with(&self, bridge: &str, options: &[&str]) -> Run {
        let case = &self.case;
        let database = case.database(DbFormat::Sql);
        let password = case.password_file();
        case.file("hosts", &self.hosts);
        case.file("nsswitch.conf", &self.switch);
        case.file("resolv.conf", &self.resolver);
        case.file("server.pem", self.server.certificate.to_pem().unwrap());
        case.file("server.key", self.server.key.private_key_to_pem_pkcs8().unwrap());
        case.file("ca.pem", PKI.ca.certificate.to_pem().unwrap());
        let script = format!("dir=$1; shift\n{BEGIN}\n{}\n\"$@\"\n", self.setup);
        let script = case.file("situation.sh", script);
        // When the first process of a PID namespace ends, the kernel ends all others (pid_namespaces(7)).
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-eu"]);
        command.arg(script).arg(case.dir.path()).args(arguments(&database, &password, bridge)).args(options);
        command.env_remove("NSS_DEFAULT_DB_TYPE").env_remove("LOCALDOMAIN").env_remove("RES_OPTIONS");
        run_beside(&mut command, &database)
    }
}

fn arguments(database: &Path, password: &Path, bridge: &str) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let own = ["diagnose", "--format", "json", "--timeout", "4", "--nickname", NICKNAME, "--bridge", bridge];
    let files = ["--db".to_owned(), text(database), "--password-file".to_owned(), text(password)];
    let program = std::iter::once(env!("CARGO_BIN_EXE_nssight").to_owned());
    program.chain(own.map(str::to_owned)).chain(files).collect()
}
