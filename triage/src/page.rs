//! The page about formats and signals, from the data.

use std::fmt::Write;

use nssight_diagnosis::signal::{CODES, Signal, TEXTS};

use crate::format::{FORMATS, Format};
use crate::sign::Role;

/// Every format and every signal, as Markdown.
pub fn page() -> String {
    let mut out = String::from(
        "# Logs that nssight reads\n\nMade by `nssight triage --formats` from the data of its build.\n\n## Formats\n\nA line is known by its \
         writer's name before the message, by how its message begins, or by words that nobody else writes. A log of another \
         program is read too: what went wrong is known by the spellings of the signals below, and only who says so is not.\n\n\
         Captures of packets, pcap and pcapng, are read as well, known by their first bytes whatever the file is called. What TLS sends in the \
         clear is judged without keys: hellos, versions, the certificates of TLS 1.2, alerts, who closed and after what.\n\n\
         | format | log of | side | known by | what a success looks like |\n|---|---|---|---|---|\n",
    );
    for format in FORMATS {
        let profile = format.profile.map(|profile| format!("{profile}/")).unwrap_or_default();
        let (side, known, success) = (side(format), known(format), words(format.succeeds));
        // A string takes it.
        let _ = writeln!(out, "| {profile}{} | {} | {side} | {known} | {success} |", format.name, format.title);
    }
    out += "\n## Captures\n\nnssight recognizes a pcap or pcapng file by its first bytes, whatever its name. Without any key it shows versions, certificates of TLS 1.2, alerts in the clear, and who ended the connection, and when. Each connection \
            that failed has a verdict of its own, which is never more than likely; the rest is counted. Of TLS 1.3 the certificates and \
            most alerts are encrypted: then what the bytes leave open is left open.\n";
    out += "\n## Signals\n\nWhat a line shows, with how many numbers and phrases for it are known.\n\n| signal | what it is | spellings |\n|---|---|---|\n";
    for signal in Signal::all() {
        let codes = CODES.iter().filter(|code| code.signal == signal).count();
        let texts = TEXTS.iter().filter(|(_, own)| *own == signal).count();
        if codes + texts > 0 {
            let row = signal.row();
            let _ = writeln!(out, "| {} | {} | {} |", row.id, row.says, codes + texts);
        }
    }
    out
}

fn side(format: &Format) -> &'static str {
    match format.role {
        Role::Client | Role::Tool => "client",
        Role::Bridge => "bridge",
        Role::Server | Role::Peer => "server",
        Role::Unknown if format.nobodys => "none",
        Role::Unknown | Role::Nssight => "as its lines tell",
    }
}

fn known(format: &Format) -> String {
    let all: Vec<&str> = [format.names, format.heads, format.words].concat();
    words(&all)
}

fn words(all: &[&str]) -> String {
    let shown: Vec<String> = all.iter().take(4).map(|word| format!("`{}`", word.trim().replace('|', "\\|"))).collect();
    let more = if all.len() > shown.len() { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
