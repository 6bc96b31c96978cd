//! Short excerpts of real programs' logs, recorded or composed: each gets the right verdict, or none if the lines do not suffice. The data
//! are in `corpus/` and in the folders of the profiles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Confidence};
use nssight_triage::{Document, FORMATS, Role, Triage};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    excerpt: Vec<Excerpt>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Excerpt {
    id: String,
    origin: Origin,
    side: Side,
    expect: Expect,
    cause: Option<String>,
    layer: Option<String>,
    component: Option<String>,
    /// The actual cause, if other faults write the same lines: it must be listed beside a cause that is only possible.
    truth: Option<String>,
    /// Causes that an expert does not exclude: each must be listed beside the cause.
    #[serde(default)]
    beside: Vec<String>,
    /// The lines do not show that anything failed, although something did.
    #[serde(default)]
    silent: bool,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    Recorded,
    Composed,
}

/// Which end of the session wrote the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Side {
    Client,
    Server,
    /// The lines do not show it.
    Either,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expect {
    Healthy,
    CannotTell,
    Cause,
}

fn corpus() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let profiles =
        fs::read_dir(root.join("../profiles")).unwrap().flatten().map(|profile| profile.path().join("corpus"));
    let folders = profiles.filter(|folder| folder.is_dir()).chain([root.join("corpus")]);
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", entry.path().display()))
    };
    let mut all: Vec<File> = files.map(read).collect();
    all.sort_by(|one, other| one.format.cmp(&other.format));
    all
}

/// One log, or several of them as `tail` shows them.
fn triage(text: &str) -> Document {
    let mut triage = Triage::default();
    if !text.starts_with("==> ") {
        triage.log("a.log", text.as_bytes());
        return triage.finish();
    }
    for part in text.split("==> ").skip(1) {
        let (name, log) = part.split_once(" <==\n").unwrap();
        triage.log(name, log.as_bytes());
    }
    triage.finish()
}

/// Which end wrote the decisive lines, according to the document.
fn side(document: &Document) -> Side {
    side_of(document.evidence.last().map_or(document.files[0].role, |line| line.role))
}

fn side_of(role: Role) -> Side {
    match role {
        Role::Client | Role::Tool => Side::Client,
        Role::Bridge | Role::Server | Role::Peer => Side::Server,
        Role::Unknown | Role::Nssight => Side::Either,
    }
}

/// Which ends wrote the decisive lines: one, except for several logs.
fn sides(document: &Document) -> BTreeSet<Side> {
    match document.files.len() {
        1 => [side(document)].into(),
        _ => document.evidence.iter().map(|line| side_of(line.role)).collect(),
    }
}

/// Whether this cause is named beside the first one.
fn beside(document: &Document, cause: &str) -> bool {
    document.verdict.alternatives.iter().any(|other| other.cause.id() == cause)
}

/// Whether this cause is named beside one that is no more than possible.
fn possible(document: &Document, truth: &str) -> bool {
    document.verdict.confidence == Confidence::Possible && beside(document, truth)
}

/// The mistake in the result, if any.
fn objection(format: &str, excerpt: &Excerpt) -> Option<String> {
    let document = triage(&excerpt.text);
    let verdict = &document.verdict;
    let cause = verdict.cause.map(|cause| cause.id());
    let told = format!(
        "{} {} {} {} {:?}",
        cause.unwrap_or("-"),
        verdict.layer.map_or("-", |layer| layer.as_str()),
        verdict.component.map_or("-", |component| component.as_str()),
        verdict.confidence,
        side(&document),
    );
    let wrong = |why: &str| Some(format!("{}: {why}: told {told}, by {:?}", excerpt.id, document.files[0].program));
    match excerpt.expect {
        Expect::Healthy if verdict.status == Outcome::Fail => wrong("it is healthy"),
        Expect::Healthy if !document.incidents.is_empty() => wrong("something failed in a healthy one"),
        Expect::CannotTell if cause.is_some() => wrong("nobody can tell from it"),
        Expect::CannotTell if document.incidents.is_empty() != excerpt.silent => wrong("whether something failed"),
        Expect::Cause if cause != excerpt.cause.as_deref() => wrong("another cause"),
        Expect::Cause if verdict.layer.map(|it| it.as_str()) != excerpt.layer.as_deref() => wrong("another layer"),
        Expect::Cause if verdict.component.map(|it| it.as_str()) != excerpt.component.as_deref() => {
            wrong("another component")
        }
        Expect::Cause if !sides(&document).contains(&excerpt.side) => wrong("another side"),
        Expect::Cause if excerpt.truth.as_ref().is_some_and(|truth| !possible(&document, truth)) => {
            wrong("not the truth")
        }
        Expect::Cause if excerpt.side == Side::Either && verdict.confidence < Confidence::Possible => {
            wrong("which side it is nobody knows")
        }
        Expect::Cause if !excerpt.beside.iter().all(|other| beside(&document, other)) => wrong("not all beside it"),
        Expect::Cause if verdict.confidence == Confidence::Certain => wrong("one log makes nothing certain"),
        Expect::Cause if document.evidence.is_empty() => wrong("no line is shown"),
        Expect::Cause if !document.evidence.iter().any(|_| document.files[0].program.is_some()) => {
            wrong("nobody's log")
        }
        _ if document.files.iter().all(|file| file.program.is_some_and(|program| program != format)) => {
            wrong(&format!("not {format}'s log"))
        }
        _ => None,
    }
}

#[test]
fn every_excerpt_is_told_right() {
    let all = corpus();
    let objections: Vec<String> =
        all.iter().flat_map(|file| file.excerpt.iter().filter_map(|it| objection(&file.format, it))).collect();
    assert!(objections.is_empty(), "{} objections:\n{}", objections.len(), objections.join("\n"));
}

/// No advice is for a program other than the one that wrote the lines.
#[test]
fn advice_fits_the_program() {
    let mut looked = 0;
    for (file, excerpt) in corpus().iter().flat_map(|file| file.excerpt.iter().map(move |it| (file, it))) {
        let Some(format) = FORMATS.iter().find(|format| format.name == file.format) else { continue };
        let document = triage(&excerpt.text);
        if document.verdict.cause.is_none() || document.files[0].program != Some(format.name) {
            continue;
        }
        let commands = document.verdict.remedies.iter().chain(&document.next).filter_map(|it| it.command.as_deref());
        for command in commands {
            let of_nss = ["certutil", "sql:", "pk12util"].iter().any(|word| command.contains(word));
            assert!(format.nss || !of_nss, "{}: {command}", excerpt.id);
            let of_sigul = ["sigul", "nss-", "bridge-hostname"].iter().any(|word| command.contains(word));
            assert!(format.profile.is_some() || !of_sigul, "{}: {command}", excerpt.id);
            looked += 1;
        }
        let words = [&document.verdict.summary].into_iter().chain(document.verdict.remedies.iter().map(|it| &it.text));
        let bridge = words.into_iter().find(|text| text.to_lowercase().contains("bridge"));
        assert!(format.profile.is_some() || bridge.is_none(), "{}: {bridge:?}", excerpt.id);
    }
    assert!(looked > 100, "only {looked}");
}

#[test]
fn every_format_has_enough_excerpts() {
    let all = corpus();
    let count: usize = all.iter().map(|file| file.excerpt.len()).sum();
    assert!(count >= 250, "only {count}");
    let ids: BTreeSet<&str> = all.iter().flat_map(|file| file.excerpt.iter().map(|it| it.id.as_str())).collect();
    assert_eq!(ids.len(), count, "two excerpts have the same id");
    let mut files: BTreeMap<&str, Vec<&Excerpt>> = BTreeMap::new();
    all.iter().for_each(|file| files.entry(file.format.as_str()).or_default().extend(&file.excerpt));
    for format in FORMATS.iter().filter(|format| format.role != Role::Unknown) {
        let excerpts = files.get(format.name).unwrap_or_else(|| panic!("{} has no excerpt", format.name));
        assert!(excerpts.len() >= 5, "{}: {} excerpts", format.name, excerpts.len());
        assert!(excerpts.iter().any(|it| it.expect == Expect::Healthy), "{}: none is healthy", format.name);
        let server = matches!(format.role, Role::Bridge | Role::Server | Role::Peer);
        assert!(!server || excerpts.iter().any(|it| it.side == Side::Server), "{}: none of a server's", format.name);
    }
    let recorded = all.iter().flat_map(|file| &file.excerpt).filter(|it| it.origin == Origin::Recorded).count();
    assert!(recorded >= 150, "only {recorded} are recorded");
}

/// The candidates of a verdict in order, for whichever component they are named.
fn candidates(document: &Document) -> Vec<Cause> {
    let verdict = &document.verdict;
    let beside = verdict.also.iter().map(|other| other.cause);
    let mut causes: Vec<Cause> = Vec::new();
    for cause in verdict.cause.into_iter().chain(beside).chain(verdict.alternatives.iter().map(|other| other.cause)) {
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    causes
}

/// Tests every line of every excerpt alone. If it shows no writer, both commands report the same causes in the same order. If it shows one,
/// `explain` reports all causes that the log reader does. Both invert a server's line for its client.
#[test]
fn a_line_means_the_same_to_explain() {
    let (mut nobodys, mut clients, mut servers, mut silent) = (0, 0, 0, 0);
    for excerpt in corpus().iter().flat_map(|file| &file.excerpt) {
        for line in excerpt.text.lines().filter(|line| !line.starts_with("==> ")) {
            let document = triage(line);
            let answer = nssight_triage::explain(line);
            let causes = candidates(&document);
            let explained: Vec<Cause> =
                answer.explanations.iter().flat_map(|it| &it.causes).map(|it| it.cause).collect();
            let judged: Vec<Cause> = answer.judged.iter().flat_map(|it| &it.causes).map(|it| it.cause).collect();
            let place = format!("{}: {line}: {causes:?}", excerpt.id);
            match (document.incidents.is_empty(), document.files[0].program, side(&document)) {
                // Messages that any program may write are not a failure in a log without a known writer.
                (true, ..) => silent += 1,
                (false, None, _) => {
                    let first: Vec<Cause> =
                        answer.explanations.iter().take(1).flat_map(|it| &it.causes).map(|it| it.cause).collect();
                    assert_eq!(causes, first, "{place}");
                    nobodys += 1;
                }
                (false, Some(_), Side::Server) => {
                    assert!(causes.iter().all(|cause| judged.contains(cause)), "{place} of {judged:?}");
                    servers += 1;
                }
                (false, Some(_), _) => {
                    assert!(causes.iter().all(|cause| explained.contains(cause)), "{place} of {explained:?}");
                    clients += 1;
                }
            }
        }
    }
    let told = format!("{nobodys} of nobody, {clients} of clients, {servers} of servers, {silent} say nothing");
    assert!(nobodys > 40 && clients > 100 && servers > 100, "{told}");
    println!("{told}");
}

#[test]
fn the_page_is_that_of_the_data() {
    let kept = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats.md")).unwrap();
    assert!(nssight_triage::page() == kept, "stale: run `nssight triage --formats > docs/formats.md`");
}
