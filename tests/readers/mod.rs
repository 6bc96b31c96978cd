//! Independent readers of the formats for machines, and text that tries to confuse them.
// The names are self-explanatory.
#![allow(missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use pulldown_cmark::{Event, Parser, Tag};
use serde_json::Value;

/// Every character sequence with a meaning in one of the formats.
pub const HOSTILE: &str = "a<script>alert(1)</script>&amp;]]>|x `tick` ``two`` \n::error::forged\r\n## [head](http://x.example) \
                       ##[error]forged *b* _u_ @someone #1 %0A \u{1b}[31mred \u{202e}turned \"quoted\" 'single' \\ \u{ffff} $a$ <b> | end";

/// No format passes on characters that could move a cursor, reverse text or forge a line.
pub fn is_visible(text: &str) {
    let harmful = |c: &char| (c.is_control() && *c != '\n') || "\u{202e}\u{ffff}".contains(*c);
    assert_eq!(text.chars().find(harmful), None, "{text}");
}

fn piped(program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} must be installed (make deps): {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {complaint}\n{input}");
    String::from_utf8(output.stdout).unwrap()
}

/// The value of an XPath expression in a document that matches the schema.
pub fn junit(document: &str, expression: &str) -> String {
    piped("xmllint", &["--noout", "--schema", "tests/readers/junit.xsd", "-"], document);
    piped("xmllint", &["--xpath", expression, "-"], document).trim_end().to_owned()
}

/// Samples by name, parsed by Prometheus's parser.
pub fn samples(text: &str) -> BTreeMap<String, Vec<(Value, f64)>> {
    let families: Value =
        serde_json::from_str(&piped("/usr/bin/python3", &["tests/readers/openmetrics.py"], text)).unwrap();
    let mut samples = BTreeMap::<String, Vec<(Value, f64)>>::new();
    for family in families.as_array().unwrap() {
        let unit = family["unit"].as_str().unwrap();
        assert_eq!(unit == "seconds", family["name"].as_str().unwrap().ends_with("_seconds"), "{family}");
        for sample in family["samples"].as_array().unwrap() {
            let place = samples.entry(sample[0].as_str().unwrap().to_owned()).or_default();
            place.push((sample[1].clone(), sample[2].as_f64().unwrap()));
        }
    }
    samples
}

/// Commands in a log as the runner of GitHub Actions parses them: name, properties, message.
pub fn annotations(log: &str) -> Vec<(String, BTreeMap<String, String>, String)> {
    let data = |text: &str| text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
    let property = |text: &str| data(&text.replace("%3A", ":").replace("%2C", ","));
    log.lines()
        .filter_map(|line| line.trim_start().strip_prefix("::"))
        .map(|command| {
            let (head, message) = command.split_once("::").unwrap();
            let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
            let properties = properties.split(',').filter_map(|pair| pair.split_once('='));
            let properties = properties.map(|(key, value)| (key.to_owned(), property(value))).collect();
            (name.to_owned(), properties, data(message))
        })
        .collect()
}

/// The text of a Markdown page, without its markup, and how many tables it has.
pub fn rendered(page: &str) -> (String, usize) {
    let (mut text, mut tables) = (String::new(), 0);
    for event in Parser::new_ext(page, pulldown_cmark::Options::ENABLE_GFM | pulldown_cmark::Options::ENABLE_TABLES) {
        match event {
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::Start(Tag::Table(_)) => tables += 1,
            Event::End(_) | Event::SoftBreak | Event::HardBreak => text.push('\n'),
            Event::Html(html) | Event::InlineHtml(html) => panic!("raw HTML: {html}"),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => panic!("a link: {dest_url}"),
            Event::Start(Tag::Emphasis | Tag::Strikethrough) => panic!("a stranger's emphasis: {page}"),
            _ => {}
        }
    }
    (text, tables)
}
