//! The pages of the exporter in a browser, as it serves them.

mod browser;
mod common;

use browser::{Browser, Look, obstacles, overflowing};
use common::Case;
use common::exporter::Exporter;
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{Change, Outer};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

#[test]
fn list_and_reports_are_whole_accessible_and_quiet_in_every_look() {
    let case = Case::new();
    let labs = [("well", Outer::default()), ("closing", Outer::CloseAfterHello)].map(|(name, outer)| {
        let directory = case.path(name);
        std::fs::create_dir(&directory).unwrap();
        Deployment::start(&directory, &Change { outer, ..Change::default() }, DbFormat::Sql).unwrap()
    });
    let mut text = "[defaults]\nlabels = { team = \"releng\", env = \"production\" }\n".to_owned();
    for (name, config) in [
        ("well", "well/client.conf"),
        ("closing", "closing/client.conf"),
        ("with-a-name-that-is-longer-than-a-phone-is-wide.signing.internal.example", "missing.conf"),
        ("nobody-asks-for-this", "missing.conf"),
    ] {
        text.push_str(&format!("[[target]]\nname = \"{name}\"\nconfig = \"{config}\"\n"));
    }
    let exporter = Exporter::start(&case.file("targets.toml", text), &[]);
    for name in ["well", "closing", "with-a-name-that-is-longer-than-a-phone-is-wide.signing.internal.example"] {
        exporter.probe(name);
    }
    let browser = Browser::open();
    for path in ["/", "/report?target=well", "/report?target=closing"] {
        let url = format!("http://{}{path}", exporter.address);
        for look in [Look::WIDE, Look::DARK, Look::PHONE, Look::PAPER, Look { width: 320, ..Look::PHONE }] {
            browser.visit(&url, look);
            assert_eq!(overflowing(&browser), Value::from(Vec::<Value>::new()), "{path} {look:?}");
            assert_eq!(obstacles(&browser), Vec::<String>::new(), "{path} {look:?}");
            assert_eq!(browser.complaints(), Vec::<String>::new(), "{path} {look:?}");
        }
    }
    // From the list to a report, and the policy of the server and that of the page get along.
    browser.visit(&format!("http://{}/", exporter.address), Look::WIDE);
    assert_eq!(browser.run("return document.querySelectorAll('tbody tr').length"), 4);
    browser.click("a[href='report?target=closing']");
    assert_eq!(browser.run("return document.querySelector('h1').textContent"), "closing");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(labs);
}
