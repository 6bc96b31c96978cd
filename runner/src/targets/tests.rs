use std::path::Path;
use std::time::Duration;

use nssight_probes::target::PasswordSource;

use super::*;

fn parse(text: &str) -> Result<Vec<CheckTarget>, String> {
    TargetsFile::parse("t.toml", text, Path::new("/dir")).map(|file| file.targets)
}

fn one(text: &str) -> CheckTarget {
    let mut targets = parse(text).unwrap();
    assert_eq!(targets.len(), 1);
    targets.remove(0)
}

#[test]
fn defaults_apply_where_a_target_has_no_setting_of_its_own() {
    let targets = parse(
        r#"
        [defaults]
        timeout = 2
        deadline = 30.5
        retries = 3
        retry-spacing = 0
        password-env = "USUAL"
        labels = { team = "releng", env = "test" }
        db = "sql:nssdb"
        [[target]]
        name = "one"
        bridge = "Host.Example:1234"
        labels = { env = "prod" }
        [[target]]
        config = "sub/client.conf"
        password-file = "pw"
        timeout = 7
        until = "private-key"
        "#,
    )
    .unwrap();
    let [one, two] = targets.as_slice() else { panic!("{targets:?}") };
    assert_eq!((one.name.as_str(), two.name.as_str()), ("one", "sub/client.conf"));
    assert_eq!((one.timeout, two.timeout), (Duration::from_secs(2), Duration::from_secs(7)));
    assert_eq!((one.deadline, one.retries, one.retry_spacing), (Duration::from_millis(30_500), 3, Duration::ZERO));
    assert_eq!(one.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["env=prod", "team=releng"]);
    assert_eq!(two.labels["env"], "test");
    assert_eq!(one.password, Some(PasswordSource::Env("USUAL".to_owned())));
    assert_eq!(two.password, Some(PasswordSource::File("/dir/pw".into())));
    assert_eq!(one.overrides.database.as_deref(), Some("sql:/dir/nssdb".as_ref()));
    assert_eq!(two.config.as_deref(), Some(Path::new("/dir/sub/client.conf")));
    assert_eq!(queue_key(one).as_deref(), Some("host.example:1234"));
    assert_eq!(queue_key(two), None, "it ends before the network");
    assert_eq!(*two.secret_variables, ["USUAL".to_owned()], "also where another target uses it");
}

#[test]
fn a_server_connects_to_nobody() {
    let text = "[defaults]\npeer = 'usual:1'\n[[target]]\nname = 'web'\nrole = 'server'\ncert = 's.pem'";
    let target = one(text);
    assert!(target.overrides.serves && target.overrides.bridge.is_none() && !target.overrides.plain);
    assert_eq!((target.plan.connections(), queue_key(&target)), (0, None));
    let error = parse(&format!("{text}\npeer = 'own:1'")).unwrap_err();
    assert!(error.starts_with("t.toml:7: the role server checks this host's own identity"), "{error}");
    assert!(one("[[target]]\nrole = 'client'\npeer = 'p:1'").overrides.bridge.is_some());
    let error = parse("[[target]]\nrole = 'both'\npeer = 'p:1'").unwrap_err();
    assert!(error.contains("`client` or `server`"), "{error}");
}

#[test]
fn absolute_paths_and_kinds_of_databases_stay() {
    let argument = |db: &str| one(&format!("[[target]]\ndb = {db:?}\nbridge = 'b'")).overrides.database.unwrap();
    assert_eq!(argument("sql:/etc/pki"), "sql:/etc/pki");
    assert_eq!(argument("/etc/pki"), "/etc/pki");
    assert_eq!(argument("dbm:old"), "dbm:/dir/old");
    assert_eq!(argument("old"), "/dir/old");
    assert_eq!(argument("multiaccess:old"), "multiaccess:old");
}

#[test]
fn one_bridge_has_one_key_however_it_is_written() {
    let key = |bridge: &str| queue_key(&one(&format!("[[target]]\ndb = 'd'\nbridge = {bridge:?}"))).unwrap();
    assert_eq!(key("BRIDGE.example.:44334"), key("bridge.example"));
    assert_eq!(key("[::1]:5"), key("[0:0:0:0:0:0:0:1]:5"));
    assert_eq!(key("[::ffff:127.0.0.1]:5"), key("localhost:5"));
    assert_ne!(key("bridge.example:1"), key("bridge.example:2"));
}

#[test]
fn errors_name_line_and_key() {
    let rows: &[(&str, &[&str])] = &[
        ("[[target]]\nname = 'a'\ndb = 'd'\ntiemout = 3", &["t.toml:4:", "\"tiemout\"", "\"timeout\""]),
        ("[[targets]]\nname = 'a'", &["t.toml:1:", "\"targets\"", "\"target\""]),
        ("[[target]]\ndb = 'd'\ntls_min = 'tls1.2'", &["t.toml:3:", "\"tls-min\""]),
        ("[[target]]\ndb = 'd'\nzzzz = 1", &["t.toml:3:", "known keys"]),
        ("[[target]]\ndb = 'd'\nbridge = 'h:0'", &["t.toml:3:", "is not a port"]),
        ("[[target]]\ndb = 'd'\nuntil = 'nowhere'", &["t.toml:3:", "not a layer"]),
        ("[[target]]\ndb = 'd'\nuntil = 'tcp'", &["t.toml:3:", "without TLS"]),
        ("[[target]]\ndb = 'd'\ntimeout = 'ten'", &["t.toml:3:", "a number of seconds", "string"]),
        ("[[target]]\ndb = 'd'\ntimeout = -1", &["t.toml:3:", "between 0.05 and 3600"]),
        ("[[target]]\ndb = 'd'\ntimeout = nan", &["t.toml:3:", "between 0.05 and 3600"]),
        ("[[target]]\ndb = 'd'\nretries = 1.5", &["t.toml:3:", "whole number"]),
        ("[[target]]\ndb = 'd'\ndeadline = 99999999999999", &["t.toml:3:", "between 1 and 86400"]),
        ("[[target]]\ndb = 'd'\nlabels = { 'a b' = 'x' }", &["t.toml:3:", "name of a label"]),
        ("[[target]]\ndb = 'd'\nname = ' '", &["t.toml:3:", "name is empty"]),
        ("[[target]]\nname = 'a'", &["t.toml:1:", "neither a config, nor a db, nor files, nor a peer"]),
        ("[defaults]\ndb = 'd'\n\n[[target]]\nuser = 'x'", &["t.toml:4:", "give it a name"]),
        ("[defaults]\nname = 'd'\n[[target]]\ndb = 'x'", &["t.toml:2:", "[defaults]"]),
        ("[[target]]\nname='a'\ndb='d'\n\n[[target]]\nname='a'\ndb='e'", &["t.toml:5:", "\"a\"", "line 1"]),
        ("[[target]]\ndb='d'\npassword-file='a'\npassword-env='B'", &["t.toml:4:", "exclude each other"]),
        ("[[target]]\ndb='d'\ndb='e'", &["t.toml:3:", "duplicate key"]),
        ("[[target]]\ndb = 'd\n", &["t.toml:2:"]),
        ("", &["no [[target]]"]),
    ];
    for (text, wanted) in rows {
        let error = parse(text).unwrap_err();
        assert!(wanted.iter().all(|part| error.contains(part)), "{text}\n{error}\n{wanted:?}");
        assert!(!error.contains('\n'), "{error}");
    }
}

/// Whatever is written in the wrong place, no message contains a value.
#[test]
fn a_password_in_the_wrong_place_is_refused_and_not_shown() {
    let rows = [
        "password = 'hunter2!'",
        "nss-password = 'hunter2!'",
        "admin-password = 'hunter2!'",
        "passwords = 'hunter2!'",
        "password-env = 'hunter2!'",
        "admin-password-env = 'hunter2!'",
        "timeout = 'hunter2!'",
        "retries = 'hunter2!'",
        "labels = 'hunter2!'",
        "exclude = 'hunter2!'",
        "password-file = ['hunter2!']",
        "connect = 'hunter2!'",
        "password-file = hunter2!",
        "password-file = \"hunter2!",
    ];
    for row in rows {
        let error = parse(&format!("[[target]]\nname = 'a'\ndb = 'd'\n{row}\n")).unwrap_err();
        assert!(error.starts_with("t.toml:4: ") && !error.contains("hunter2"), "{row}: {error}");
    }
    let error = parse("[[target]]\ndb = 'd'\npassword = 'x'").unwrap_err();
    assert!(error.contains("password-file") && error.contains("password-env"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_values_make_it_panic(key in proptest::sample::select(vec!["name", "db", "bridge", "timeout", "labels", "until", "exclude"]), value in "\\PC{0,40}") {
        let _ = parse(&format!("[[target]]\n{key} = {value}\n"));
    }
}

#[test]
fn the_example_is_read_and_has_every_key() {
    let text = include_str!("../../../docs/targets.example.toml");
    assert!(parse(text).unwrap().len() > 3);
    let missing: Vec<_> = file::KEYS.iter().filter(|key| !text.contains(*key)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}
