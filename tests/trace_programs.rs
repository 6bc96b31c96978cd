//! Third-party programs, traced under every fault of the lab: they behave as they do untraced.

mod common;

use std::net::TcpListener;

use common::lab::over_all;
use common::trace::{Needs, Settings, alike};
use nssight_fixtures::deployment::{Deployment, PASSWORD};
use nssight_fixtures::fault::{self, Door, Doors, Fault};
use serde_json::Value;

/// One in three of the faults that a program other than nssight can meet. `trace_catalogue` has all of them.
fn faults() -> Vec<Fault> {
    fault::here().unwrap().0.into_iter().filter(|fault| fault.doors == Doors::All).step_by(3).collect()
}

/// The reports of a program under every fault, in the order of the faults.
fn under_all(needs: Needs, program: impl Fn(&Deployment) -> Vec<String> + Sync) -> Vec<Value> {
    let faults = faults();
    let runs = over_all(&faults, 12, |fault| alike(fault, needs, &["--timeline"], &program));
    let differ: Vec<&String> = runs.iter().filter_map(|(_, run)| run.as_ref().err()).collect();
    assert_eq!(differ, Vec::<&String>::new());
    runs.into_iter().filter_map(|(_, run)| run.ok()).collect()
}

/// Verdicts with a layer other than that of a check. A program without a configuration does not show why its database or its certificate is
/// wrong, only the effects: those faults are left out.
fn contradictions(reports: &[Value]) -> Vec<String> {
    const LOCAL: [&str; 5] = ["config", "nss-db", "password", "certificate", "private-key"];
    let faults = faults();
    let contradict = faults.iter().zip(reports).filter_map(|(fault, report)| {
        let (expected, layer) = (fault.layer.as_deref(), report["verdict"]["layer"].as_str()?);
        // Of some faults a trace shows less than a check.
        let in_trace = fault.must(Door::Trace).and_then(|named| named.layer);
        let is_right = expected == Some(layer)
            || in_trace.as_deref() == Some(layer)
            || expected.is_some_and(|expected| LOCAL.contains(&expected));
        (!is_right).then(|| format!("{}: {expected:?}, said {:#}", fault.id, report["verdict"]))
    });
    contradict.collect()
}

fn owned<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn has_call(report: &Value, function: &str) -> bool {
    report["timeline"].as_array().unwrap().iter().any(|call| call["function"] == function)
}

#[test]
fn tstclnt_behaves_as_without_a_trace() {
    let reports = under_all(Needs::Fresh, |lab| {
        let settings = Settings::of(lab);
        let (password, database) = (settings.password_file(lab), settings.database.clone());
        let mut words = owned(["timeout", "-s", "TERM", "4", "tstclnt", "-4", "-Q", "-V", "tls1.2:tls1.3", "-d"]);
        words.extend(owned([&database, "-W", &password, "-n", &settings.nickname]));
        words.extend(owned(["-h", &settings.host, "-p", &settings.port]));
        words
    });
    assert_eq!(contradictions(&reports), Vec::<String>::new());
    assert!(reports.iter().filter(|report| has_call(report, "SSL_ImportFD")).count() > reports.len() / 2);
}

#[test]
fn certutil_behaves_as_without_a_trace() {
    let reports = under_all(Needs::Any, |lab| {
        let settings = Settings::of(lab);
        let script = r#"certutil -L -d "$1" -f "$2" -n "$3"; certutil -K -d "$1" -f "$2""#;
        let password = settings.password_file(lab);
        owned(["timeout", "4", "sh", "-c", script, "sh", &settings.database, &password, &settings.nickname])
    });
    assert!(reports.iter().all(|report| has_call(report, "NSS_Initialize")), "{reports:#?}");
}

#[test]
fn a_python_nss_script_behaves_as_without_a_trace() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/src/handshake.py");
    let reports = under_all(Needs::Fresh, |lab| {
        let settings = Settings::of(lab);
        let password = settings.password_file(lab);
        let mut words = owned(["timeout", "-s", "TERM", "4", "/usr/bin/python3", script, &settings.database]);
        words.extend(owned([&settings.nickname, &settings.port, &password]));
        words
    });
    assert_eq!(contradictions(&reports), Vec::<String>::new());
    assert!(reports.iter().filter(|report| has_call(report, "SSL_ForceHandshake")).count() > reports.len() / 2);
}

#[test]
fn curl_with_another_library_behaves_as_without_a_trace_and_shows_nothing() {
    let reports = under_all(Needs::Fresh, |lab| {
        let settings = Settings::of(lab);
        let address = format!("https://{}:{}/", settings.host, settings.port);
        owned(["curl", "--silent", "--show-error", "--insecure", "--max-time", "3", &address])
    });
    for report in reports {
        assert_eq!(report["verdict"]["status"], "inconclusive", "{report:#}");
        let summary = report["verdict"]["summary"].as_str().unwrap();
        assert!(summary.starts_with("no NSS call was traced") && summary.contains("OpenSSL"), "{summary}");
    }
}

/// A server with the bridge's database, and the trace of the client that connects before the server is ended.
#[test]
fn selfserv_behaves_as_without_a_trace() {
    let reports = under_all(Needs::Any, |lab| {
        let settings = Settings::of(lab);
        let bridge = lab.config().with_file_name("bridge");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = r#"rm -f pid
            selfserv -d "$1" -n sigul-bridge-cert -f "$2" -p "$3" -i pid -r -r -V tls1.2:tls1.3 & server=$!
            try=0; until [ -s pid ] || [ $try -gt 50 ] || ! kill -0 $server; do sleep 0.1; try=$((try+1)); done
            timeout 1 tstclnt -4 -Q -h localhost -p "$3" -d "$4" -W "$5" -n "$6" </dev/null >/dev/null 2>&1
            kill -TERM $server; wait $server"#;
        let password = lab.config().with_file_name("bridge-pw");
        std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        let script = format!("cd {}; {script}", lab.config().parent().unwrap().display());
        let own = settings.password_file(lab);
        let mut words = owned(["sh", "-c", &script, "sh", bridge.to_str().unwrap(), password.to_str().unwrap()]);
        words.extend(owned([&port.to_string(), &settings.database, &own, &settings.nickname]));
        words
    });
    let servers = reports.iter().filter(|report| {
        let sessions = report["sessions"].as_array().unwrap();
        let spoke = |session: &Value| {
            session["place"] == "server" && session["bytes_received"] != 0 && session["bytes_sent"] != 0
        };
        sessions.iter().any(spoke)
    });
    assert!(servers.count() > reports.len() / 2);
}
