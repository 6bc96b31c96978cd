//! The pages of the exporter in a browser, as it serves them.

mod browser;
mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use browser::{Browser, Look, obstacles, overflowing};
use common::Case;
use common::exporter::Exporter;
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{Change, Outer};
use nssight_fixtures::nssdb::DbFormat;
use rustix::process::Signal;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const LONG_NAME: &str = "with-a-name-that-is-longer-than-a-phone-is-wide.signing.internal.example";

/// Several targets of one kind, as an exporter finds them in its state directory.
struct Kind {
    name: &'static str,
    count: usize,
    /// The fault whose result they have.
    like: &'static str,
    /// The results of the last 600 checks, by number.
    history: fn(usize) -> &'static str,
    /// Minutes since the start of the present state.
    turned: u64,
    days_left: i64,
}

const FLEET: [Kind; 6] = [
    Kind {
        name: "sign",
        count: 4,
        like: "closing",
        history: |n| if n < 410 { "pass" } else { "fail" },
        turned: 190,
        days_left: 200,
    },
    Kind {
        name: "build",
        count: 1,
        like: "closing",
        history: |n| if n % 7 == 3 || n > 590 { "fail" } else { "pass" },
        turned: 9,
        days_left: 200,
    },
    Kind {
        name: "queue",
        count: 1,
        like: "unfinished",
        history: |n| if n > 597 { "inconclusive" } else { "pass" },
        turned: 2,
        days_left: 90,
    },
    Kind {
        name: "mirror",
        count: 3,
        like: "well",
        history: |n| if n % 83 == 9 { "flaky" } else { "pass" },
        turned: 16_000,
        days_left: 23,
    },
    Kind { name: "old", count: 2, like: "well", history: |_| "pass", turned: 40_000, days_left: 3 },
    Kind {
        name: "web",
        count: 187,
        like: "well",
        history: |n| if n == 100 { "fail" } else { "pass" },
        turned: 499,
        days_left: 300,
    },
];

fn lab(case: &Case, name: &str, outer: Outer) -> Deployment {
    let directory = case.path(name);
    std::fs::create_dir(&directory).unwrap();
    Deployment::start(&directory, &Change { outer, ..Change::default() }, DbFormat::Sql).unwrap()
}

/// The exporter's file for a target.
fn kept(state: &Path, name: &str) -> PathBuf {
    let digits: String = openssl::sha::sha256(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    state.join(format!("{digits}.json"))
}

fn ago(minutes: u64) -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - minutes * 60
}

/// A targets file of two hundred targets, and a state directory with real results under their names.
fn fleet(case: &Case) -> (PathBuf, PathBuf) {
    let state = case.path("state");
    let _labs = [lab(case, "well", Outer::default()), lab(case, "closing", Outer::CloseAfterHello)];
    let text = ["well", "closing"].map(|name| {
        format!("[[target]]\nname = \"{name}\"\nconfig = \"{name}/client.conf\"\nadmin-password-file = \"{name}/admin-password\"\n")
    });
    let mut exporter = Exporter::start(&case.file("two.toml", text.concat()), &["--state", state.to_str().unwrap()]);
    ["well", "closing"].iter().for_each(|name| drop(exporter.probe(name)));
    exporter.signal(Signal::TERM);
    assert!(exporter.wait(Duration::from_secs(10)).is_some());
    let result = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(kept(&state, name)).unwrap()).unwrap() };
    let mut unfinished = result("closing");
    unfinished["report"]["verdict"]["status"] = "inconclusive".into();
    unfinished["report"]["verdict"]["cause"] = "tool-timeout".into();
    unfinished["report"]["verdict"]["summary"] = "The walk did not end by its deadline of 60 s.".into();
    let (well, closing) = (result("well"), result("closing"));
    let mut targets = "[defaults]\nlabels = { team = \"releng\", env = \"production\" }\n".to_owned();
    for kind in FLEET {
        for number in 1..=kind.count {
            let name = format!("{}-{number}.example", kind.name);
            targets.push_str(&format!("[[target]]\nname = \"{name}\"\nconfig = \"missing.conf\"\n"));
            let mut result = match kind.like {
                "well" => well.clone(),
                "closing" => closing.clone(),
                _ => unfinished.clone(),
            };
            result["name"] = name.clone().into();
            result["labels"] = json!({ "team": "releng", "env": "production" });
            result["ended_ns"] = ((ago(0) - 20) * 1_000_000_000).into();
            let marks: Vec<Value> = (0..600).map(|n| json!([ago(600 - n as u64), (kind.history)(n)])).collect();
            let turned = ago(kind.turned);
            result["history"] = json!({ "marks": marks, "verdict": "x", "well": kind.like == "well", "turned": turned, "same": turned });
            for (index, certificate) in result["report"]["certificates"].as_array_mut().unwrap().iter_mut().enumerate()
            {
                let end = OffsetDateTime::now_utc() + time::Duration::days(kind.days_left + 40 * index as i64);
                certificate["not_after"] = end.format(&Rfc3339).unwrap().into();
                certificate["sha256"] = format!("{:064x}", kind.days_left as usize * 100 + index).into();
                if let Some(object) = certificate.as_object_mut() {
                    object.remove("urgency");
                }
            }
            std::fs::write(kept(&state, &name), result.to_string()).unwrap();
        }
    }
    targets.push_str("[[target]]\nname = \"new-1.example\"\nconfig = \"missing.conf\"\n[[target]]\nname = \"new-2.example\"\nconfig = \"missing.conf\"\n");
    (case.file("targets.toml", targets), state)
}

const LOOKS: [Look; 5] = [Look::WIDE, Look::DARK, Look::PHONE, Look::PAPER, Look { width: 320, ..Look::PHONE }];

/// Verifies that the page is complete, accessible and without console messages.
fn look_at(browser: &Browser, exporter: &Exporter, path: &str) {
    let url = format!("http://{}{path}", exporter.address);
    for look in LOOKS {
        browser.visit(&url, look);
        assert_eq!(overflowing(browser), Value::from(Vec::<Value>::new()), "{path} {look:?}");
        assert_eq!(obstacles(browser), Vec::<String>::new(), "{path} {look:?}");
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{path} {look:?}");
    }
}

fn texts(browser: &Browser, selector: &str) -> Vec<String> {
    let found = browser.run(&format!("return [...document.querySelectorAll('{selector}')].map((it) => it.innerText)"));
    found.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn list_and_reports_are_complete_and_accessible_in_every_view() {
    let case = Case::new();
    let labs = [lab(&case, "well", Outer::default()), lab(&case, "closing", Outer::CloseAfterHello)];
    let mut text = "[defaults]\nlabels = { team = \"releng\", env = \"production\" }\n".to_owned();
    for (name, config) in [
        ("well", "well/client.conf"),
        ("closing", "closing/client.conf"),
        (LONG_NAME, "missing.conf"),
        ("nobody-asks-for-this", "missing.conf"),
    ] {
        text.push_str(&format!("[[target]]\nname = \"{name}\"\nconfig = \"{config}\"\n"));
    }
    let exporter = Exporter::start(&case.file("targets.toml", text), &[]);
    let browser = Browser::open();
    // Before the first check, too.
    look_at(&browser, &exporter, "/");
    assert_eq!(texts(&browser, "h1"), ["No target was checked yet"]);
    for name in ["well", "closing", LONG_NAME] {
        exporter.probe(name);
    }
    for path in ["/", "/report?target=well", "/report?target=closing"] {
        look_at(&browser, &exporter, path);
    }
    // From the list to a report; the policies of the server and of the page are compatible.
    browser.visit(&format!("http://{}/", exporter.address), Look::WIDE);
    assert_eq!(texts(&browser, "h1"), ["2 of 3 targets fail"]);
    let mut failing = texts(&browser, "[aria-labelledby=failing] h3");
    failing.sort();
    assert_eq!(failing, ["closing", LONG_NAME]);
    let passing = texts(&browser, "[aria-labelledby=passing] tbody th");
    assert!(passing.len() == 1 && passing[0].starts_with("well"), "{passing:?}");
    assert!(texts(&browser, "[aria-labelledby=waiting] li")[0].starts_with("nobody-asks-for-this"));
    browser.click("a[href='report?target=closing']");
    assert_eq!(browser.run("return document.querySelector('h1').textContent"), "closing");
    // A report shows when, where and by which version it was made.
    let host = rustix::system::uname();
    let stamp = texts(&browser, ".stamp").concat();
    let made_by = format!(" UTC on {}, nssight {}", host.nodename().to_str().unwrap(), env!("CARGO_PKG_VERSION"));
    assert!(stamp.starts_with("20") && stamp.ends_with(&made_by), "{stamp}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(labs);
}

#[test]
fn two_hundred_targets_are_ordered_by_urgency() {
    let case = Case::new();
    let (targets, state) = fleet(&case);
    let exporter = Exporter::start(&targets, &["--state", state.to_str().unwrap()]);
    let browser = Browser::open();
    look_at(&browser, &exporter, "/");
    browser.visit(&format!("http://{}/", exporter.address), Look::WIDE);
    assert_eq!(texts(&browser, "h1"), ["5 of 198 targets fail"]);
    let tiles = texts(&browser, ".tiles li");
    let expected =
        ["5 failing", "1 not finished", "3 flaky", "2 certificates to renew", "189 passing", "2 not checked yet"];
    assert_eq!(tiles.iter().map(|text| text.replace('\n', " ")).collect::<Vec<_>>(), expected);
    // The most recent failure comes first, with its cause and its start.
    let failing = texts(&browser, "[aria-labelledby=failing] .target");
    assert!(failing[0].starts_with("build-1.example") && failing[0].contains("Failing since"), "{}", failing[0]);
    let unfinished = texts(&browser, "[aria-labelledby=unfinished] .target");
    assert!(unfinished[0].contains("Not finished since"), "{unfinished:?}");
    assert!(failing[0].contains("peer-closed-in-handshake") && failing[1].contains("for 3 h"), "{failing:?}");
    let flaky = texts(&browser, "[aria-labelledby=flaky] .target");
    assert!(
        flaky.len() == 3 && flaky[0].contains("8 of the last 600 checks failed or needed a retry (1 %)"),
        "{flaky:?}"
    );
    // A certificate that many targets share is one row, and the first to expire comes first.
    let left = texts(&browser, "[aria-labelledby=certificates] > table .left");
    assert!(left[0] == "2 days left" && left[1] == "22 days left" && left.len() == 7, "{left:?}");
    let strips = browser.run("return document.querySelectorAll('svg.strip[role=img][aria-label]').length");
    assert_eq!(strips, 198);
    // Automatic refresh is an option, and the choice is remembered.
    assert_eq!(browser.run("return document.querySelector('#every input').checked"), false);
    browser.click("#every input");
    browser.visit(&format!("http://{}/", exporter.address), Look::WIDE);
    assert_eq!(browser.run("return document.querySelector('#every input').checked"), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// `NSSIGHT_PICTURES=DIR cargo test --test exporter_page pictures` recreates the pictures of docs/page.
#[test]
fn pictures() {
    let kept = std::env::var_os("NSSIGHT_PICTURES").map(PathBuf::from);
    let case = Case::new();
    let (targets, state) = fleet(&case);
    let exporter = Exporter::start(&targets, &["--state", state.to_str().unwrap()]);
    let browser = Browser::open();
    let url = format!("http://{}/", exporter.address);
    for (name, look) in [
        ("exporter", Look { width: 1100, height: 2300, ..Look::WIDE }),
        ("exporter-dark", Look { width: 1100, height: 1300, ..Look::DARK }),
        ("exporter-phone", Look::PHONE),
    ] {
        browser.visit(&url, look);
        let picture = browser.picture();
        assert!(picture.starts_with(b"\x89PNG"), "{name}");
        if let Some(directory) = &kept {
            std::fs::write(directory.join(format!("{name}.png")), &picture).unwrap();
        }
        let shown = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/page/{name}.png"));
        assert!(kept.is_some() || shown.is_file(), "{} is missing", shown.display());
    }
}
