//! The HTML page in a browser: light, dark, on a phone and on paper.

mod browser;
mod common;

use std::path::{Path, PathBuf};

use serde_json::Value;

use browser::{Browser, Look, obstacles, overflowing};
use common::{Case, binary, run};

const LOOKS: [Look; 4] = [Look::WIDE, Look::DARK, Look::PHONE, Look::PAPER];

fn page(case: &Case, fault: &str) -> PathBuf {
    let path = case.path(&format!("{fault}.html"));
    let run = run(binary().args(["lab", "run", "--fault", fault, "--format", "html", "--output"]).arg(&path));
    assert!(run.stderr.is_empty() && run.stdout.is_empty(), "{run:#?}");
    path
}

#[test]
fn the_page_is_complete_and_accessible_in_every_view() {
    let case = Case::new();
    let browser = Browser::open();
    for fault in ["healthy", "stale-server-link", "server-hangs-in-inner", "bridge-expired", "db-directory-missing"] {
        let page = page(&case, fault);
        for look in LOOKS {
            browser.show(&page, look);
            assert_eq!(overflowing(&browser), Value::from(Vec::<Value>::new()), "{fault} {look:?}");
            assert_eq!(obstacles(&browser), Vec::<String>::new(), "{fault} {look:?}");
            assert_eq!(browser.complaints(), Vec::<String>::new(), "{fault} {look:?}");
        }
        // WCAG 2.2, 1.4.10: down to 320 pixels.
        browser.show(&page, Look { width: 320, ..Look::PHONE });
        assert_eq!(overflowing(&browser), Value::from(Vec::<Value>::new()), "{fault}");
    }
}

#[test]
fn it_follows_the_colour_scheme_and_paper_is_white() {
    let case = Case::new();
    let page = page(&case, "stale-server-link");
    let browser = Browser::open();
    let background = |look| {
        browser.show(&page, look);
        browser.run("return getComputedStyle(document.body).backgroundColor").as_str().unwrap().to_owned()
    };
    let [light, dark] = [background(Look::WIDE), background(Look::DARK)];
    assert!(light != dark, "{light} {dark}");
    for look in [Look::PAPER, Look { dark: true, ..Look::PAPER }] {
        assert_eq!(background(look), "rgb(255, 255, 255)");
        let buttons = "return [...document.querySelectorAll('button')].some((it) => it.offsetParent !== null)";
        assert_eq!(browser.run(buttons), false);
    }
    browser.show(&page, Look::WIDE);
    let paper = browser.paper();
    let pages = paper.windows(12).filter(|bytes| bytes.starts_with(b"/Type /Page\n")).count();
    assert!(paper.starts_with(b"%PDF-") && (1..=6).contains(&pages), "{pages} pages");
}

#[test]
fn commands_are_copied_with_a_click_and_there_is_no_button_without_a_script() {
    let case = Case::new();
    let page = page(&case, "ca-untrusted");
    let text = std::fs::read_to_string(&page).unwrap();
    let buttons = text.matches("<button ").count();
    assert!(buttons > 0 && text.matches("<button type=\"button\" class=\"copy\" hidden>").count() == buttons);
    let browser = Browser::open();
    browser.show(&page, Look::WIDE);
    browser.devtools(
        "Browser.grantPermissions",
        &serde_json::json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] }),
    );
    let command = browser.run("return document.querySelector('.command code').textContent");
    assert!(command.as_str().is_some_and(|command| command.starts_with("certutil -M ")), "{command}");
    browser.click("button.copy");
    let copied = browser.run_async(
        "while (!document.querySelector('button.copy.done')) await new Promise(requestAnimationFrame);
         return navigator.clipboard.readText();",
    );
    assert_eq!(copied, command);
    assert_eq!(browser.run("return document.getElementById('said').textContent"), "The command was copied.");
    // Without access to a clipboard, the command is at least selected.
    browser.show(&page, Look::WIDE);
    browser.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })");
    browser.click("button.copy");
    let selected = browser.run_async(
        "while (!document.querySelector('button.copy.done')) await new Promise(requestAnimationFrame);
         return getSelection().toString();",
    );
    assert_eq!(selected, command);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let case = Case::new();
    let text = std::fs::read_to_string(page(&case, "stale-server-link")).unwrap();
    assert!(
        text.contains("default-src &#39;none&#39;;") && !text.contains("unsafe-inline") && !text.contains(" style=")
    );
    for reference in ["http://", "https://", "src=", "@import", "url(h"] {
        assert!(!text.contains(reference), "{reference}");
    }
}

/// `NSSIGHT_PICTURES=DIR cargo test --test page pictures` recreates the pictures of docs/page.
#[test]
fn pictures() {
    let kept = std::env::var_os("NSSIGHT_PICTURES").map(PathBuf::from);
    let case = Case::new();
    let browser = Browser::open();
    let pictures = [
        ("stale-server-link", Look { width: 1100, ..Look::WIDE }),
        ("server-hangs-in-inner", Look { width: 1100, ..Look::DARK }),
        ("bridge-expired", Look::PHONE),
    ];
    for (fault, look) in pictures {
        let page = page(&case, fault);
        browser.show(&page, look);
        if look.width > Look::PHONE.width {
            // The whole page from top to bottom.
            let height = browser.run("return document.documentElement.scrollHeight").as_u64().unwrap();
            browser.show(&page, Look { height: u32::try_from(height).unwrap(), ..look });
        }
        let picture = browser.picture();
        assert!(picture.starts_with(b"\x89PNG"), "{fault}");
        if let Some(directory) = &kept {
            std::fs::write(directory.join(format!("{fault}.png")), &picture).unwrap();
        }
        let shown = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/page/{fault}.png"));
        assert!(kept.is_some() || shown.is_file(), "{} is missing", shown.display());
    }
}
