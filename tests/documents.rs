//! The documents are consistent: each link has a target, and the book contains every page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Documents outside the book.
const OTHERS: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

/// The links of a document, and the anchors in it.
#[derive(Default)]
struct Document {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

impl Document {
    fn of(text: &str) -> Self {
        let mut document = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    document.add_anchor(anchor);
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => document.links.extend(links_of_html(&html)),
                _ => {}
            }
        }
        document
    }

    /// A second heading with the same words gets a number.
    fn add_anchor(&mut self, anchor: String) {
        let numbered = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(numbered).find(|it| !self.anchors.contains(it));
        self.anchors.extend(free);
    }
}

/// The anchor that repository hosts and mdBook derive from a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn links_of_html(html: &str) -> Vec<String> {
    let values = ["href=\"", "src=\""].map(|name| html.split(name).skip(1).filter_map(|rest| rest.split('"').next()));
    values.into_iter().flatten().map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page below docs, relative to the root of the repository.
fn pages() -> BTreeSet<PathBuf> {
    fn add(directory: &Path, pages: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a folder of documents").flatten() {
            let path = entry.path();
            if path.is_dir() {
                add(&path, pages);
            } else if path.extension().is_some_and(|it| it == "md") {
                pages.insert(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    let mut pages = BTreeSet::new();
    add(&root().join("docs"), &mut pages);
    pages
}

fn documents() -> BTreeMap<PathBuf, Document> {
    let all = OTHERS.iter().map(PathBuf::from).chain(pages());
    all.map(|path| {
        let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, Document::of(&text))
    })
    .collect()
}

/// `a/../b` becomes `b`; `None` if the path leads out of the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if !plain.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// The mistake in a link of this document, if any.
fn wrong_with(from: &Path, link: &str, documents: &BTreeMap<PathBuf, Document>) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let to =
        if path.is_empty() { Some(from.to_owned()) } else { plain(&from.parent().unwrap_or(Path::new("")).join(path)) };
    let Some(to) = to else { return Some("leads out of the repository") };
    if !root().join(&to).exists() {
        return Some("leads to no file");
    }
    // The book consists of the files below docs and nothing else.
    if from.starts_with("docs") && !to.starts_with("docs") {
        return Some("leads out of the book");
    }
    let anchor = anchor?;
    let leads = documents.get(&to).is_some_and(|document| document.anchors.contains(anchor));
    (!leads).then_some("leads to no heading")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let documents = documents();
    let mut count = 0;
    let mut wrong = Vec::new();
    for (from, document) in &documents {
        for link in &document.links {
            count += 1;
            wrong.extend(wrong_with(from, link, &documents).map(|why| format!("{}: {link} {why}", from.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 300, "only {count} links were found");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let documents = documents();
    let wrong = |from: &str, link: &str| wrong_with(Path::new(from), link, &documents);
    assert_eq!(wrong("README.md", "docs/nowhere.md"), Some("leads to no file"));
    assert_eq!(wrong("README.md", "docs/output.md#nowhere"), Some("leads to no heading"));
    assert_eq!(wrong("README.md", "../README.md"), Some("leads out of the repository"));
    assert_eq!(wrong("docs/index.md", "../README.md"), Some("leads out of the book"));
    assert_eq!(wrong("docs/index.md", "output.md#exit-codes"), None);
    assert_eq!(links_of_html("<a href=\"x.md\"><img src=\"y.png\">"), ["x.md", "y.png"]);
}

#[test]
fn the_summary_lists_every_page_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = Document::of(&summary).links.iter().map(|link| Path::new("docs").join(link)).collect();
    let mut once = BTreeSet::new();
    let twice: Vec<_> = listed.iter().filter(|page| !once.insert(page.as_path())).collect();
    assert!(twice.is_empty(), "twice in docs/SUMMARY.md: {twice:?}");
    let pages = pages();
    let is_missing = |page: &&PathBuf| !page.ends_with("SUMMARY.md") && !once.contains(page.as_path());
    let missing: Vec<_> = pages.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:#?}");
}

/// The first page for new readers must stay short.
#[test]
fn the_readme_is_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= 140, "README.md has {lines} lines: put details into docs/");
}

/// All Rust files below a directory.
fn sources(directory: &Path, all: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() && !path.ends_with("target") => sources(&path, all),
            Some(extension) if extension == "rs" => *all += &fs::read_to_string(path).unwrap(),
            _ => {}
        }
    }
}

/// A name without a test would exclude nothing, and this would go unnoticed.
#[test]
fn the_tests_that_a_system_cannot_run_exist_under_their_names() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    sources(top, &mut all);
    let listed = fs::read_to_string(top.join("scripts/needs-python-nss")).unwrap();
    let names: Vec<&str> = listed.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(names.len() > 20, "{names:?}");
    let strange: Vec<&&str> = names.iter().filter(|name| !all.contains(&format!("#[test]\nfn {name}() {{"))).collect();
    assert!(strange.is_empty(), "{strange:?}");
}
