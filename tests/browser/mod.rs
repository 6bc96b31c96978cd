//! Chromium without a window, driven through chromedriver's WebDriver protocol (W3C WebDriver, and Chrome's own commands
//! behind `goog/cdp`).
// Each test binary uses its own part of this module, and the names are self-explanatory.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Chromium starts within seconds, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// axe-core, an accessibility checker; see tests/vendor/README.md.
const AXE: &str = include_str!("../vendor/axe.min.js");

/// Ends the driver, however the test ends.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A view of a page.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    pub print: bool,
}

impl Look {
    pub const WIDE: Self = Self { width: 1280, height: 900, dark: false, print: false };
    pub const DARK: Self = Self { dark: true, ..Self::WIDE };
    pub const PHONE: Self = Self { width: 390, height: 844, ..Self::WIDE };
    /// A4 without its margins, at 96 pixels per inch.
    pub const PAPER: Self = Self { width: 718, height: 1047, print: true, ..Self::WIDE };
}

/// A session.
pub struct Browser {
    agent: ureq::Agent,
    session: String,
    _profile: tempfile::TempDir,
    _driver: Driver,
}

impl Browser {
    pub fn open() -> Self {
        let child = Command::new("chromedriver").arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut driver =
            Driver(child.unwrap_or_else(|error| panic!("chromedriver must be installed (make deps): {error}")));
        let port = port(&mut driver.0);
        let profile = tempfile::Builder::new().prefix("nssight-browser-").tempdir().unwrap();
        let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().new_agent();
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let profile_flag = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<&str> = flags.into_iter().chain([profile_flag.as_str()]).collect();
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let base = format!("http://127.0.0.1:{port}/session");
        let opened = request(&agent, &base, &capabilities);
        let session = format!("{base}/{}", opened["sessionId"].as_str().unwrap());
        Self { agent, session, _profile: profile, _driver: driver }
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        request(&self.agent, &format!("{}/{path}", self.session), body)
    }

    /// Runs a command of the DevTools protocol.
    pub fn devtools(&self, command: &str, params: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    /// Opens a file of this host in a view.
    pub fn show(&self, page: &Path, look: Look) {
        self.visit(&format!("file://{}", page.display()), look);
    }

    /// Opens an address.
    pub fn visit(&self, url: &str, look: Look) {
        let mobile = look.width < 500;
        let scale = if mobile { 2 } else { 1 };
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": look.width, "height": look.height, "deviceScaleFactor": scale, "mobile": mobile }),
        );
        let scheme = if look.dark { "dark" } else { "light" };
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({
                "media": if look.print { "print" } else { "" },
                "features": [{ "name": "prefers-color-scheme", "value": scheme }],
            }),
        );
        self.post("url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page.
    pub fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs the body of an asynchronous function in the page.
    pub fn run_async(&self, script: &str) -> Value {
        let body =
            format!("const done = arguments[0]; (async () => {{ {script} }})().then(done, (e) => done(String(e)));");
        self.post("execute/async", &json!({ "script": body, "args": [] }))
    }

    /// Clicks the first match of a selector, like a mouse does.
    pub fn click(&self, selector: &str) {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }));
        let element = found.as_object().and_then(|it| it.values().next()).and_then(Value::as_str).unwrap().to_owned();
        self.post(&format!("element/{element}/click"), &json!({}));
    }

    /// Console messages since the last call, except purely informational ones.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" }));
        let bad = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        entries.as_array().unwrap().iter().filter(bad).map(Value::to_string).collect()
    }

    /// The visible part of the page, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let taken = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        openssl::base64::decode_block(taken["data"].as_str().unwrap()).unwrap()
    }

    /// The page as PDF.
    pub fn paper(&self) -> Vec<u8> {
        let printed = self.post("print", &json!({ "background": true }));
        openssl::base64::decode_block(printed.as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session; if only the driver ended, Chromium would stay.
        let _ = self.agent.delete(&self.session).call();
    }
}

/// Elements that extend beyond the right edge; there must be none, or the page scrolls sideways.
pub fn overflowing(browser: &Browser) -> Value {
    browser.run(
        "const width = document.documentElement.clientWidth;
         if (document.documentElement.scrollWidth <= width && innerWidth <= width + 1) return [];
         return [...document.querySelectorAll('*')]
             .filter((element) => element.getBoundingClientRect().right > width + 0.5)
             .map((element) => element.outerHTML.slice(0, 120)).concat([`${width} ${innerWidth}`]);",
    )
}

/// The findings of axe-core, from "moderate" on.
pub fn obstacles(browser: &Browser) -> Vec<String> {
    browser.run(AXE);
    let found = browser.run_async(
        "const result = await axe.run(document, { resultTypes: ['violations'] });
         return { rules: result.passes.length, violations: result.violations.map((it) =>
             [it.impact, it.id, it.help, it.nodes.slice(0, 3).map((node) => node.html + node.failureSummary)]) };",
    );
    assert!(found["rules"].as_u64().is_some_and(|rules| rules > 15), "{found}");
    let violations = found["violations"].as_array().unwrap();
    violations.iter().filter(|it| it[0] != "minor").map(Value::to_string).collect()
}

/// The port is in a line like "ChromeDriver was started successfully on port 41321."
fn port(driver: &mut Child) -> u16 {
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let (sender, receiver) = mpsc::channel();
    // Reads the output to its end, so that the driver never blocks on it.
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, rest)) = line.rsplit_once("successfully on port ") {
                let _ = sender.send(rest.trim_end_matches('.').parse().unwrap());
            }
        }
    });
    receiver.recv_timeout(PATIENCE).expect("chromedriver says its port")
}

fn request(agent: &ureq::Agent, url: &str, body: &Value) -> Value {
    let sent = agent.post(url).config().http_status_as_error(false).build().send_json(body);
    let mut answer = sent.unwrap_or_else(|error| panic!("{url}: {error}"));
    let status = answer.status();
    // Pictures of long pages exceed the default limit.
    let value: Value = answer.body_mut().with_config().limit(256 * 1024 * 1024).read_json().unwrap();
    assert!(status.is_success(), "{url} {body:.300}: {value:#}");
    value["value"].clone()
}
