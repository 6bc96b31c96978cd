//! Selects advice from the catalogue that suits the program: the catalogue's commands are for NSS.

use nssight_diagnosis::Remedy;
use nssight_diagnosis::cause::Entry;
use nssight_diagnosis::verdict::Names;

use crate::format::Format;

/// Whether a command only applies to an NSS database, or to a deployment with a bridge.
fn is_foreign(command: &str, format: Option<&Format>) -> bool {
    let of_nss = ["certutil", "pk12util", "tstclnt", "sql:", "<DIR>", "--db", "pkcs11.txt"];
    let of_deployment = ["nss-", "bridge-hostname", "<CONFIG>"];
    let nss = format.is_none_or(|format| format.nss);
    let deployment = format.is_none_or(|format| format.profile.is_some());
    let has = |words: &[&str]| words.iter().any(|word| command.contains(word));
    !nss && has(&of_nss) || !deployment && has(&of_deployment)
}

/// The remedies, without the commands of other programs.
pub(crate) fn remedies(format: Option<&Format>, all: Vec<Remedy>) -> Vec<Remedy> {
    let fit = |remedy: Remedy| Remedy { command: remedy.command.filter(|it| !is_foreign(it, format)), ..remedy };
    all.into_iter().map(fit).collect()
}

/// What to collect next: a confirmation of the cause if this program allows it, otherwise what the program can additionally report.
pub(crate) fn next(format: Option<&Format>, names: &Names, entry: &Entry) -> Option<Remedy> {
    let steps = || entry.confirm(names.peer).map(|step| names.remedy(step));
    let fits = steps().find(|step| step.command.as_deref().is_some_and(|command| !is_foreign(command, format)));
    let own =
        |format: &Format| Remedy { text: format.next.text.to_owned(), command: format.next.command.map(str::to_owned) };
    fits.or_else(|| format.map(own)).or_else(|| steps().next())
}
