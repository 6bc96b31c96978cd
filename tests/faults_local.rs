//! Faults of the layers before the network, each with the layer and the cause that a diagnosis must name.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, diagnose, run, run_beside};
use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat, public_value};

/// Nothing listens there, and nothing must connect: the walk must have ended before.
const NOWHERE: u16 = 9;

fn config(case: &Case, text: &str) -> Run {
    let path = case.file("client.conf", text);
    run(binary().args(["diagnose", "--format", "json", "-c"]).arg(path))
}

fn with_database(case: &Case, database: &Path) -> Run {
    let password = case.password_file();
    run_beside(&mut diagnose(database, &password, NOWHERE), database)
}

fn with_password(case: &Case, content: &[u8]) -> Run {
    let database = case.database(DbFormat::Sql);
    let password = case.file("given", content);
    run_beside(&mut diagnose(&database, &password, NOWHERE), &database)
}

/// As nobody, when the tests run as root: root reads everything.
fn as_nobody(case: &Case, database: &Path) -> Run {
    let password = case.password_file();
    let mut command = diagnose(database, &password, NOWHERE);
    if rustix::process::geteuid().is_root() {
        let copy = case.path("nssight");
        common::copy_nssight(&copy);
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(case.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut other = Command::new(copy);
        other.args(command.get_args()).stdin(Stdio::null()).uid(65534).gid(65534);
        command = other;
    }
    run(&mut command)
}

fn identity_with(spec: &Spec) -> Identity {
    PKI.ca.issue(spec).unwrap()
}

fn with_identity(case: &Case, identity: &Identity) -> Run {
    let database = case.database_of(DbFormat::Sql, identity, &[("lab-ca", &PKI.ca, "CT,C,C")]);
    with_database(case, &database)
}

fn with_authorities(case: &Case, authorities: &[(&str, &Identity, &str)]) -> Run {
    let database = case.database_of(DbFormat::Sql, &PKI.client, authorities);
    before_the_network(case, &database)
}

/// What is wrong with the trust of a database is looked at where no peer's chain can tell more.
fn before_the_network(case: &Case, database: &Path) -> Run {
    let password = case.password_file();
    run_beside(diagnose(database, &password, NOWHERE).args(["--until", "private-key"]), database)
}

faults! {
    config_that_is_not_there: "config", "config-missing" => |case| {
        run(binary().args(["diagnose", "--format", "json", "-c"]).arg(case.path("none.conf")))
    }
    config_that_is_a_directory: "config", "config-invalid" => |case| {
        run(binary().args(["diagnose", "--format", "json", "-c"]).arg(case.dir.path()))
    }
    config_that_is_a_fifo: "config", "config-invalid" => |case| {
        let path = case.path("client.conf");
        common::tool("mkfifo", [path.as_os_str()]);
        run(binary().args(["diagnose", "--format", "json", "-c"]).arg(path))
    }
    config_of_a_gigabyte: "config", "config-invalid" => |case| {
        let path = case.path("client.conf");
        fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
        run(binary().args(["diagnose", "--format", "json", "-c"]).arg(path))
    }
    config_that_is_not_utf8: "config", "config-invalid" => |case| {
        let path = case.file("client.conf", b"[client]\nbridge-hostname: br\xfccke\n");
        run(binary().args(["diagnose", "--format", "json", "-c"]).arg(path))
    }
    config_with_a_key_twice: "config", "config-invalid" => |case| {
        let run = config(&case, "[client]\nbridge-hostname: a\nbridge-hostname: b\nserver-hostname: s\n");
        let summary = run.report()["verdict"]["summary"].to_string();
        assert!(summary.contains("client.conf:3") && summary.contains("bridge-hostname"), "{summary}");
        run
    }
    config_with_port_0: "config", "config-invalid" => |case| {
        config(&case, "[client]\nbridge-hostname: localhost\nbridge-port: 0\nserver-hostname: s\n")
    }
    config_with_port_70000: "config", "config-invalid" => |case| {
        config(&case, "[client]\nbridge-hostname: localhost\nbridge-port: 70000\nserver-hostname: s\n")
    }
    config_with_a_host_of_300_characters: "config", "config-invalid" => |case| {
        config(&case, &format!("[client]\nbridge-hostname: {}\nserver-hostname: s\n", "a".repeat(300)))
    }
    config_without_a_bridge: "config", "config-invalid" => |case| {
        config(&case, "[client]\nserver-hostname: s\n")
    }
    config_of_a_client_on_the_server_port: "config", "wrong-port" => |case| {
        config(&case, "[client]\nbridge-hostname: localhost\nbridge-port: 44333\nserver-hostname: s\n")
    }

    database_directory_missing: "nss-db", "db-missing" => |case| { with_database(&case, &case.path("none")) }
    database_directory_empty: "nss-db", "db-missing" => |case| {
        fs::create_dir(case.path("db")).unwrap();
        with_database(&case, &case.path("db"))
    }
    database_path_is_a_file: "nss-db", "db-missing" => |case| {
        let path = case.file("db", "");
        with_database(&case, &path)
    }
    key_file_missing: "nss-db", "db-missing" => |case| {
        let database = case.database(DbFormat::Sql);
        fs::remove_file(database.join("key4.db")).unwrap();
        with_database(&case, &database)
    }
    key_file_unreadable: "nss-db", "db-unreadable" => |case| {
        let database = case.database(DbFormat::Sql);
        for entry in fs::read_dir(&database).unwrap() {
            fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
        }
        fs::set_permissions(&database, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(database.join("key4.db"), fs::Permissions::from_mode(0o000)).unwrap();
        as_nobody(&case, &database)
    }
    database_directory_closed: "nss-db", "db-unreadable" => |case| {
        let database = case.database(DbFormat::Sql);
        fs::set_permissions(&database, fs::Permissions::from_mode(0o000)).unwrap();
        as_nobody(&case, &database)
    }
    certificate_file_empty: "nss-db", "db-corrupt" => |case| {
        let database = case.database(DbFormat::Sql);
        fs::write(database.join("cert9.db"), "").unwrap();
        with_database(&case, &database)
    }
    key_file_empty: "nss-db", "db-corrupt" => |case| {
        let database = case.database(DbFormat::Sql);
        fs::write(database.join("key4.db"), "").unwrap();
        with_database(&case, &database)
    }
    key_file_garbage: "nss-db", "db-corrupt" => |case| {
        let database = case.database(DbFormat::Sql);
        fs::write(database.join("key4.db"), [0x5au8; 40_000]).unwrap();
        with_database(&case, &database)
    }
    certificate_file_cut_short: "nss-db", "db-corrupt" => |case| {
        let database = case.database(DbFormat::Sql);
        let path = database.join("cert9.db");
        let length = fs::metadata(&path).unwrap().len();
        fs::File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
        with_database(&case, &database)
    }
    key_file_of_another_database: "nss-db", "db-pair-mismatch" => |case| {
        let database = case.database(DbFormat::Sql);
        let other = Case::new();
        let other_database = other.database_of(DbFormat::Sql, &PKI.stranger, &[("ca", &PKI.other_ca, "CT,C,C")]);
        fs::copy(other_database.join("key4.db"), database.join("key4.db")).unwrap();
        with_database(&case, &database)
    }
    legacy_asked_for_where_only_sql_is: "nss-db", "db-type-mismatch" => |case| {
        let database = case.database(DbFormat::Sql);
        let password = case.password_file();
        run_beside(&mut diagnose(Path::new(&DbFormat::Dbm.directory(&database)), &password, NOWHERE), &database)
    }
    environment_asks_for_legacy: "nss-db", "db-type-mismatch" => |case| {
        let database = case.database(DbFormat::Sql);
        let password = case.password_file();
        run_beside(diagnose(&database, &password, NOWHERE).env("NSS_DEFAULT_DB_TYPE", "dbm"), &database)
    }
    legacy_files_under_new_names: "nss-db", "db-type-mismatch" => |case| {
        let database = case.database(DbFormat::Dbm);
        fs::rename(database.join("cert8.db"), database.join("cert9.db")).unwrap();
        fs::rename(database.join("key3.db"), database.join("key4.db")).unwrap();
        with_database(&case, &database)
    }
    key_database_never_initialised: "nss-db", "db-uninitialised" => |case| {
        let database = case.path("db");
        // Trust could not be set: that needs a login, and a login needs a password record.
        DbBuilder::new(DbFormat::Sql).x509("lab-ca", &PKI.ca.certificate, "").unwrap().build(&database).unwrap();
        with_database(&case, &database)
    }
    key_file_locked_by_a_writer: "nss-db", "db-locked" => |case| {
        let database = case.database(DbFormat::Sql);
        let mut writer = Command::new("/usr/bin/python3")
            .args(["-c", "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\nc.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\nsys.stdin.read()"])
            .arg(database.join("key4.db")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(writer.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "locked\n");
        let password = case.password_file();
        let run = run(&mut diagnose(&database, &password, NOWHERE));
        drop(writer.stdin.take());
        writer.wait().unwrap();
        run
    }
    nickname_only_in_the_format_that_is_not_read: "nss-db", "db-mixed-formats" => |case| {
        let database = case.database(DbFormat::Dbm);
        // Made elsewhere: NSS would fill a new database from the legacy one beside it.
        let newer = case.path("newer");
        DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes())
            .x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&newer).unwrap();
        for name in ["cert9.db", "key4.db", "pkcs11.txt"] {
            fs::copy(newer.join(name), database.join(name)).unwrap();
        }
        let password = case.password_file();
        run_beside(&mut diagnose(Path::new(&DbFormat::Sql.directory(&database)), &password, NOWHERE), &database)
    }

    password_wrong: "password", "password-wrong" => |case| { with_password(&case, b"something else\n") }
    password_not_given: "password", "password-missing" => |case| {
        let database = case.database(DbFormat::Sql);
        run_beside(binary().args(["diagnose", "--format", "json", "--nickname", NICKNAME, "--bridge", "localhost:9", "--db"]).arg(&database), &database)
    }
    password_file_empty: "password", "password-missing" => |case| { with_password(&case, b"") }
    password_after_a_byte_order_mark: "password", "password-file-format" => |case| {
        with_password(&case, format!("\u{feff}{PASSWORD}\n").as_bytes())
    }
    password_before_a_blank: "password", "password-file-format" => |case| {
        with_password(&case, format!("{PASSWORD} \n").as_bytes())
    }
    password_before_a_comment: "password", "password-file-format" => |case| {
        with_password(&case, format!("{PASSWORD}\n# the lab's password\n").as_bytes())
    }
    password_in_quotes: "password", "password-file-format" => |case| {
        with_password(&case, format!("\"{PASSWORD}\"\n").as_bytes())
    }
    password_for_the_token_of_fips_mode: "password", "password-file-format" => |case| {
        with_password(&case, format!("NSS FIPS 140-2 Certificate DB:{PASSWORD}\n").as_bytes())
    }
    password_in_another_character_set: "password", "password-file-format" => |case| {
        let database = case.path("db");
        DbBuilder::new(DbFormat::Sql).password("schlüssel".as_bytes())
            .x509_identity(NICKNAME, &PKI.client.certificate, &PKI.client.key, "").unwrap()
            .x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
        let password = case.file("given", b"schl\xfcssel\n");
        run_beside(&mut diagnose(&database, &password, NOWHERE), &database)
    }
    password_in_the_configuration_wrong: "password", "password-wrong" => |case| {
        let database = case.database(DbFormat::Sql);
        config(&case, &format!("[nss]\nnss-dir: {}\nnss-password: nope\n[client]\nbridge-hostname: localhost\nserver-hostname: s\n", database.display()))
    }
    password_set_by_a_newer_nss: "password", "password-salt-too-new" => |case| {
        let database = case.database(DbFormat::Sql);
        let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute(\"update metaData set item1 = zeroblob(48) where id = 'password'\")\nc.commit()";
        common::tool("/usr/bin/python3", ["-c".as_ref(), script.as_ref(), database.join("key4.db").as_os_str()]);
        with_database(&case, &database)
    }

    nickname_not_there: "certificate", "cert-not-found" => |case| {
        let database = case.database(DbFormat::Sql);
        let password = case.password_file();
        run_beside(diagnose(&database, &password, NOWHERE).args(["--nickname", "nobody-knows-it"]), &database)
    }
    nickname_with_a_colon: "certificate", "cert-not-found" => |case| {
        let database = case.path("db");
        DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes())
            .x509_identity("team:web", &PKI.client.certificate, &PKI.client.key, "").unwrap()
            .x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
        let password = case.password_file();
        let run = run_beside(diagnose(&database, &password, NOWHERE).args(["--nickname", "team:web"]), &database);
        assert!(run.stdout.contains("for the name of a token"), "{run:#?}");
        run
    }
    nickname_in_another_case: "certificate", "cert-nickname-near-miss" => |case| {
        let database = case.database(DbFormat::Sql);
        let password = case.password_file();
        run_beside(diagnose(&database, &password, NOWHERE).args(["--nickname", "Sigul-Client-Cert"]), &database)
    }
    certificate_expired: "certificate", "cert-expired" => |case| {
        with_identity(&case, &identity_with(&Spec::new("client", Usage::Client).valid(-20 * DAY, -DAY)))
    }
    certificate_not_yet_valid: "certificate", "cert-not-yet-valid" => |case| {
        with_identity(&case, &identity_with(&Spec::new("client", Usage::Client).valid(DAY, 20 * DAY)))
    }
    certificate_and_authority_not_yet_valid: "certificate", "clock-skew" => |case| {
        let ca = Identity::self_signed(&Spec::new("Lab CA", Usage::Authority).valid(DAY, 50 * DAY)).unwrap();
        let client = ca.issue(&Spec::new("client", Usage::Client).valid(DAY, 20 * DAY)).unwrap();
        let database = case.database_of(DbFormat::Sql, &client, &[("lab-ca", &ca, "CT,C,C")]);
        with_database(&case, &database)
    }
    certificate_for_signing_code: "certificate", "cert-wrong-usage" => |case| {
        with_identity(&case, &identity_with(&Spec::new("client", Usage::CodeSigning)))
    }
    certificate_for_servers_only: "certificate", "cert-wrong-usage" => |case| {
        // Of a host that is configured as a client; in a database that nobody says so of it is a remark.
        let server = identity_with(&Spec::new("client", Usage::Server));
        let database = case.database_of(DbFormat::Sql, &server, &[("lab-ca", &PKI.ca, "CT,C,C")]);
        let nss = format!("[nss]\nnss-dir: {}\nnss-password: {PASSWORD}\n", database.display());
        config(&case, &format!("{nss}[client]\nbridge-hostname: localhost\nserver-hostname: s\nclient-cert-nickname: {NICKNAME}\n"))
    }
    authority_missing: "certificate", "ca-missing" => |case| { with_authorities(&case, &[]) }
    authority_without_trust: "certificate", "ca-untrusted" => |case| { with_authorities(&case, &[("lab-ca", &PKI.ca, ",,")]) }
    authority_trusted_for_clients_only: "certificate", "ca-untrusted" => |case| { with_authorities(&case, &[("lab-ca", &PKI.ca, "T,,")]) }
    authority_trusted_for_mail_only: "certificate", "ca-untrusted" => |case| { with_authorities(&case, &[("lab-ca", &PKI.ca, ",C,")]) }
    authority_expired: "certificate", "ca-expired" => |case| {
        let ca = Identity::self_signed(&Spec::new("Lab CA", Usage::Authority).valid(-50 * DAY, -DAY)).unwrap();
        let client = ca.issue(&Spec::new("client", Usage::Client)).unwrap();
        let database = case.database_of(DbFormat::Sql, &client, &[("lab-ca", &ca, "CT,C,C")]);
        before_the_network(&case, &database)
    }
    certificate_too_weak_for_the_policy: "certificate", "cert-weak-policy" => |case| {
        let client = identity_with(&Spec::new("client", Usage::Client).key(KeyKind::Rsa(2048)));
        let database = case.database_of(DbFormat::Sql, &client, &[("lab-ca", &PKI.ca, "CT,C,C")]);
        add_policy(&database, "allow=RSA-MIN=3072");
        with_database(&case, &database)
    }

    key_not_there: "private-key", "key-missing" => |case| {
        let database = case.path("db");
        DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes())
            .x509(NICKNAME, &PKI.client.certificate, "").unwrap()
            .x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
        with_database(&case, &database)
    }
    key_of_another_certificate_only: "private-key", "key-missing" => |case| {
        let database = case.path("db");
        DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes())
            .x509(NICKNAME, &PKI.client.certificate, "").unwrap()
            .pkey("waiting for its certificate", &PKI.stranger.key).unwrap()
            .x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
        with_database(&case, &database)
    }
    key_filed_under_the_wrong_certificate: "private-key", "key-mismatch" => |case| {
        let database = case.path("db");
        let other = identity_with(&Spec::new("other", Usage::Client).key(KeyKind::Rsa(2048)));
        DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes())
            .x509_identity("other", &other.certificate, &other.key, "").unwrap()
            .x509(NICKNAME, &PKI.client.certificate, "").unwrap()
            .x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
        // NSS files a key under the id of its own public value; a restore by hand need not.
        let id = openssl::sha::sha1(&public_value(&PKI.client.key).unwrap());
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('update nssPrivate set a102 = ? where a0 = ?', (bytes.fromhex(sys.argv[2]), b'\\0\\0\\0\\3'))\nc.commit()";
        common::tool("/usr/bin/python3", ["-c".as_ref(), script.as_ref(), database.join("key4.db").as_os_str(), id.as_ref()]);
        with_database(&case, &database)
    }
}

/// A policy as NSS reads it from the module list (measured on 3.87.1).
fn add_policy(database: &Path, rules: &str) {
    let path = database.join("pkcs11.txt");
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str(&format!("\nlibrary=\nname=Policy\nNSS=flags=policyOnly,moduleDB\nconfig=\"{rules}\"\n\n"));
    fs::write(path, text).unwrap();
}
