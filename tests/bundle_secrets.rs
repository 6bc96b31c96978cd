//! A secret never leaves the host in a bundle, however it is written; the data that a reader needs stays.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;

use common::{Case, PKI, binary, run, unpack};
use nssight_fixtures::nssdb::DbFormat;

/// A secret unlike any other, of meaningless letters.
fn secret(number: usize) -> String {
    format!("Qz{number:02}vKt9Lm")
}

/// This many random-looking letters and digits, always the same for a number.
fn random(number: usize, length: usize, alphabet: &str) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1);
    let draw = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        letters[(state >> 33) as usize % letters.len()]
    };
    (0..length).map(draw).collect()
}

const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const HEX: &str = "0123456789abcdef";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Ways to write a secret after its name; `@` stands for the secret.
const NAMED: [&str; 112] = [
    "password=@",
    "password = @",
    "password: @",
    "Password:@",
    "passwd=@",
    "passphrase: @",
    "pass phrase: @",
    "pwd=@",
    "pw: @",
    "DB_PASS=@",
    "export DB_PASS=@",
    "dbPass = @",
    "SIGUL_PW=@",
    "MYSQL_PWD=@",
    "PGPASSWORD=@",
    "api_key=@",
    "api-key: @",
    "apikey=@",
    "apiKey: \"@\"",
    "API key: @",
    "AWS_SECRET_ACCESS_KEY=@",
    "aws_secret_access_key = @",
    "access_token=@",
    "refreshToken: @",
    "client_secret=@",
    "private_key: @",
    "encryption-key = @",
    "koji-credential = @",
    "pin = @",
    "psk=@",
    "secret => '@'",
    "password := @",
    "password -> @",
    "password == '@'",
    "d[\"password\"] = \"@\"",
    "{\"password\": \"@\"}",
    "{\"password\":\"@\",\"user\":\"bob\"}",
    "{\\\"password\\\":\\\"@\\\"}",
    "{'password': '@'}",
    "{'password': b'@'}",
    "password=\"@\"",
    "password='@'",
    "password=`@`",
    "password=&quot;@&quot;",
    "password%3D@",
    "?password=@&user=bob",
    "https://host.example/login?user=bob&token=@&next=1",
    "tool --password @",
    "tool --password=@",
    "tool --password '@'",
    "['tool', '--password', '@', '-v']",
    "tool --db-passphrase @ -v",
    "tool --token @",
    "tool -p @",
    "tool -P @",
    "mysql -ubob -p@ db",
    "sshpass -p @ ssh host",
    "pk12util -i c.p12 -W @",
    "pk12util -o c.p12 -K '@'",
    "tstclnt -h host -w @",
    "ldapsearch -D cn=x -w @",
    "curl -u bob:@ https://host.example/",
    "curl --user 'bob:@' https://host.example/",
    "smbclient //h/s -U bob%@",
    "openssl pkcs12 -passin pass:@",
    "openssl rsa -passout pass:@ -in k",
    "Cookie: session=@",
    "Set-Cookie: sid=@; Path=/",
    "Authorization: Basic @",
    "Authorization: Bearer @",
    "Authorization: @",
    "proxy-authorization: Basic @",
    "X-Api-Key: @",
    "X-Auth-Token: @",
    "curl -H \"Authorization: Bearer @\" https://host.example/",
    "redis://:@@host.example:6379/0",
    "https://bob:@@host.example/",
    "https://@x4@host.example/repo.git",
    "postgres://bob:@@host.example/db",
    "<password>@</password>",
    "<Password type=\"x\">@</Password>",
    "<password><![CDATA[@]]></password>",
    "<add key=\"DbPassword\" value=\"@\"/>",
    "<user name=\"bob\" password=\"@\"/>",
    "{\"name\": \"DB_PASSWORD\", \"value\": \"@\"}",
    "- name: DB_PASSWORD\n  value: @",
    "machine host.example login bob password @",
    "machine host.example\n  login bob\n  password @",
    "{\"auths\": {\"r.example\": {\"auth\": \"@\"}}}",
    "    client-key-data: @",
    "password: |\n  @\n  more",
    "secret: >-\n    @",
    "password:\n  @",
    "tokens:\n  - @\n  - other",
    "tokens: [\"@\", \"other\"]",
    "passphrase for key: @",
    "Enter passphrase for fedora-40: @",
    "Password for user bob: @",
    "PIN for token NSS Certificate DB: @",
    "the password is @",
    "password was '@'",
    "ALTER USER bob IDENTIFIED BY '@'",
    "CREATE USER bob WITH PASSWORD '@'",
    "requirepass @",
    "db.example:5432:koji:bob:@",
    "AccountName=x;AccountKey=@;EndpointSuffix=y",
    "bob:$6$saltsalt$@:19000:0:99999:7:::",
    "userPassword: {SSHA}@",
    "password=first blank @",
    "password = first,comma @",
    "Environment=SIGUL_PW=@",
    "2026-11-28 21:29:10 DEBUG login(user='bob', password='@')",
];

/// Secrets without a name.
fn unnamed() -> Vec<(String, String)> {
    let issued = [
        ("AKIA", 16, UPPER),
        ("ASIA", 16, UPPER),
        ("ghp_", 36, LETTERS),
        ("gho_", 36, LETTERS),
        ("ghs_", 36, LETTERS),
        ("github_pat_", 82, LETTERS),
        ("glpat-", 20, LETTERS),
        ("xoxb-2026-", 24, LETTERS),
        ("xoxp-2026-", 24, LETTERS),
        ("sk_live_", 24, LETTERS),
        ("rk_live_", 24, LETTERS),
        ("AIza", 35, LETTERS),
        ("npm_", 36, LETTERS),
        ("pypi-AgEI", 60, LETTERS),
        ("dckr_pat_", 27, LETTERS),
        ("hf_", 34, LETTERS),
        ("dop_v1_", 64, HEX),
        ("sk-ant-api03-", 80, LETTERS),
        ("sk-proj-", 48, LETTERS),
        ("hvs.", 24, LETTERS),
        ("AGE-SECRET-KEY-1", 58, UPPER),
        ("shpat_", 32, HEX),
        ("dapi", 32, HEX),
        ("lin_api_", 40, LETTERS),
        ("glsa_", 32, LETTERS),
        ("pul-", 40, HEX),
        ("SG.AAAAAAAAAAAAAAAAAAAAAA.", 43, LETTERS),
        ("ya29.", 40, LETTERS),
        ("rubygems_", 48, HEX),
        ("NRAK-", 27, UPPER),
    ];
    let mut all: Vec<(String, String)> = Vec::new();
    for (number, (prefix, length, alphabet)) in issued.into_iter().enumerate() {
        let tail = random(number + 100, length, alphabet);
        all.push((format!("got {prefix}{tail} there"), tail));
    }
    let words = [
        ("a base64 word", 44, BASE64),
        ("letters and digits", 40, LETTERS),
        ("hexadecimal", 64, HEX),
        ("short", 32, LETTERS),
    ];
    for (number, (what, length, alphabet)) in words.into_iter().enumerate() {
        let word = random(number + 200, length, alphabet);
        all.push((format!("{what} {word} alone"), word));
    }
    let jwt = ["{\"alg\":\"HS256\"}", "{\"sub\":\"bob\"}"]
        .map(|part| openssl::base64::encode_block(part.as_bytes()).replace('=', ""));
    let signature = random(300, 43, LETTERS);
    all.push((format!("jwt {}.{}.{signature}", jwt[0], jwt[1]), signature));
    let lines = |number: usize| (0..4).map(|line| random(number + line, 64, BASE64)).collect::<Vec<_>>();
    for (number, label) in
        ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PGP PRIVATE KEY BLOCK"]
            .into_iter()
            .enumerate()
    {
        let body = lines(400 + number * 10);
        all.push((format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", body.join("\n")), body[2].clone()));
        all.push((format!("-----BEGIN {label}-----\\n{}\\n-----END {label}-----", body.join("\\n")), body[3].clone()));
        all.push((format!("{}\n-----END {label}-----", body[1..].join("\n")), body[1].clone()));
    }
    let body = lines(500);
    all.push((
        format!(
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
            body.join("\n")
        ),
        body[1].clone(),
    ));
    all.push((
        format!("PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 4\n{}\nPrivate-MAC: x", body.join("\n")),
        body[2].clone(),
    ));
    all.push((
        format!("{{\"kty\":\"RSA\",\"e\":\"AQAB\",\"d\":\"{}\"}}", random(600, 86, LETTERS)),
        random(600, 86, LETTERS),
    ));
    all
}

/// The planted texts, and the secrets that must not appear in the bundle.
fn planted() -> Vec<(String, String)> {
    let named = NAMED.iter().enumerate().map(|(number, form)| {
        let secret = secret(number);
        (form.replacen('@', &secret, 1), secret)
    });
    named.chain(unnamed()).collect()
}

/// The bundle of these files, given as logs and as configurations.
fn bundle(case: &Case, logs: &[PathBuf], configs: &[PathBuf]) -> Vec<(String, Vec<u8>)> {
    let path = case.path("out.tar.zst");
    let mut command = binary();
    command.args(["bundle", "--until", "config", "--force", "-o"]).arg(&path);
    command.args(logs.iter().flat_map(|log| [OsStr::new("--log"), log.as_os_str()]));
    command.args(configs.iter().flat_map(|config| [OsStr::new("--add-config"), config.as_os_str()]));
    let done = run(&mut command);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert!(done.stdout.contains("Review it before you send it"), "{done:#?}");
    unpack(&path)
}

fn part<'a>(files: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    &files.iter().find(|(each, _)| each.ends_with(name)).unwrap_or_else(|| panic!("{name} is missing")).1
}

fn holds(content: &[u8], secret: &str) -> bool {
    content.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn no_way_to_write_a_secret_leaks_it() {
    let case = Case::new();
    let planted = planted();
    assert!(planted.len() > 150);
    // Each in a separate file, so that no secret is known from another file; as a log, in the middle of a log line, and as a configuration.
    let mut files = Vec::new();
    for (number, (form, _)) in planted.iter().enumerate() {
        let around = format!("before it\n{form}\nafter it\n");
        files.push(case.file(&format!("form-{number:03}"), around));
        let line = format!("before it\n2026-11-28 21:29:10,123 DEBUG bridge[77]: {form}\nafter it\n");
        files.push(case.file(&format!("line-{number:03}"), line));
    }
    let mut leaks = Vec::new();
    let as_logs = bundle(&case, &files, &[]);
    // A secret found in a configuration is also removed from the other files, which would hide mistakes. So logs and configurations are
    // bundled separately.
    let as_configs = bundle(&case, &[], &files);
    for (kind, all) in [("logs", as_logs), ("config", as_configs)] {
        for (number, (form, secret)) in planted.iter().enumerate() {
            for place in ["form", "line"] {
                // A form of several lines is only valid at the beginning of a line.
                if place == "line" && form.contains('\n') && !form.contains("-----") {
                    continue;
                }
                let content = part(&all, &format!("-{place}-{number:03}"));
                if holds(content, secret) {
                    leaks.push(format!("{kind} {place} {}", String::from_utf8_lossy(content)));
                }
                assert!(
                    holds(content, "before it")
                        && (holds(content, "after it") || form.contains("BEGIN") && !form.contains("END")),
                    "{}",
                    String::from_utf8_lossy(content)
                );
            }
        }
    }
    assert!(leaks.is_empty(), "{} of {} leak:\n{}", leaks.len(), planted.len() * 4, leaks.join("\n"));
}

#[test]
fn compression_and_encoding_hide_no_secret() {
    let case = Case::new();
    let text = format!("a healthy line\npassword = {}\nSIGUL_PW={}\n", secret(1), secret(2));
    let gzip = |bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    xz.write_all(text.as_bytes()).unwrap();
    let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let files = [
        ("log.gz", gzip(text.as_bytes())),
        ("log.xz", xz.finish().unwrap()),
        ("log.zst", zstd::encode_all(text.as_bytes(), 3).unwrap()),
        ("log.gz.gz", gzip(&gzip(text.as_bytes()))),
        ("misnamed.log", gzip(text.as_bytes())),
        ("little.log", [vec![0xff, 0xfe], wide(u16::to_le_bytes)].concat()),
        ("big.log", [vec![0xfe, 0xff], wide(u16::to_be_bytes)].concat()),
        ("unmarked.log", wide(u16::to_le_bytes)),
        ("hole.log", [vec![0; 8192], text.clone().into_bytes()].concat()),
        ("coloured.log", text.replace('=', "\x1b[0m=\x1b[33m").into_bytes()),
        ("packed-wide.gz", gzip(&wide(u16::to_le_bytes))),
        ("crlf.log", text.replace('\n', "\r\n").into_bytes()),
    ];
    let paths: Vec<PathBuf> = files.iter().map(|(name, content)| case.file(name, content)).collect();
    let all = bundle(&case, &paths, &paths);
    for (name, _) in &files {
        for (_, content) in all.iter().filter(|(each, _)| each.ends_with(name)) {
            assert!(holds(content, "a healthy line"), "{name}: {}", String::from_utf8_lossy(content));
            assert!(
                !holds(content, &secret(1)) && !holds(content, &secret(2)),
                "{name}: {}",
                String::from_utf8_lossy(content)
            );
        }
    }
}

#[test]
fn files_with_keys_are_not_bundled() {
    let case = Case::new();
    let sql = case.database(DbFormat::Sql).join("key4.db");
    let other = Case::new();
    let dbm = other.database(DbFormat::Dbm).join("key3.db");
    let key = PKI.client.key.private_key_to_pkcs8().unwrap();
    let p12 = openssl::pkcs12::Pkcs12::builder()
        .name("x")
        .pkey(&PKI.client.key)
        .cert(&PKI.client.certificate)
        .build2("x")
        .unwrap();
    let java = [&[0xfe, 0xed, 0xfe, 0xed][..], &[0, 0, 0, 2], &key].concat();
    // The packets of an exported secret key (RFC 9580), and a key ring.
    let gnupg = [&[0x95, 0x03, 0x98, 0x04][..], &key].concat();
    let keybox = [&[0, 0, 0, 32, 1, 1, 0, 2][..], b"KBXf", &[0; 20], &key].concat();
    let mut zip = b"PK\x03\x04".to_vec();
    zip.extend_from_slice(&key);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(key.len() as u64);
    header.set_cksum();
    archive.append_data(&mut header, "key.der", key.as_slice()).unwrap();
    let files = [
        ("key.der", key.clone()),
        ("key.p12", p12.to_der().unwrap()),
        ("store.jks", java),
        ("secring.gpg", gnupg),
        ("pubring.kbx", keybox),
        ("logs.zip", zip),
        ("logs.tar", archive.into_inner().unwrap()),
        ("cert.der", PKI.client.certificate.to_der().unwrap()),
    ];
    let mut paths: Vec<PathBuf> = files.iter().map(|(name, content)| case.file(name, content)).collect();
    paths.extend([sql.clone(), dbm.clone()]);
    let packed: Vec<u8> = zstd::encode_all(fs::read(&sql).unwrap().as_slice(), 3).unwrap();
    paths.push(case.file("key4.db.zst", packed));
    // A log with a key in the middle.
    let mixed = [b"a healthy line of a log\n".repeat(3000), key.clone(), b"\nand its end\n".to_vec()].concat();
    paths.push(case.file("mixed.log", mixed));
    let all = bundle(&case, &paths, &paths);
    let manifest: serde_json::Value = serde_json::from_slice(part(&all, "MANIFEST.json")).unwrap();
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        for (each, content) in all.iter().filter(|(each, _)| each.ends_with(name) && !each.ends_with("MANIFEST.json")) {
            if name == "mixed.log" {
                assert!(holds(content, "and its end"));
                assert!(key.windows(24).all(|piece| !content.windows(24).any(|window| window == piece)), "{each}");
                continue;
            }
            assert!(content.is_empty(), "{each} has {} bytes", content.len());
            let listed = manifest["files"]
                .as_array()
                .unwrap()
                .iter()
                .find(|it| each.ends_with(it["name"].as_str().unwrap()))
                .unwrap();
            assert!(listed["note"].as_str().unwrap().contains("a bundle contains only text"), "{listed}");
        }
    }
}

#[test]
fn no_other_user_can_lead_a_bundle_to_our_files() {
    assert!(rustix::process::geteuid().is_root(), "only root can make another user's link");
    const UNPRIVILEGED_UID: Option<u32> = Some(65534);
    let case = Case::new();
    let victim = case.file("shadow", "the line of the victim\n");
    let theirs = case.path("theirs");
    fs::create_dir(&theirs).unwrap();
    let link = theirs.join("app.log");
    symlink(&victim, &link).unwrap();
    let hard = theirs.join("hard.log");
    fs::hard_link(&victim, &hard).unwrap();
    let over = theirs.join("over");
    symlink(case.path(""), &over).unwrap();
    for path in [&theirs, &link, &over] {
        std::os::unix::fs::lchown(path, UNPRIVILEGED_UID, UNPRIVILEGED_UID).unwrap();
    }
    let fifo = case.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let paths = [link, hard, over.join("shadow"), fifo, case.path("theirs")];
    let all = bundle(&case, &paths, &paths);
    assert!(all.iter().all(|(_, content)| !holds(content, "the line of the victim")));

    // Our own link may lead anywhere, and another user's link only to that user's files.
    let own = case.path("own.log");
    let mine = case.file("mine", "a line of mine\n");
    symlink(&mine, &own).unwrap();
    let file = case.file("theirs/file", "a line of theirs\n");
    chown(&file, UNPRIVILEGED_UID, UNPRIVILEGED_UID).unwrap();
    let current = case.path("theirs/current.log");
    symlink("file", &current).unwrap();
    std::os::unix::fs::lchown(&current, UNPRIVILEGED_UID, UNPRIVILEGED_UID).unwrap();
    let all = bundle(&case, &[own, current], &[]);
    assert!(holds(part(&all, "1-own.log"), "a line of mine") && holds(part(&all, "2-current.log"), "a line of theirs"));
}

#[test]
fn a_healthy_bundle_stays_readable() {
    let case = Case::new();
    let logs = [
        ("bridge.log", include_str!("data/healthy-bridge.log")),
        ("journal.log", include_str!("data/healthy-journal.log")),
    ];
    let paths: Vec<PathBuf> = logs.iter().map(|(name, text)| case.file(name, text)).collect();
    let config = case.file("sigul.conf", include_str!("data/healthy-sigul.conf"));
    let all = bundle(&case, &paths, &[config]);
    let marks = |content: &[u8]| String::from_utf8_lossy(content).matches("[redacted]").count();
    // Text that a program has already redacted stays unchanged.
    let of_logs: usize = logs.iter().map(|(name, text)| marks(part(&all, name)) - marks(text.as_bytes())).sum();
    let lines: usize = logs.iter().map(|(_, text)| text.lines().count()).sum();
    assert!(lines > 90, "{lines}");
    assert_eq!(
        of_logs,
        0,
        "{}{}",
        String::from_utf8_lossy(part(&all, "bridge.log")),
        String::from_utf8_lossy(part(&all, "journal.log"))
    );
    // The configuration has one password.
    assert_eq!(marks(part(&all, "sigul.conf")), 1, "{}", String::from_utf8_lossy(part(&all, "sigul.conf")));
    for name in ["environment.txt", "libraries.txt", "resolver.txt", "crypto-policy.txt"] {
        assert_eq!(marks(part(&all, name)), 0, "{name}: {}", String::from_utf8_lossy(part(&all, name)));
    }
}
