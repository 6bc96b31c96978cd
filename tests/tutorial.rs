//! The output in the tutorial matches that of its commands.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use common::{binary, run};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use regex::Regex;

/// A lab that ends with the test, however the test ends.
struct Lab(Child);

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::INT);
        let _ = self.0.wait();
    }
}

/// Each command of the tutorial with its output on the page.
fn steps() -> Vec<(Vec<String>, String)> {
    let mut steps = Vec::new();
    let mut in_console = false;
    for event in Parser::new(include_str!("../docs/tutorial.md")) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(name))) => in_console = &*name == "console",
            Event::End(TagEnd::CodeBlock) => in_console = false,
            Event::Text(block) if in_console => {
                let (command, shown) = block.split_once('\n').expect("a command and what it prints");
                let words = shlex::split(command.strip_prefix("$ nssight ").expect("a call of nssight"));
                steps.push((words.expect("words of a shell"), shown.to_owned()));
            }
            _ => {}
        }
    }
    steps
}

/// Removes what differs from run to run: times, ports, versions, the directory, and line breaks.
fn kept(text: &str, directory: &Path) -> String {
    let text = text.replace(&format!("{}/", directory.display()), "");
    let numbers = Regex::new(r"[0-9]+(\.[0-9]+)*").expect("a pattern");
    numbers.replace_all(&text, "#").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The shown text must occur in the printed text, in the same order; an ellipsis stands for anything.
fn hold(shown: &str, printed: &str, directory: &Path) {
    let printed = kept(printed, directory);
    let mut rest = printed.as_str();
    for part in shown.split('…').map(|part| kept(part, directory)).filter(|part| !part.is_empty()) {
        let at = rest.find(&part).unwrap_or_else(|| panic!("not printed: {part}\nin: {printed}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn the_tutorial_shows_what_its_commands_print() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().canonicalize().unwrap();
    let mut steps = steps().into_iter();
    let (up, shown) = steps.next().unwrap();
    let lab = binary().args(up).current_dir(&directory).stdout(Stdio::piped()).spawn().unwrap();
    let mut lab = Lab(lab);
    let mut printed = String::new();
    for line in BufReader::new(lab.0.stdout.take().unwrap()).lines().map(Result::unwrap) {
        printed += &format!("{line}\n");
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    hold(&shown, &printed, &directory);
    let mut codes = Vec::new();
    for (words, shown) in steps {
        let run = run(binary().args(words).current_dir(&directory));
        hold(&shown, &run.stdout, &directory);
        codes.push(run.code);
    }
    // An explanation, the failure, and the same check after the dead connection is used up.
    assert_eq!(codes, [Some(0), Some(1), Some(0)]);
}
