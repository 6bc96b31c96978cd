//! Generates the page about formats and signals from the data.

use std::fmt::Write;

use nssight_diagnosis::signal::{CODES, Signal, TEXTS};

use crate::format::{FORMATS, Format};
use crate::sign::Role;

/// Every format and every signal, as Markdown.
pub fn page() -> String {
    let mut out = String::from(
        "# Logs that nssight reads\n\n`nssight triage --formats` generates this page.\n\n## Formats\n\nnssight recognises a \
         line by the program's name before the message, by the start of the message, or by phrases that only this program writes. Logs of unknown programs also work: nssight recognises errors by the spellings of the signals below, but cannot name the program.\n\n\
         nssight also reads packet captures (pcap and pcapng). Captures need no keys, because nssight uses only unencrypted \
         data: hellos, versions, TLS 1.2 certificates, alerts, and which side closed the connection after which message.\n\n\
         | format | log of | side | recognised by | lines that show success |\n|---|---|---|---|---|\n",
    );
    for format in FORMATS {
        let profile = format.profile.map(|profile| format!("{profile}/")).unwrap_or_default();
        let (side, known, success) = (side(format), known(format), words(format.succeeds));
        // A write to a string does not fail.
        let _ = writeln!(out, "| {profile}{} | {} | {side} | {known} | {success} |", format.name, format.title);
    }
    out += "\n## Captures\n\nnssight recognises a pcap or pcapng file by its first bytes, whatever its name. Without any key, a capture shows versions, TLS 1.2 certificates, unencrypted alerts, which side ended the connection, and when. Each failed \
            connection gets its own verdict, with a confidence of at most `likely`; nssight counts the other connections. In TLS 1.3, the certificates and most alerts are encrypted, so nssight may be unable to determine the cause.\n";
    out += "\n## Signals\n\nA signal is the meaning of an error message. The table shows how many numbers and phrases nssight recognises for each signal.\n\n| signal | meaning | spellings |\n|---|---|---|\n";
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
        Role::Unknown | Role::Nssight => "depends on the line",
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
