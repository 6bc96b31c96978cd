//! Databases made by the NSS tools, for the tests to read.

#![allow(dead_code, unreachable_pub, reason = "each test file is a crate of its own and uses a part of this")]

use nssight_nssdb::{Database, Format, PasswordState};
use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::x509::{X509, X509Extension, X509NameBuilder};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

static SERIAL: AtomicU32 = AtomicU32::new(1000);

pub const FORMATS: [Format; 2] = [Format::Sql, Format::Dbm];

/// A database directory with its password file beside it.
pub struct Nss {
    home: TempDir,
    pub format: Format,
    pub password: String,
    environment: Vec<(&'static str, &'static str)>,
}

impl Nss {
    /// An initialised, empty database.
    pub fn new(format: Format, password: &str) -> Nss {
        Nss::with_environment(format, password, &[])
    }

    pub fn with_environment(format: Format, password: &str, environment: &[(&'static str, &'static str)]) -> Nss {
        let home = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(home.path().join("db")).expect("a database directory");
        fs::write(home.path().join("password"), format!("{password}\n")).expect("password file");
        fs::write(home.path().join("noise"), [0x5a; 4096]).expect("noise file");
        let nss = Nss { home, format, password: password.to_owned(), environment: environment.to_vec() };
        if password.is_empty() {
            nss.certutil(&["-N", "--empty-password"]);
        } else {
            nss.certutil(&["-N", "-f", &nss.password_file()]);
        }
        nss
    }

    pub fn dir(&self) -> PathBuf {
        self.home.path().join("db")
    }

    pub fn password_file(&self) -> String {
        self.home.path().join("password").display().to_string()
    }

    fn noise_file(&self) -> String {
        self.home.path().join("noise").display().to_string()
    }

    /// Runs certutil on this database and requires success.
    pub fn certutil(&self, arguments: &[&str]) -> String {
        self.certutil_as(self.format, arguments)
    }

    /// As [`Nss::certutil`], opening the directory as another format.
    pub fn certutil_as(&self, format: Format, arguments: &[&str]) -> String {
        let output = self.run("certutil", format, arguments);
        assert!(output.status.success(), "certutil {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a tool on this database; it is stopped after a minute.
    pub fn run(&self, tool: &str, format: Format, arguments: &[&str]) -> Output {
        let output = Command::new("timeout")
            .arg("60")
            .arg(tool)
            .args(["-d", &format!("{format}:{}", self.dir().display())])
            .args(arguments)
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("coreutils timeout");
        assert_ne!(output.status.code(), Some(127), "{tool} is missing; install libnss3-tools");
        output
    }

    /// A self-signed certificate with its key in the database.
    pub fn self_sign(&self, nickname: &str, trust: &str, key: &[&str]) {
        // certutil derives serial numbers from the clock, so two calls in quick succession share one.
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let subject = format!("CN=subject {serial}");
        let serial = serial.to_string();
        let password = self.password_file();
        let noise = self.noise_file();
        let mut arguments = vec![
            "-S", "-x", "-n", nickname, "-s", &subject, "-t", trust, "-z", &noise, "-f", &password, "-v", "12", "-m",
            &serial,
        ];
        arguments.extend(key);
        self.certutil(&arguments);
    }

    /// Adds a certificate without key.
    pub fn add(&self, nickname: &str, trust: &str, certificate: &X509) {
        let file = self.home.path().join("certificate.der");
        fs::write(&file, certificate.to_der().expect("DER")).expect("certificate file");
        let file = file.display().to_string();
        let password = self.password_file();
        self.certutil(&["-A", "-n", nickname, "-t", trust, "-i", &file, "-f", &password]);
    }

    /// Runs several certutil commands in one process, which is much faster; blanks need quotes, and quotes are not possible.
    pub fn batch(&self, lines: &[String]) {
        let output = self.try_batch(lines);
        assert!(output.status.success(), "certutil -B: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// As [`Nss::batch`], for commands that may be refused.
    pub fn try_batch(&self, lines: &[String]) -> Output {
        let file = self.home.path().join("batch");
        fs::write(&file, lines.join("\n") + "\n").expect("batch file");
        self.run("certutil", self.format, &["-B", "-i", &file.display().to_string()])
    }

    /// A path beside the database directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Imports a certificate and its key from a PKCS #12 file.
    pub fn import(&self, nickname: &str, key: &PKeyRef<Private>, certificate: &X509) {
        let bytes = Pkcs12::builder()
            .name(nickname)
            .pkey(key)
            .cert(certificate)
            .build2("transport")
            .and_then(|bundle| bundle.to_der())
            .expect("PKCS #12");
        let file = self.home.path().join("bundle.p12");
        let transport = self.home.path().join("transport");
        fs::write(&file, bytes).expect("bundle");
        fs::write(&transport, "transport\n").expect("password file");
        let file = file.display().to_string();
        let transport = transport.display().to_string();
        let password = self.password_file();
        let output = self.run("pk12util", self.format, &["-i", &file, "-k", &password, "-w", &transport]);
        assert!(
            output.status.success(),
            "pk12util: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Nickname and trust as `certutil -L` prints them.
    pub fn listed(&self) -> BTreeMap<String, String> {
        self.certutil(&["-L"])
            .lines()
            .filter_map(|line| line.trim_end().rsplit_once(' '))
            .filter(|(_, trust)| trust.matches(',').count() == 2 && !trust.contains('/'))
            .map(|(nickname, trust)| (nickname.trim_end().to_owned(), trust.to_owned()))
            .collect()
    }

    /// Key identifiers in hexadecimal, with nickname, as `certutil -K` prints them.
    pub fn listed_keys(&self) -> BTreeMap<String, String> {
        let output = self.run("certutil", self.format, &["-K", "-f", &self.password_file()]);
        let text = String::from_utf8_lossy(&output.stdout);
        // Without keys, certutil reports that and fails.
        assert!(
            output.status.success() || text.contains("no keys found"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text.lines()
            .filter_map(|line| line.split_once('>'))
            .filter_map(|(_, rest)| {
                let mut words = rest.split_whitespace();
                let _kind = words.next()?;
                let id = words.next()?.to_owned();
                let nickname = rest.split_once(&id)?.1.trim().to_owned();
                Some((id, nickname))
            })
            .collect()
    }

    pub fn open(&self) -> Database {
        Database::open(&self.dir(), self.format).expect("the database can be read")
    }
}

/// Whether the NSS that wrote this is 3.118 or later, by the length of the password's salt.
pub fn is_by_newer_nss(database: &Database) -> bool {
    match &database.password {
        PasswordState::Set { salt_length: 20, .. } => false,
        PasswordState::Set { salt_length: 48, .. } => true,
        other => panic!("no password of any NSS: {other:?}"),
    }
}

/// RSA and EC keys as certutil takes them.
pub const RSA: &[&str] = &["-k", "rsa", "-g", "2048"];
pub const EC: &[&str] = &["-k", "ec", "-q", "nistp256"];
pub const EC384: &[&str] = &["-k", "ec", "-q", "secp384r1"];

/// An EC key made without NSS.
pub fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    PKey::from_ec_key(EcKey::generate(&group).expect("key")).expect("key")
}

/// A small CA certificate, made without NSS; `extra` bytes go into an unknown extension.
pub fn certificate(name: &str, serial: u32, extra: usize) -> X509 {
    certificate_for(&ec_key(), name, serial, extra, 0)
}

/// As [`certificate`], for a given key, with `units` organizational units of 64 characters in subject and issuer.
pub fn certificate_for(key: &PKeyRef<Private>, name: &str, serial: u32, extra: usize, units: usize) -> X509 {
    let mut subject = X509NameBuilder::new().expect("name");
    subject.append_entry_by_text("CN", name).expect("name");
    for unit in 0..units {
        let unit = format!("{unit:064}");
        subject.append_entry_by_text("OU", &unit).expect("name");
    }
    let subject = subject.build();
    let mut builder = X509::builder().expect("builder");
    builder.set_version(2).expect("version");
    let serial = BigNum::from_u32(serial).expect("serial");
    let serial = Asn1Integer::from_bn(&serial).expect("serial");
    builder.set_serial_number(&serial).expect("serial");
    builder.set_subject_name(&subject).expect("subject");
    builder.set_issuer_name(&subject).expect("issuer");
    builder.set_pubkey(key).expect("key");
    builder.set_not_before(&Asn1Time::days_from_now(0).expect("time")).expect("time");
    builder.set_not_after(&Asn1Time::days_from_now(100).expect("time")).expect("time");
    if extra > 0 {
        let oid = Asn1Object::from_str("1.3.6.1.4.1.99999.1").expect("oid");
        let content = Asn1OctetString::new_from_bytes(&vec![7; extra]).expect("content");
        let extension = X509Extension::new_from_der(&oid, false, &content).expect("extension");
        builder.append_extension(extension).expect("extension");
    }
    builder.sign(key, MessageDigest::sha256()).expect("signed");
    builder.build()
}

/// A small random generator, so that a failure can be reproduced (Marsaglia's xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below the limit")
    }

    /// True in `chance` of a hundred cases.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

/// Names, contents and modification times of a directory and everything in it.
pub fn state(dir: &Path) -> BTreeMap<PathBuf, (i64, i64, Vec<u8>)> {
    let mut state = BTreeMap::new();
    let meta = fs::metadata(dir).expect("directory");
    state.insert(dir.to_owned(), (meta.mtime(), meta.mtime_nsec(), Vec::new()));
    for entry in fs::read_dir(dir).expect("listing") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            state.extend(self::state(&path));
        } else {
            let meta = fs::metadata(&path).expect("file");
            let bytes = fs::read(&path).expect("contents");
            state.insert(path, (meta.mtime(), meta.mtime_nsec(), bytes));
        }
    }
    state
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
