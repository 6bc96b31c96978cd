//! Configurations that Sigul's programs accept or refuse, and settings in them without effect.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, run, run_beside};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use serde_json::Value;

/// A file that no other user may read, since it may contain a password.
fn private(case: &Case, name: &str, text: &str) -> PathBuf {
    let path = case.file(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A configuration of this role, with a working database and these lines at its end.
fn configured(role: &str, end: &str) -> Run {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let text = format!(
        "[nss]\nnss-dir: {}\nnss-password: {PASSWORD}\n[{role}]\nbridge-hostname: localhost\n{role}-cert-nickname: {NICKNAME}\n{end}",
        database.display()
    );
    let config = private(&case, &format!("{role}.conf"), &text);
    run_beside(binary().args(["diagnose", "--format", "json", "--until", "password", "-c"]).arg(config), &database)
}

fn verdict(run: &Run) -> [Value; 4] {
    let verdict = run.report()["verdict"].clone();
    ["status", "cause", "component", "confidence"].map(|field| verdict[field].clone())
}

fn refused(run: &Run, component: &str, says: &str) {
    let expected = ["fail", "config-invalid", component, "certain"].map(Value::from);
    assert_eq!(verdict(run), expected, "{run:#?}");
    assert!(run.report()["verdict"]["summary"].as_str().unwrap().contains(says), "{says}: {run:#?}");
}

/// Requires that a key without effect is blamed, as the first thing to correct.
fn blamed_on_key(run: &Run, seen_at: &str, instead: &str, key: &str) {
    let report = run.report();
    assert_eq!(verdict(run), ["fail", "config-ignored-key", "client-config", "likely"].map(Value::from), "{run:#?}");
    assert_eq!((&report["verdict"]["layer"], &report["verdict"]["seen_at"]), (&"config".into(), &seen_at.into()));
    let first = report["verdict"]["remedies"][0]["text"].as_str().unwrap();
    assert!(first.starts_with("Correct the key") && first.contains(key), "{first}");
    assert!(report["verdict"]["summary"].as_str().unwrap().contains(key), "{run:#?}");
    let others = report["verdict"]["alternatives"].as_array().unwrap();
    assert!(others.iter().any(|other| other["cause"] == instead), "{others:#?}");
    assert_eq!(finding(run, "config")["cause"], "config-ignored-key", "{run:#?}");
}

fn finding(run: &Run, layer: &str) -> Value {
    let probes = run.report()["probes"].as_array().unwrap().clone();
    probes.into_iter().find(|probe| probe["layer"] == layer).unwrap()
}

#[test]
fn daemons_need_the_user_line_which_may_be_empty_but_not_unknown() {
    for role in ["bridge", "server"] {
        let run = configured(role, "[daemon]\nunix-user:\nunix-group:\n");
        assert_eq!((verdict(&run)[0].clone(), run.code), ("pass".into(), Some(0)), "{run:#?}");
        assert_eq!(finding(&run, "config")["status"], "pass", "{run:#?}");
        let own = configured(role, "[daemon]\nunix-user: root\nunix-group: root\n");
        let numbers = configured(role, "[daemon]\nunix-user: 54321\nunix-group: 0\n");
        assert_eq!(numbers.code, Some(0), "{numbers:#?}");
        assert_eq!(own.code, Some(0), "{own:#?}");
        refused(&configured(role, "[daemon]\nunix-group:\n"), role, "key \"unix-user\": not in section [daemon]");
        let stranger = "[daemon]\nunix-user: nobody-of-this-name\nunix-group:\n";
        refused(&configured(role, stranger), role, ":8: key \"unix-user\": there is no user \"nobody-of-this-name\"");
        let group = "[daemon]\nunix-user:\nunix-group: no-such-group\n";
        refused(&configured(role, group), role, "there is no group \"no-such-group\"");
        // Sigul has this section even if no file defines it, but no defaults for its keys.
        refused(&configured(role, ""), role, "key \"unix-user\": there is no section [daemon]");
    }
}

#[test]
fn configurations_that_sigul_refuses_are_refused() {
    let client = |lines: &str| {
        let case = Case::new();
        let text = format!("[client]\nbridge-hostname: localhost\nserver-hostname: s\n{lines}");
        run(binary().args(["diagnose", "--format", "json", "-c"]).arg(private(&case, "client.conf", &text)))
    };
    refused(&client("[nss]\nnss-dir: sql:/var/lib/sigul\n"), "client-config", ":5: key \"nss-dir\"");
    refused(&client("user-name: ${USER}\n"), "client-config", ":4: key \"user-name\": \"${USER}\" contains ${…}");
    let case = Case::new();
    let misplaced = private(&case, "client.conf", "[client]\nserver-hostname: s\n[nss]\nbridge-hostname: localhost\n");
    let run = run(binary().args(["diagnose", "--format", "json", "-c"]).arg(misplaced));
    refused(&run, "client-config", ":4: key \"bridge-hostname\" in section [nss] is ignored");
}

#[test]
fn a_key_without_an_effect_is_a_warning_and_is_named_where_it_matters() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let client = |nss: &str, more: &str| {
        let text = format!(
            "[nss]\nnss-dir: {}\n{nss}[client]\nbridge-hostname: localhost\nserver-hostname: s\n{more}",
            database.display()
        );
        let config = private(&case, "client.conf", &text);
        let mut command = binary();
        command.args(["diagnose", "--format", "json", "--until", "private-key", "-c"]).arg(config);
        run_beside(&mut command, &database)
    };
    let file = client(
        &format!("nss-password-file: {}\n", case.password_file().display()),
        &format!("client-cert-nickname: {NICKNAME}\n"),
    );
    blamed_on_key(&file, "password", "password-missing", ":3: key \"nss-password-file\" in section [nss] is ignored");

    let password = format!("nss-password: {PASSWORD}\n");
    let misplaced = client(&format!("nss-password-old: x\nnss-dirs: /x\nclient-cert-nickname: mine\n{password}"), "");
    assert_eq!((verdict(&misplaced)[0].clone(), misplaced.code), ("pass".into(), Some(0)), "{misplaced:#?}");
    let elsewhere = case.path("elsewhere");
    let builder = DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes());
    let builder = builder.x509_identity("mine", &PKI.client.certificate, &PKI.client.key, "").unwrap();
    builder.x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&elsewhere).unwrap();
    let text = format!(
        "[nss]\nnss-dir: {}\n{password}client-cert-nickname: mine\n[client]\nbridge-hostname: localhost\nserver-hostname: s\n",
        elsewhere.display()
    );
    let config = private(&case, "client.conf", &text);
    let nickname = run(binary().args(["diagnose", "--format", "json", "--until", "private-key", "-c"]).arg(config));
    let key = ":4: key \"client-cert-nickname\" in section [nss] is ignored: the key belongs in section [client]";
    blamed_on_key(&nickname, "certificate", "cert-not-found", key);

    // The affected layer works or is not reached: the check passes with the warning, and nothing else is blamed on the key.
    let right = format!("client-cert-nickname: {NICKNAME}\n");
    let harmless = client(&password, &format!("{right}user_name: ann\n"));
    assert_eq!((verdict(&harmless)[0].clone(), harmless.code), ("pass".into(), Some(0)), "{harmless:#?}");
    assert_eq!(finding(&harmless, "config")["cause"], "config-ignored-key");
    let wrong = client("nss-password: nope\n", &format!("{right}user_name: ann\n"));
    assert_eq!(verdict(&wrong), ["fail", "password-wrong", "client-config", "certain"].map(Value::from), "{wrong:#?}");
    assert!(!wrong.report()["verdict"]["summary"].as_str().unwrap().contains("user_name"), "{wrong:#?}");
    // Sections and keys of other programs are not a mistake.
    let other = client(&password, &format!("{right}fas-user-name: ann\n[koji]\nkoji-config: /x\n"));
    assert_eq!(finding(&other, "config")["status"], "pass", "{other:#?}");
}

#[test]
fn a_server_check_does_not_connect_to_a_bridge_that_would_not_answer() {
    use nssight_fixtures::deployment::Deployment;
    use nssight_fixtures::fault::Change;
    let directory = tempfile::tempdir().unwrap();
    let lab = Deployment::start_with_hosts(directory.path(), &Change::default(), DbFormat::Sql).unwrap();
    let config = directory.path().join("server.conf");
    let run = run(binary().args(["diagnose", "--format", "json", "--allow-disruption", "-c"]).arg(config));
    assert_eq!((run.code, run.report()["connections_opened"].as_u64()), (Some(0), Some(0)), "{run:#?}");
    let resolve = finding(&run, "resolve");
    assert_eq!(resolve["status"], "skip");
    assert!(resolve["summary"].as_str().unwrap().contains("only to forward a client's request"), "{run:#?}");
    // Nothing took the server's place: the next client is served.
    let next = common::run(
        binary().args(["diagnose", "-c"]).arg(lab.config()).arg("--admin-password-file").arg(lab.admin_password_file()),
    );
    assert_eq!(next.code, Some(0), "{next:#?}");
}

/// A name with a port after it is not a server name.
#[test]
fn a_port_behind_the_servers_name() {
    let run = configured("client", "server-hostname: sign.example:44333\n");
    refused(
        &run,
        "client-config",
        ":7: key \"server-hostname\": \"sign.example:44333\" contains more than a host name",
    );
    assert_eq!(run.report()["connections_opened"], 0);
}
