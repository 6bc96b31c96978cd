//! The parser accepts the command lines in README.md and docs/.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// README.md, and every page below docs.
fn pages() -> Vec<PathBuf> {
    fn add(directory: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a folder of documents").flatten() {
            match entry.path() {
                path if path.is_dir() => add(&path, pages),
                path if path.extension().is_some_and(|it| it == "md") => pages.push(path),
                _ => {}
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    add(&root.join("docs"), &mut pages);
    pages
}

/// The command lines of a page: lines of command blocks, the nssight part of pipelines, and inline code that begins like a command.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut in_commands = false;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                in_commands = matches!(&kind, CodeBlockKind::Fenced(name)
                    if ["sh", "console", "text", "yaml"].contains(&name.as_ref()));
            }
            Event::End(TagEnd::CodeBlock) => in_commands = false,
            Event::Text(block) if in_commands => block.lines().for_each(|line| lines.extend(of_line(line))),
            Event::Code(code) if code.starts_with("nssight ") => lines.extend(of_line(&code)),
            _ => {}
        }
    }
    lines
}

/// The arguments of nssight on a line of a shell, of a console (`$ …`) or of a job (`- run: …`). An ellipsis stands for omitted words, so a
/// line with one is not a command.
fn of_line(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches("- ").trim_start_matches("run: ").trim_start_matches("$ ");
    let commands = line.split(" && ").flat_map(|part| part.split(" | "));
    let own = commands.filter(|command| command.starts_with("nssight ") && !command.contains('…'));
    own.map(|command| command.split(" > ").next().unwrap_or(command).to_owned()).collect()
}

/// Names that a page uses where the parser requires a number or a value of its own.
const PLACEHOLDERS: &[(&str, &str)] =
    &[("HOST:PORT", "host:443"), ("ADDRESS:PORT", "127.0.0.1:443"), ("<PORT>", "443"), ("<PROTOCOL>", "ldap")];

/// `nssight db inspect` in a sentence: it has no option and no word in capitals.
fn names_a_command(line: &str) -> bool {
    line.split(' ').all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-'))
}

fn wants_more(error: &clap::Error) -> bool {
    use clap::error::ErrorKind;
    matches!(error.kind(), ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
}

#[test]
fn every_command_line_in_the_documents_is_taken() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for line in lines(&text) {
            let whole = PLACEHOLDERS.iter().fold(line.clone(), |line, (name, value)| line.replace(name, value));
            let words = shlex::split(&whole).expect("words of a shell");
            match super::command().try_get_matches_from(words) {
                Err(error) if error.exit_code() != 0 && !(names_a_command(&line) && wants_more(&error)) => {
                    wrong.push(format!("{}: {line}: {error}", page.display()));
                }
                _ => count += 1,
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 80, "only {count} command lines were found");
}

#[test]
fn a_command_line_is_found_in_its_surroundings() {
    let page = "`nssight causes --nope` and\n\n```console\n$ nssight checks\nPASS\n```\n\n```sh\njournalctl | nssight triage > x   # read\n\
                make && nssight explain 1\nnssight diagnose … -v\n```\n\n```yaml\n      - run: nssight check t\n```\n";
    let found = lines(page);
    let wanted = ["nssight causes --nope", "nssight checks", "nssight triage", "nssight explain 1", "nssight check t"];
    assert_eq!(found, wanted);
}
