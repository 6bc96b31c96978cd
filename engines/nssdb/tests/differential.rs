//! Generated databases, read natively, by certutil and by python-nss: all three must agree on every certificate, nickname,
//! trust letter and key. `NSSIGHT_DIFFERENTIAL=SEED` generates one of them alone.

mod common;

use common::{Nss, Random, certificate_for, hex};
use nssight_nssdb::{Database, Flags, Format};
use openssl::dsa::Dsa;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::X509;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

const DATABASES: u64 = 200;
/// With few rounds, most of the databases are fast to write and to read; every tenth has NSS's own number of rounds.
const FEW_ROUNDS: &[(&str, &str)] = &[("NSS_MAX_MP_PBE_ITERATION_COUNT", "2")];
/// Letters that certutil accepts; some of them it does not keep.
const LETTERS: [char; 9] = ['p', 'P', 'c', 'C', 'T', 'u', 'w', 'i', 'g'];

static KEYS: LazyLock<Vec<PKey<Private>>> = LazyLock::new(|| {
    let ec = |curve| {
        let group = EcGroup::from_curve_name(curve).expect("curve");
        PKey::from_ec_key(EcKey::generate(&group).expect("key")).expect("key")
    };
    let rsa = || PKey::from_rsa(Rsa::generate(2048).expect("key")).expect("key");
    let dsa = || PKey::from_dsa(Dsa::generate(1024).expect("key")).expect("key");
    let curves = [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1];
    curves.into_iter().map(ec).chain([rsa(), rsa(), dsa(), dsa()]).collect()
});

/// A generated database, with what was put into it.
struct Generated {
    nss: Nss,
    /// Keys by the SHA-256 of the certificate that they were imported with.
    keys: HashMap<String, PKey<Private>>,
    what: String,
}

fn fingerprint(der: &[u8]) -> String {
    hex(&openssl::sha::sha256(der))
}

fn password(random: &mut Random) -> String {
    match random.below(4) {
        0 => String::new(),
        1 => format!("sekrit {}", random.below(1000)),
        2 => "pässwörd-пароль-秘密".to_owned(),
        _ => "0123456789".repeat(20),
    }
}

fn nickname(random: &mut Random, number: usize) -> String {
    match random.below(9) {
        0 => format!("with blanks {number}"),
        1 => format!("\"quoted\" {number}"),
        2 => format!("it's {number}"),
        3 => format!("подпись {number}"),
        4 => format!("署名{number}😀"),
        5 => format!("back\\slash;{number}"),
        6 => format!("{}-{number}", "long".repeat(60)),
        7 => format!("-dash, comma {number}"),
        _ => format!("cert-{number}"),
    }
}

fn trust(random: &mut Random) -> String {
    let mut field = || {
        let mut letters = String::new();
        for letter in LETTERS {
            if random.percent(18) {
                letters.push(letter);
            }
        }
        letters
    };
    [field(), field(), field()].join(",")
}

fn size(seed: u64, random: &mut Random) -> usize {
    match seed % 50 {
        0 => 0,
        17 if seed < 100 => 500,
        23 => 100 + random.below(100),
        _ => 1 + random.below(12),
    }
}

fn generate(seed: u64) -> Generated {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let format = if seed.is_multiple_of(2) { Format::Sql } else { Format::Dbm };
    let password = password(&mut random);
    let environment = if seed % 10 == 3 { &[][..] } else { FEW_ROUNDS };
    let nss = Nss::with_environment(format, &password, environment);
    let mut generated = Generated { nss, keys: HashMap::new(), what: format!("seed {seed}: {format}") };
    fill(&mut generated, &mut random, size(seed, &mut Random(seed + 1)));
    if seed % 20 == 4 {
        upgrade(&mut generated, &mut random);
    }
    if seed % 20 == 6 {
        let mut command = Command::new("modutil");
        command.args(["-dbdir", &dbdir(&generated.nss), "-fips", "true", "-force"]);
        let output = command.output().expect("libnss3-tools");
        assert!(output.status.success(), "modutil: {}", String::from_utf8_lossy(&output.stdout));
        generated.what.push_str(", FIPS");
    }
    generated
}

fn dbdir(nss: &Nss) -> String {
    format!("{}:{}", nss.format, nss.dir().display())
}

/// Certificates, some of them with their keys; some are deleted, added again, or given other trust.
fn fill(generated: &mut Generated, random: &mut Random, count: usize) {
    let nss = &generated.nss;
    let (password_file, mut lines, mut added) = (nss.password_file(), Vec::new(), Vec::new());
    for number in 0..count {
        let name = nickname(random, number);
        let key = &KEYS[random.below(KEYS.len())];
        let subject = format!("subject {number}");
        let serial = u32::try_from(random.below(1 << 30)).expect("serial");
        // Occasionally a certificate that is too large for a page of the legacy format.
        let extra = if random.percent(4) { 20_000 } else { 0 };
        let certificate = certificate_for(key, &subject, serial, extra, random.below(3));
        if number < 4 && random.percent(60) {
            // Each key only once: a second certificate of the same key shares its nickname.
            let key = fresh(key);
            let certificate = certificate_for(&key, &subject, serial, 0, 0);
            // Names in PKCS #12 files are BMPStrings.
            let name: String = name.chars().filter(|letter| u32::from(*letter) < 0x1_0000).collect();
            nss.import(&name, &key, &certificate);
            generated.keys.insert(fingerprint(&certificate.to_der().expect("DER")), key);
            continue;
        }
        let file = nss.beside(&format!("{number}.der"));
        fs::write(&file, certificate.to_der().expect("DER")).expect("certificate file");
        let (file, letters) = (file.display().to_string(), trust(random));
        if name.contains(['"', '\\']) {
            nss.certutil(&["-A", "-n", &name, "-t", &letters, "-i", &file, "-f", &password_file]);
        } else {
            lines.push(format!("-A -n \"{name}\" -t \"{letters}\" -i {file} -f {password_file}"));
            added.push((name, file));
        }
    }
    let (mut deleted, mut changes) = (0, Vec::new());
    for (name, file) in &added {
        if random.percent(10) {
            lines.push(format!("-D -n \"{name}\" -f {password_file}"));
            deleted += 1;
            if random.percent(50) {
                let letters = trust(random);
                lines.push(format!("-A -n \"{name} again\" -t \"{letters}\" -i {file} -f {password_file}"));
            }
        } else if random.percent(20) {
            changes.push(format!("-M -n \"{name}\" -t \"{}\" -f {password_file}", trust(random)));
        }
    }
    if !lines.is_empty() {
        nss.batch(&lines);
    }
    for change in changes {
        // Some combinations are refused for a certificate that has others; only the final content matters.
        nss.try_batch(&[change]);
    }
    let keys = generated.keys.len();
    let _ = write!(generated.what, ", {count} certificates, {keys} keys, {deleted} deleted");
}

/// Another key of the same kind.
fn fresh(like: &PKey<Private>) -> PKey<Private> {
    if let Ok(key) = like.ec_key() {
        return PKey::from_ec_key(EcKey::generate(key.group()).expect("key")).expect("key");
    }
    if like.rsa().is_ok() {
        return PKey::from_rsa(Rsa::generate(2048).expect("key")).expect("key");
    }
    let parameters = like.dsa().expect("DSA");
    let clone = |number: &openssl::bn::BigNumRef| number.to_owned().expect("number");
    let params =
        Dsa::from_pqg(clone(parameters.p()), clone(parameters.q()), clone(parameters.g())).expect("parameters");
    PKey::from_dsa(params.generate_key().expect("key")).expect("key")
}

/// Merges a legacy database into it, as an upgrade of another directory does.
fn upgrade(generated: &mut Generated, random: &mut Random) {
    let old = Nss::with_environment(Format::Dbm, "of the old one", FEW_ROUNDS);
    let source = Generated { nss: old, keys: HashMap::new(), what: String::new() };
    // Subjects of its own: two certificates of one subject share a nickname.
    let key = fresh(&KEYS[random.below(3)]);
    let certificate = certificate_for(&key, "taken over", 77, 0, 0);
    source.nss.import("taken over", &key, &certificate);
    source.nss.add("old CA", "CT,C,C", &certificate_for(&KEYS[0], "old CA", 78, 0, 0));
    let directory = source.nss.dir().display().to_string();
    let output = generated.nss.run(
        "certutil",
        generated.nss.format,
        &[
            "--upgrade-merge",
            "--source-dir",
            &directory,
            "--upgrade-id",
            "old",
            "--upgrade-token-name",
            "the old one",
            "-f",
            &generated.nss.password_file(),
            "-@",
            &source.nss.password_file(),
        ],
    );
    assert!(output.status.success(), "upgrade: {}", String::from_utf8_lossy(&output.stderr));
    generated.keys.insert(fingerprint(&certificate.to_der().expect("DER")), key);
    generated.what.push_str(", upgraded");
}

/// What one of the three readers reports, one line per fact.
type View = BTreeSet<String>;

fn native(database: &Database, generated: &Generated) -> [View; 3] {
    let (mut listed, mut keys, mut python) = (View::new(), View::new(), View::new());
    for certificate in &database.certificates {
        let fingerprint = fingerprint(&certificate.der);
        for nickname in &certificate.nicknames {
            listed.insert(format!("{} {}", nickname.text, certificate.certutil_letters()));
            python.insert(format!("{} -> {fingerprint}", nickname.text));
        }
        let words = [certificate.trust.ssl, certificate.trust.email, certificate.trust.object_signing];
        let words = words.map(|flags| format!("{:04x}", flags.0 & !Flags::USER)).join(" ");
        python.insert(format!("{fingerprint} trust {words} key {}", certificate.has_private_key));
    }
    let unlocked = database.unlock(generated.nss.password.as_bytes()).expect("the password opens it");
    for key in &database.private_keys {
        keys.insert(hex(&key.cka_id));
        let opened = unlocked.private_key(key).expect("the key decrypts");
        let owner = database.certificates.iter().find(|certificate| certificate.cka_id == key.cka_id);
        let owner = owner.expect("the certificate that it went in with");
        let put_in = generated.keys.get(&fingerprint(&owner.der)).expect("a key that went in");
        assert!(opened.public_eq(put_in), "{}: another key came out than went in", generated.what);
        let public = X509::from_der(&owner.der).and_then(|it| it.public_key()).expect("public key");
        assert!(opened.public_eq(&public));
    }
    assert_eq!(database.private_keys.len(), generated.keys.len(), "{}", generated.what);
    [listed, keys, python]
}

fn certutil(generated: &Generated) -> [View; 2] {
    let text = generated.nss.certutil(&["-L"]);
    let rows = text.lines().filter_map(|line| line.trim_end().rsplit_once(' '));
    let rows = rows.filter(|(_, trust)| trust.matches(',').count() == 2 && !trust.contains('/'));
    let listed = rows.map(|(nickname, trust)| format!("{} {trust}", nickname.trim_end())).collect();
    [listed, generated.nss.listed_keys().into_keys().collect()]
}

const NS_TRUSTED_CA: u16 = 0x20;

fn python(database: &Database, generated: &Generated) -> View {
    let names: BTreeSet<&str> = database
        .certificates
        .iter()
        .flat_map(|certificate| certificate.nicknames.iter().map(|nickname| nickname.text.as_str()))
        .collect();
    let file = generated.nss.beside("names.json");
    fs::write(&file, serde_json::to_vec(&names).expect("JSON")).expect("names");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/list_with_python_nss.py");
    let output = Command::new("timeout")
        .args(["120", "/usr/bin/python3", script, &dbdir(&generated.nss), &generated.nss.password_file()])
        .arg(&file)
        .output()
        .expect("coreutils timeout");
    assert!(output.status.success(), "{}: {}", generated.what, String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut view = View::new();
    for (fingerprint, facts) in seen["certificates"].as_object().expect("certificates") {
        let words = facts["trust"].as_array().expect("trust").iter().map(|word| {
            let word = u16::try_from(word.as_u64().expect("a number")).expect("16 bits");
            // Later versions (3.132) mark a trusted CA twice: with NS_TRUSTED_CA beside TRUSTED_CA (certdb.h).
            let said_twice = if word & Flags::TRUSTED_CA != 0 { NS_TRUSTED_CA } else { 0 };
            format!("{:04x}", word & !Flags::USER & !said_twice)
        });
        let words = words.collect::<Vec<_>>().join(" ");
        view.insert(format!("{fingerprint} trust {words} key {}", facts["key"]));
    }
    for (name, found) in seen["names"].as_object().expect("names") {
        for fingerprint in found.as_array().expect("a list") {
            view.insert(format!("{name} -> {}", fingerprint.as_str().expect("text")));
        }
    }
    view
}

/// Lines that only one of the two has.
fn diff(title: &str, native: &View, other: &View) -> String {
    let mut text = String::new();
    for line in native.difference(other) {
        let _ = writeln!(text, "  only native, not {title}: {line}");
    }
    for line in other.difference(native) {
        let _ = writeln!(text, "  only {title}, not native: {line}");
    }
    text
}

/// What was generated, so that an empty run is not mistaken for agreement.
#[derive(Default)]
struct Covered {
    certificates: usize,
    keys: BTreeMap<String, usize>,
    trust: BTreeSet<String>,
    passwords: BTreeSet<usize>,
}

impl Covered {
    fn count(&mut self, database: &Database, generated: &Generated) {
        self.certificates += database.certificates.len();
        for key in &database.private_keys {
            *self.keys.entry(format!("{:?} in {}", key.kind, database.format)).or_default() += 1;
        }
        self.trust.extend(database.certificates.iter().map(|certificate| certificate.trust.letters()));
        self.passwords.insert(generated.nss.password.len());
    }
}

fn disagreement(seed: u64, covered: &Mutex<Covered>) -> Option<String> {
    let generated = generate(seed);
    let before = common::state(&generated.nss.dir());
    let database = generated.nss.open();
    let [listed, keys, seen] = native(&database, &generated);
    assert_eq!(before, common::state(&generated.nss.dir()), "{}: reading changed the directory", generated.what);
    covered.lock().expect("no panic elsewhere").count(&database, &generated);
    let [certutil_listed, certutil_keys] = certutil(&generated);
    let mut text = diff("certutil -L", &listed, &certutil_listed);
    text += &diff("certutil -K", &keys, &certutil_keys);
    text += &diff("python-nss", &seen, &python(&database, &generated));
    if database.partial || !database.problems.is_empty() {
        let _ = writeln!(text, "  problems: {:?}", database.problems);
    }
    (!text.is_empty()).then(|| format!("{}\n{text}", generated.what))
}

/// Whether this NSS keeps the trust of a valid CA that is not trusted.
fn keeps_valid_ca() -> bool {
    let nss = Nss::new(Format::Sql, "");
    nss.add("valid", "c,c,c", &certificate_for(&KEYS[0], "valid", 1, 0, 0));
    nss.open().certificates.iter().any(|certificate| certificate.trust.letters() == "c,c,c")
}

#[test]
fn generated_databases_are_read_as_nss_reads_them() {
    let only = std::env::var("NSSIGHT_DIFFERENTIAL").ok().map(|seed| seed.parse::<u64>().expect("a seed"));
    let (first, last) = only.map_or((0, DATABASES), |seed| (seed, seed + 1));
    let next = AtomicU64::new(first);
    let disagreements: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());
    let covered = Mutex::new(Covered::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= last {
                        return;
                    }
                    if let Some(text) = disagreement(seed, &covered) {
                        disagreements.lock().expect("no panic elsewhere").insert(seed, text);
                    }
                }
            });
        }
    });
    let disagreements = disagreements.into_inner().expect("no panic elsewhere");
    assert!(disagreements.is_empty(), "{}", disagreements.into_values().collect::<Vec<_>>().join("\n"));
    let covered = covered.into_inner().expect("no panic elsewhere");
    if only.is_none() {
        println!("{} certificates, {} kinds of trust, {:?}", covered.certificates, covered.trust.len(), covered.keys);
        // PKCS #11's own trust objects, which later versions write (3.132), have no value for a CA that is only valid ("c"). Without
        // this value, there are fewer combinations of the three fields.
        let kinds = if keeps_valid_ca() { 150 } else { 100 };
        assert!(covered.certificates > 2500 && covered.trust.len() > kinds && covered.passwords.len() > 4);
        for kind in ["Rsa", "Ec", "Dsa"] {
            for format in [Format::Sql, Format::Dbm] {
                let count = covered.keys.get(&format!("{kind} in {format}")).copied().unwrap_or(0);
                assert!(count >= 10, "{count} {kind} keys in {format} only");
            }
        }
    }
}
