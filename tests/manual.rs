//! Man pages, completions and `--version` agree with `--help` and with the libraries in use.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Case, binary, run};

/// A command according to its help.
struct Shown {
    /// The words after `nssight`.
    words: Vec<String>,
    options: BTreeSet<String>,
}

/// Every command that the help lists, the first one being `nssight` itself.
fn shown(words: Vec<String>, all: &mut Vec<Shown>) {
    let help = run(binary().args(&words).arg("--help"));
    assert_eq!(help.code, Some(0), "{words:?}: {help:#?}");
    let below: Vec<String> = section(&help.stdout, "Commands:").map(str::to_owned).collect();
    let options = help.stdout.lines().filter(|line| line.trim_start().starts_with('-')).flat_map(options_of).collect();
    all.push(Shown { words: words.clone(), options });
    for name in below.into_iter().filter(|name| name != "help") {
        shown([words.clone(), vec![name]].concat(), all);
    }
}

/// The names in a section of the help.
fn section<'a>(help: &'a str, title: &str) -> impl Iterator<Item = &'a str> {
    let lines = help.lines().skip_while(move |line| *line != title).skip(1).take_while(|line| !line.is_empty());
    // Continuation lines of a long description are indented further.
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
}

/// `-c`, `--config` from the line `  -c, --config <FILE>`; a number in a description is not an option.
fn options_of(line: &str) -> Vec<String> {
    let words = line.split_whitespace().map_while(|word| word.starts_with('-').then(|| word.trim_end_matches(',')));
    words.filter(|word| word.contains(|c: char| c.is_ascii_alphabetic())).map(str::to_owned).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether an option occurs in the text as a whole word, not as a prefix of a longer one.
fn names(text: &str, option: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-');
    text.match_indices(option).any(|(at, _)| ends(&text[at + option.len()..]))
}

fn files(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn man_pages_and_completions_match_the_help() {
    let case = Case::new();
    let share = case.path("share");
    let written = run(binary().arg("manual").arg(&share).env("SOURCE_DATE_EPOCH", "86400"));
    assert_eq!((written.code, written.stdout.as_str(), written.stderr.as_str()), (Some(0), "", ""));

    let mut all = Vec::new();
    shown(Vec::new(), &mut all);
    assert!(all.len() > 20 && all.iter().map(|one| one.options.len()).sum::<usize>() > 150, "{}", all.len());
    let page_of = |one: &Shown| format!("{}.1", [vec!["nssight".to_owned()], one.words.clone()].concat().join("-"));
    let expected: BTreeSet<String> = all.iter().map(page_of).collect();
    assert_eq!(files(&share.join("man/man1")), expected, "a page a command, and no other");

    let bash = read(&share.join("bash-completion/completions/nssight"));
    let zsh = read(&share.join("zsh/site-functions/_nssight"));
    let fish = read(&share.join("fish/vendor_completions.d/nssight.fish"));
    for one in &all {
        // roff writes a hyphen that can be copied as "\-".
        let page = read(&share.join("man/man1").join(page_of(one))).replace("\\-", "-");
        let last = one.words.last().map_or("nssight", String::as_str);
        assert!(page.contains("1970-01-02"), "{page}");
        for part in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH \"SEE ALSO\"", last] {
            assert!(page.contains(part), "{part} in the page of {:?}: {page}", one.words);
        }
        for option in &one.options {
            assert!(names(&page, option), "{option} in the page of {:?}", one.words);
            let long = option.strip_prefix("--");
            assert!(names(&bash, option) && names(&zsh, option), "{option} of {:?} in bash and zsh", one.words);
            let spelled = long.map_or(format!("-s {}", &option[1..]), |long| format!("-l {long}"));
            assert!(names(&fish, &spelled), "{spelled} of {:?} in fish", one.words);
        }
        for script in [&bash, &zsh, &fish] {
            assert!(names(script, last), "{:?} in the completions", one.words);
        }
    }
    let everything = fs::read_dir(share.join("man/man1")).unwrap().map(|entry| read(&entry.unwrap().path()));
    for text in everything.chain([bash, zsh, fish]) {
        for hidden in ["worker", "started by nssight itself", "packages are made with it", "OpenSSL 3"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let case = Case::new();
    let share = case.path("share");
    run(binary().arg("manual").arg(&share));
    let rows = [
        ("nssight dia", "diagnose"),
        ("nssight db ", "inspect compare"),
        ("nssight diagnose --admin-password-f", "--admin-password-file --admin-password-fd"),
        ("nssight diagnose --format ma", "markdown"),
    ];
    for (line, expected) in rows {
        let script = format!(
            "source \"$1\"; COMP_LINE='{line}'; COMP_WORDS=($COMP_LINE); [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=(''); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _nssight nssight \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let path = share.join("bash-completion/completions/nssight");
        let output = Command::new("bash").args(["-c", &script, "bash"]).arg(&path).output().unwrap();
        let given: BTreeSet<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
        assert!(expected.split(' ').all(|word| given.contains(word)), "{line:?}: {output:?}");
        assert!(!given.contains("worker"), "{line:?}: {output:?}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_said() {
    let refused = run(binary().args(["manual", "/proc/nssight"]));
    assert_eq!(refused.code, Some(3), "{refused:#?}");
    assert!(refused.stderr.contains("cannot write"), "{refused:#?}");
}

#[test]
fn the_version_names_the_same_libraries_as_a_report() {
    let report = run(binary().args(["diagnose", "--format", "json", "-c", "/nonexistent"])).report();
    let tool = |key: &str| report["tool"][key].as_str().unwrap().to_owned();
    let expected = format!(
        "nssight {}\nNSS {}\nNSPR {}\nOpenSSL {}\n",
        env!("CARGO_PKG_VERSION"),
        tool("nss"),
        tool("nspr"),
        tool("openssl")
    );
    assert_eq!(run(binary().arg("--version")).stdout, expected);
    assert_eq!(run(binary().arg("-V")).stdout, concat!("nssight ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn shipped_files_name_the_program_version() {
    for path in ["deploy/kubernetes/cronjob.yaml", "deploy/kubernetes/deployment.yaml"] {
        let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        let image = concat!("image: nssight:", env!("CARGO_PKG_VERSION"), "\n");
        assert!(text.contains(image) && text.matches("image:").count() == 1, "{path} does not name {image}");
    }
}
