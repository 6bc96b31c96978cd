//! The table of results, in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Tried;
use crate::case::{Engine, Sure};
use crate::peer::{PEERS, Peer};
use crate::verdict::Wrong;

const WRONG: [(Wrong, &str); 6] = [
    (Wrong::Status, "wrong status"),
    (Wrong::Cause, "wrong cause"),
    (Wrong::OverCertain, "confidence too high"),
    (Wrong::UnderCertain, "confidence too low"),
    (Wrong::Words, "wrong wording"),
    (Wrong::Connections, "more than one connection"),
];

fn with(all: &[&Tried<'_>], wrong: Option<Wrong>) -> usize {
    all.iter().filter(|tried| tried.wrong == wrong).count()
}

/// The number of right verdicts, and of each kind of wrong one.
pub(crate) fn counts(all: &[Tried<'_>]) -> String {
    let all: Vec<&Tried<'_>> = all.iter().collect();
    let wrong = WRONG.map(|(kind, name)| format!("{name} {}", with(&all, Some(kind))));
    format!("{} cases: {} right; {}", all.len(), with(&all, None), wrong.join(", "))
}

/// The page: counts by kind, and the result of each case.
pub(crate) fn page(all: &[Tried<'_>]) -> String {
    let mut text = String::from(
        "# Trust in the verdict\n\nnssight checked real TLS servers, services, databases, files, tokens and networks, with real faults and with \
         harmless oddities, over TLS 1.2 and 1.3. One client uses NSS with a database; a second client, for faults that \
         need no database, uses OpenSSL with files. The expected result was written down before each run: status, layer, cause, \
         component, and the lowest and highest allowed confidence. `make truth` generates this page.\n\n",
    );
    let _ = writeln!(text, "{}.\n", counts(all));
    let mut kinds: Vec<(&str, Vec<&Tried<'_>>)> = Vec::new();
    for tried in all {
        match kinds.iter_mut().find(|(kind, _)| *kind == tried.kind) {
            Some((_, of_it)) => of_it.push(tried),
            None => kinds.push((tried.kind, vec![tried])),
        }
    }
    text += "| kind | cases | right |";
    WRONG.iter().for_each(|(_, name)| text += &format!(" {name} |"));
    text += "\n|---|---|---|---|---|---|---|---|---|\n";
    for (kind, of_it) in &kinds {
        let _ = write!(text, "| {kind} | {} | {} |", of_it.len(), with(of_it, None));
        WRONG.iter().for_each(|(wrong, _)| text += &format!(" {} |", with(of_it, Some(*wrong))));
        text.push('\n');
    }
    text += "\nEach cell has one verdict per TLS version, TLS 1.2 first: `p` pass, `f` fail, `?` neither. The digit is the confidence: 1 \
             possible, 2 likely, 3 certain. An exclamation mark (`!`) marks a verdict that differs from the expected verdict.\n";
    for (kind, of_it) in &kinds {
        let _ = writeln!(text, "\n## {}{}\n", kind[..1].to_uppercase(), &kind[1..]);
        table(of_it, &mut text);
    }
    text
}

/// The verdicts of one row, by engine and column.
type Cells<'a> = BTreeMap<(Engine, &'a str), Vec<String>>;

/// One row per fault, and one column per peer that any of them was tested with.
fn table(all: &[&Tried<'_>], text: &mut String) {
    let is_in = |peer: &&Peer| all.iter().any(|tried| tried.peer.name == peer.name);
    let peers: Vec<&Peer> = PEERS.iter().filter(is_in).collect();
    text.push_str("| fault | engine |");
    peers.iter().for_each(|peer| text.push_str(&format!(" {} |", peer.name)));
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(peers.len()));
    text.push('\n');
    let mut rows: Vec<(&str, Cells)> = Vec::new();
    for tried in all {
        let title = tried.fault.title.as_str();
        if rows.last().is_none_or(|(last, _)| *last != title) {
            rows.push((title, BTreeMap::new()));
        }
        if let Some((_, cells)) = rows.last_mut() {
            cells.entry((tried.engine, tried.peer.name)).or_default().push(cell(tried));
        }
    }
    let lines = rows.iter().flat_map(|(title, cells)| Engine::ALL.map(|engine| (engine, *title, cells)));
    for (engine, title, cells) in lines {
        if !cells.keys().any(|(of, _)| *of == engine) {
            continue;
        }
        // The title is written only once.
        let is_first = engine == Engine::Nss || !cells.keys().any(|(of, _)| *of == Engine::Nss);
        let name = match engine {
            Engine::Nss => "NSS",
            Engine::OpenSsl => "OpenSSL",
        };
        let _ = write!(text, "| {} | {name} |", if is_first { title } else { "" });
        for peer in &peers {
            let _ =
                write!(text, " {} |", cells.get(&(engine, peer.name)).map(|cells| cells.join(" ")).unwrap_or_default());
        }
        text.push('\n');
    }
}

fn cell(tried: &Tried<'_>) -> String {
    let status = match tried.verdict.status.as_str() {
        "pass" => 'p',
        "fail" => 'f',
        _ => '?',
    };
    let sure = match tried.verdict.confidence {
        Some(Sure::Certain) => "3",
        Some(Sure::Likely) => "2",
        Some(Sure::Possible) => "1",
        None => "",
    };
    let mark = if tried.wrong.is_some() { "!" } else { "" };
    format!("{status}{sure}{mark}")
}
