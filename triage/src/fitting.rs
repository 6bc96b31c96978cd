//! What the catalogue advises, put so that it fits the program at hand: its commands are those of NSS, and its peer is a bridge.

use nssight_diagnosis::Remedy;
use nssight_diagnosis::cause::Entry;
use nssight_diagnosis::verdict::{Names, Peer};

use crate::format::Format;

/// What the catalogue calls things, and what they are where the peer is no bridge.
const PLAIN: [(&str, &str); 6] = [
    ("bridge-hostname", "the peer's host name"),
    ("the bridge's own", "the peer's own"),
    ("<BRIDGE_", "<PEER_"),
    ("bridge", "peer"),
    ("Bridge", "Peer"),
    ("In a Sigul client", "In such a client"),
];

/// A sentence of the catalogue, about the peer that there is.
pub(crate) fn words(text: &str, names: &Names) -> String {
    match names.peer {
        Peer::Bridge => text.to_owned(),
        Peer::Plain => PLAIN.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new)),
    }
}

/// Whether a command is one for a database of NSS, or for a deployment with a bridge.
fn is_foreign(command: &str, format: Option<&Format>) -> bool {
    let of_nss = ["certutil", "pk12util", "tstclnt", "sql:", "<DIR>", "--db", "pkcs11.txt"];
    let of_deployment = ["nss-", "bridge-hostname", "<CONFIG>"];
    let nss = format.is_none_or(|format| format.nss);
    let deployment = format.is_none_or(|format| format.profile.is_some());
    let has = |words: &[&str]| words.iter().any(|word| command.contains(word));
    !nss && has(&of_nss) || !deployment && has(&of_deployment)
}

/// What to do, without the commands of other programs.
pub(crate) fn remedies(format: Option<&Format>, names: &Names, all: Vec<Remedy>) -> Vec<Remedy> {
    let fit = |remedy: Remedy| Remedy {
        text: words(&remedy.text, names),
        command: remedy.command.filter(|it| !is_foreign(it, format)).map(|command| words(&command, names)),
    };
    all.into_iter().map(fit).collect()
}

/// What to collect next: what confirms the cause, where that can be done with this program, else what the program can say more.
pub(crate) fn next(format: Option<&Format>, names: &Names, entry: &Entry) -> Option<Remedy> {
    let mut steps = entry.confirm.iter().map(Remedy::from);
    let fits = steps.find(|step| step.command.as_deref().is_some_and(|command| !is_foreign(command, format)));
    let own =
        |format: &Format| Remedy { text: format.next.text.to_owned(), command: format.next.command.map(str::to_owned) };
    let fits = fits.map(|step| Remedy {
        text: words(&step.text, names),
        command: step.command.map(|command| words(&command, names)),
    });
    fits.or_else(|| format.map(own)).or_else(|| entry.confirm.first().map(Remedy::from))
}
