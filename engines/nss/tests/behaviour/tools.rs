//! Databases, identities and NSS's own tools.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use nssight_nss::{InitOptions, Login, Nss, Slot};
use tempfile::TempDir;

pub(crate) const BOTH: [DbFormat; 2] = [DbFormat::Sql, DbFormat::Dbm];
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const NICKNAME: &str = "the client";

/// Identities that the tests share, since keys take time.
pub(crate) struct Pki {
    pub(crate) ca: Identity,
    pub(crate) other_ca: Identity,
    pub(crate) intermediate: Identity,
    pub(crate) server: Identity,
    pub(crate) client: Identity,
    pub(crate) ec_client: Identity,
    pub(crate) deep_client: Identity,
    pub(crate) expired: Identity,
    pub(crate) stranger: Identity,
    pub(crate) signer: Identity,
}

pub(crate) static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let ca = Identity::authority("Test CA").expect("a CA");
    let other_ca = Identity::authority("Other CA").expect("a CA");
    let issue = |issuer: &Identity, spec: Spec| issuer.issue(&spec).expect("a certificate");
    let intermediate = issue(&ca, Spec::new("Intermediate CA", Usage::Authority));
    Pki {
        server: issue(&ca, Spec::new("server", Usage::Server).names(&["localhost"]).key(KeyKind::Rsa(2048))),
        client: issue(&ca, Spec::new("client", Usage::Client).key(KeyKind::Rsa(2048))),
        ec_client: issue(&ca, Spec::new("ec client", Usage::Client)),
        deep_client: issue(&intermediate, Spec::new("deep client", Usage::Client)),
        expired: issue(&ca, Spec::new("expired", Usage::Client).valid(-10 * DAY, -DAY)),
        stranger: issue(&other_ca, Spec::new("stranger", Usage::Client)),
        signer: issue(&ca, Spec::new("signer", Usage::CodeSigning)),
        intermediate,
        other_ca,
        ca,
    }
});

/// A database in a directory of its own.
pub(crate) struct Database {
    root: TempDir,
    format: DbFormat,
}

impl Database {
    fn place(format: DbFormat) -> Self {
        let root = tempfile::Builder::new().prefix("nssight-nss-").tempdir().expect("a directory");
        fs::write(root.path().join("password"), format!("{PASSWORD}\n")).expect("a password file");
        Self { root, format }
    }

    /// Made by the builder; [`PASSWORD`] is set.
    pub(crate) fn built(format: DbFormat, fill: impl FnOnce(DbBuilder) -> DbBuilder) -> Self {
        Self::built_with(DbBuilder::new(format).password(PASSWORD.as_bytes()), format, fill)
    }

    /// Made by the builder, which may have another password or none.
    pub(crate) fn built_with(builder: DbBuilder, format: DbFormat, fill: impl FnOnce(DbBuilder) -> DbBuilder) -> Self {
        let database = Self::place(format);
        fill(builder).build(&database.path()).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        database
    }

    /// Made by certutil; [`PASSWORD`] is set, or the empty password.
    pub(crate) fn by_certutil(format: DbFormat, empty_password: bool) -> Self {
        let database = Self::place(format);
        fs::create_dir(database.path()).expect("a directory");
        if empty_password {
            tool("certutil", &[&"-N", &"-d", &database.name(), &"--empty-password"])
        } else {
            tool("certutil", &[&"-N", &"-d", &database.name(), &"-f", &database.file("password")])
        };
        database
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().join("db")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The database as NSS is given it.
    pub(crate) fn name(&self) -> OsString {
        self.format.directory(&self.path())
    }

    pub(crate) fn open(&self) -> Nss {
        Nss::open(&InitOptions::read_only(&self.name())).unwrap_or_else(|error| panic!("{:?}: {error}", self.format))
    }

    /// Opened and unlocked with [`PASSWORD`].
    pub(crate) fn unlocked(&self) -> (Nss, Slot) {
        let nss = self.open();
        let slot = Slot::internal_key(&nss).expect("a slot");
        assert_eq!(slot.authenticate(Some(PASSWORD.as_bytes())).0, Login::Done);
        (nss, slot)
    }

    /// Adds a certificate with certutil.
    pub(crate) fn add(&self, nickname: &str, identity: &Identity, trust: &str) {
        let der = self.file("certificate.der");
        fs::write(&der, identity.certificate.to_der().expect("DER")).expect("a file");
        let arguments: [&dyn AsRef<OsStr>; 11] =
            [&"-A", &"-d", &self.name(), &"-n", &nickname, &"-t", &trust, &"-i", &der, &"-f", &self.file("password")];
        tool("certutil", &arguments);
    }

    /// Adds a certificate and its key with pk12util.
    pub(crate) fn add_identity(&self, nickname: &str, identity: &Identity) {
        let (p12, transport) = (self.file("identity.p12"), self.file("transport"));
        fs::write(&p12, identity.pkcs12(nickname, "transport").expect("PKCS#12")).expect("a file");
        fs::write(&transport, "transport\n").expect("a file");
        let arguments: [&dyn AsRef<OsStr>; 9] =
            [&"-i", &p12, &"-d", &self.name(), &"-k", &self.file("password"), &"-w", &transport, &"-v"];
        tool("pk12util", &arguments);
    }

    /// Changes the trust of a certificate with certutil; on failure, certutil's output without the names of its files.
    pub(crate) fn changed_by_certutil(&self, nickname: &str, trust: &str) -> Result<(), String> {
        let mut command = Command::new("certutil");
        command
            .args(["-M", "-n", nickname, "-t", trust])
            .arg("-d")
            .arg(self.name())
            .arg("-f")
            .arg(self.file("password"));
        let output = command.stdin(Stdio::null()).output().expect("certutil (Debian: libnss3-tools)");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    }

    /// Nicknames and trust letters, as certutil prints them after logging in.
    pub(crate) fn listed_by_certutil(&self) -> BTreeMap<String, String> {
        let listed = tool("certutil", &[&"-L", &"-d", &self.name(), &"-f", &self.file("password")]);
        let line = |line: &str| {
            let (nickname, trust) = line.trim_end().rsplit_once(' ')?;
            (trust.matches(',').count() == 2).then(|| (nickname.trim_end().to_owned(), trust.to_owned()))
        };
        listed.lines().filter(|text| !text.contains("S/MIME,JAR/XPI")).filter_map(line).collect()
    }

    /// Names of the private keys, as certutil prints them.
    pub(crate) fn keys_listed_by_certutil(&self) -> String {
        tool("certutil", &[&"-K", &"-d", &self.name(), &"-f", &self.file("password")])
    }

    /// Every file with its content and modification time, and the directory with its own time.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
        let time = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a time");
        let directory = self.path();
        let mut snapshot = BTreeMap::from([(directory.clone(), (Vec::new(), time(&directory)))]);
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            snapshot.insert(path.clone(), (fs::read(&path).expect("a file"), time(&path)));
        }
        snapshot
    }
}

/// The usual content: a client, and its CA with trust.
pub(crate) fn usual(builder: DbBuilder) -> DbBuilder {
    let Pki { client, ca, .. } = &*PKI;
    builder
        .x509_identity(NICKNAME, &client.certificate, &client.key, "")
        .and_then(|builder| builder.x509("ca", &ca.certificate, "CT,C,C"))
        .expect("OpenSSL encodes what it made")
}

/// Certificates only, each with its nickname and trust.
pub(crate) fn certificates(builder: DbBuilder, certificates: &[(&str, &Identity, &str)]) -> DbBuilder {
    certificates.iter().fold(builder, |builder, (nickname, identity, trust)| {
        builder.x509(nickname, &identity.certificate, trust).expect("OpenSSL encodes what it made")
    })
}

/// Runs one of NSS's tools, which must be installed and must succeed, and returns its output.
pub(crate) fn tool(name: &str, arguments: &[&dyn AsRef<OsStr>]) -> String {
    let mut command = Command::new(name);
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{name} is needed (Debian: libnss3-tools): {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
