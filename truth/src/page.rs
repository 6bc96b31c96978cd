//! The table of results, in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Tried;
use crate::case::{Fault, Sure, Wrong};
use crate::peer::PEERS;

/// How many were right, and how many wrong in which way.
pub(crate) fn counts(all: &[Tried<'_>]) -> String {
    let mut wrong: BTreeMap<Wrong, usize> = BTreeMap::new();
    for tried in all {
        if let Some(kind) = tried.wrong {
            *wrong.entry(kind).or_default() += 1;
        }
    }
    let count = |kind: Wrong| wrong.get(&kind).copied().unwrap_or(0);
    format!(
        "{} cases: {} right; wrong status {}, wrong cause {}, too sure {}, not sure enough {}, more than one connection {}",
        all.len(),
        all.iter().filter(|tried| tried.wrong.is_none()).count(),
        count(Wrong::Status),
        count(Wrong::Cause),
        count(Wrong::OverCertain),
        count(Wrong::UnderCertain),
        count(Wrong::Connections),
    )
}

/// The page with a row for each fault and a column for each peer.
pub(crate) fn page(faults: &[Fault], all: &[Tried<'_>]) -> String {
    let mut text = String::from(
        "# Trust in the verdict\n\nReal TLS servers with real faults, over TLS 1.2 and 1.3. What must come out was written down before: \
         the status, the layer and cause, whose fault, and how sure a verdict must and may be. `make truth` makes this page.\n\n",
    );
    let _ = writeln!(text, "{}.\n", counts(all));
    text += "Each cell has the verdicts over TLS 1.2 and TLS 1.3: `p` pass, `f` fail, `?` neither, and how sure, 1 possible, 2 likely, \
             3 certain. A verdict that is not as it must be is marked with `!`.\n\n| fault |";
    for peer in PEERS {
        let _ = write!(text, " {} |", peer.name);
    }
    text += "\n|---|";
    text += &"---|".repeat(PEERS.len());
    text.push('\n');
    for fault in faults {
        let _ = write!(text, "| {} |", fault.title);
        for peer in PEERS {
            let of = |tried: &&Tried<'_>| tried.fault.id == fault.id && tried.peer.name == peer.name;
            let cells: Vec<String> = all.iter().filter(of).map(cell).collect();
            let _ = write!(text, " {} |", cells.join(" "));
        }
        text.push('\n');
    }
    text
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
