//! Examples of every command, for the long help, the man pages and usage errors.

use clap::Command;

/// A command line and what it does.
pub(crate) type Example = (&'static str, &'static str);

/// Examples by command; a subcommand is written as `db inspect`. A usage error shows the first example.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "diagnose",
        &[
            (
                "nssight diagnose db.example:636 --cert client.pem --key client.key --cacert ca.pem",
                "Check a TLS server with a client certificate in files",
            ),
            (
                "nssight diagnose postgres://db.example --cert client.p12 --password-prompt",
                "Start TLS in PostgreSQL's protocol, with a PKCS#12 file",
            ),
            (
                "nssight diagnose host.example --db sql:/etc/pki/nssdb --nickname web --password-file pw",
                "Use a client certificate in an NSS database",
            ),
            ("nssight diagnose -c /etc/sigul/client.conf", "Check a Sigul client, its bridge and its server"),
            (
                "nssight diagnose -c /etc/sigul/client.conf --until private-key",
                "Check only the settings and files on this host, without opening a connection",
            ),
            (
                "nssight diagnose --role server -c /etc/sigul/bridge.conf",
                "Check whether the identity of a server is valid",
            ),
        ],
    ),
    (
        "check",
        &[
            ("nssight check targets.toml", "Check every target in a file"),
            ("nssight check -c a.conf -c b.conf --format junit -o results.xml", "Check two Sigul clients in a CI job"),
            (
                "nssight check targets.toml --only 'sign-*' --fail-fast",
                "Check some targets, and stop at the first failure",
            ),
        ],
    ),
    (
        "clients",
        &[
            ("nssight clients -c /etc/sigul/client.conf", "Compare several clients against a Sigul bridge"),
            (
                "nssight clients --db sql:/etc/pki/nssdb --nickname web --bridge host.example:443",
                "Compare several clients against any TLS server",
            ),
        ],
    ),
    (
        "process-model",
        &[
            ("nssight process-model -c /etc/sigul/client.conf", "Test forks and threads with the database of a client"),
            ("nssight process-model --db sql:/etc/pki/nssdb --only fork-after-init", "Test a single model"),
        ],
    ),
    (
        "db inspect",
        &[
            ("nssight db inspect sql:/etc/pki/nssdb", "Print the contents of a database"),
            ("nssight db inspect ~/.sigul --password-prompt", "Also check the password and the integrity of the keys"),
        ],
    ),
    (
        "db compare",
        &[("nssight db compare dbm:old sql:new --password-prompt", "Check a migration to the newer format")],
    ),
    (
        "listen",
        &[
            (
                "nssight listen --cert server.pem --key server.key --cacert clients-ca.pem",
                "Accept clients on loopback, with the server's certificate and key in files",
            ),
            (
                "nssight listen --db /etc/pki/server --nickname server-cert --password-prompt",
                "Accept clients on loopback, with the server's certificate in an NSS database",
            ),
            (
                "nssight listen 0.0.0.0:8443 --cert server.pem --key server.key --count 1 --format json",
                "Accept one client from anywhere, and print a report for nssight compare",
            ),
        ],
    ),
    ("compare", &[("nssight compare works.json fails.json", "Find the differences between two hosts")]),
    (
        "explain",
        &[
            ("nssight explain -8179", "Explain an error code"),
            ("nssight explain 'I/O error: Unexpected EOF in NSPR'", "Explain a message"),
            ("nssight explain client-cert-rejected", "Explain a cause"),
        ],
    ),
    (
        "trace",
        &[
            ("nssight trace -- sigul -c client.conf list-users", "Run a client, and report the call that fails"),
            ("nssight trace --timeline -o trace.txt -- curl https://host.example/", "Write every call to a file"),
        ],
    ),
    (
        "triage",
        &[
            ("nssight triage bridge.log client.log", "Read two logs together"),
            ("journalctl -u sigul_bridge | nssight triage", "Read standard input"),
        ],
    ),
    (
        "exporter",
        &[
            ("nssight exporter targets.toml", "Serve metrics on 127.0.0.1:9744"),
            ("nssight exporter --check-config --web-config web.yml targets.toml", "Check the files for errors"),
            (
                "nssight exporter targets.toml --listen 127.0.0.1:9800 --state /var/lib/nssight",
                "Keep results across restarts",
            ),
        ],
    ),
    (
        "bundle",
        &[
            (
                "nssight bundle -c /etc/sigul/client.conf --log client.log",
                "Collect the data that the support team needs",
            ),
            ("nssight bundle -c /etc/sigul/client.conf --dry-run", "Print what the bundle would contain"),
        ],
    ),
    (
        "lab run",
        &[
            ("nssight lab run --fault client-other-ca", "Show the verdict for a fault"),
            (
                "nssight lab run --profile tls --fault files-other-ca",
                "Show the verdict for a fault of a TLS server that does not use Sigul",
            ),
        ],
    ),
    ("lab up", &[("nssight lab up --fault client-other-ca", "Keep a faulty deployment running to try other commands")]),
    ("lab list", &[("nssight lab list --profile tls", "List the faults of one profile")]),
    ("selftest", &[("nssight selftest --only client-other-ca", "Check the verdict for one fault")]),
    ("checks", &[("nssight checks", "List layers and causes")]),
    ("causes", &[("nssight causes", "List all causes")]),
    ("schema", &[("nssight schema report", "Print the JSON Schema of a report")]),
    ("completion", &[("nssight completion bash > /etc/bash_completion.d/nssight", "Install the completion for bash")]),
];

/// The examples of a command, such as `db inspect`.
pub(crate) fn of(command: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(name, _)| *name == command).map_or(&[], |(_, examples)| examples)
}

/// An example for a user who typed these words, without the name of the program: an example of the command that they name, or otherwise the
/// first one.
pub(crate) fn for_words(words: &[String]) -> &'static str {
    let names: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).take(2).collect();
    let whole = names.join(" ");
    let begins = |name: &str| names.first().is_some_and(|first| name.split(' ').next() == Some(first));
    let found = EXAMPLES.iter().find(|(name, _)| *name == whole);
    let found = found.or_else(|| EXAMPLES.iter().find(|(name, _)| begins(name))).or(EXAMPLES.first());
    found.and_then(|(_, examples)| examples.first()).map_or("nssight --help", |(line, _)| line)
}

/// The command line with the examples in the long help of each command.
pub(crate) fn with_examples(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(&name, |under| added(under, &name)))
}

fn added(command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        let below = format!("{path} {name}");
        command.mut_subcommand(&name, |under| added(under, &below))
    });
    match of(path) {
        [] => command,
        examples => command.after_long_help(text(examples)),
    }
}

fn text(examples: &[Example]) -> String {
    let all = examples.iter().map(|(line, says)| format!("\n  {says}:\n    {line}\n"));
    format!("Examples:{}", all.collect::<String>().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command that users see has an example, and the parser accepts each of them.
    #[test]
    fn every_command_has_examples_that_are_taken() {
        let whole = crate::cli::command();
        for command in whole.get_subcommands().filter(|it| !it.is_hide_set()) {
            let below: Vec<String> =
                command.get_subcommands().map(|it| format!("{} {}", command.get_name(), it.get_name())).collect();
            let names = if below.is_empty() { vec![command.get_name().to_owned()] } else { below };
            for name in names {
                assert!(!of(&name).is_empty(), "{name} has no example");
            }
        }
        for (name, examples) in EXAMPLES {
            for (line, _) in *examples {
                let own = line.split(" | ").last().unwrap().split(" > ").next().unwrap();
                let words = shlex::split(own).unwrap();
                let parsed = crate::cli::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                assert!(own.starts_with(&format!("nssight {name}")), "{line} under {name}");
            }
        }
    }

    #[test]
    fn an_example_is_of_the_command_that_was_typed() {
        let of_words = |line: &str| for_words(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(of_words("check --nope").starts_with("nssight check"));
        assert!(of_words("db compare a").starts_with("nssight db compare"));
        assert!(of_words("db").starts_with("nssight db inspect"));
        assert!(of_words("nonsense").starts_with("nssight diagnose"));
        assert!(for_words(&[]).starts_with("nssight diagnose"));
    }
}
