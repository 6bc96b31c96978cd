//! The syntax of configuration files, compared with Python's own `configparser.RawConfigParser`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use nssight_sigul::config::{Ini, Layered, parse};
use serde_json::Value as Json;

const PYTHON: &str = "/usr/bin/python3";

/// Section to key to value, as a parser sees them, `DEFAULT` filled in.
type Seen = BTreeMap<String, BTreeMap<String, String>>;

const TRICKY: &[&[u8]] = &[
    b"",
    b"\n\n",
    b"[a]",
    b"[a]\nk: v",
    b"[a]\nk=v\n",
    b"[a]\nk = v = w : x\n",
    b"[a]\nk : v = w\n",
    b"[a]\nK-One: V\nk-two : W\n",
    b"[a]\nk: v\nK: w\n",
    b"[a]\nk:\n",
    b"[a]\nk:   \nl=\n",
    b"[a]\nk\n",
    b"[a]\n= v\n",
    b"[a]\n : v\n",
    b"k: v\n[a]\n",
    b"# comment\n; another\n[a]\n  # indented comment\nk: v # not a comment\nl: w ; nor this\n",
    b"[a]\nk: v\n  w\n  x\nl: y\n",
    b"[a]\nk: v\n\n  w\n\n\nl: y\n",
    b"[a]\nk: v\n# comment\n  w\n  # inner\n  x\n",
    b"[a]\nk:\n  v\n",
    b"[a]\n  k: v\n    w\n  l: x\nm: y\n",
    b"[a]\n    k: v\n  l: x\n   more\n",
    b"[a]\nk: v\n  [b]\nl: w\n",
    b"  [a]\nk: v\n",
    b"  [a]\n   k: v\n",
    b"[a]\nk: v\n[a]\nl: w\n",
    b"[a]\n[A]\n[ a ]\n",
    b"[DEFAULT]\nk: d\nl: e\n[a]\nk: v\n[b]\n",
    b"[DEFAULT]\nk: d\n[a]\n[DEFAULT]\nl: e\n",
    b"[DEFAULT]\nk: d\n[DEFAULT]\nK: e\n",
    b"[default]\nk: d\n[a]\n",
    b"[]\nk: v\n",
    b"[]]\nk: v\n",
    b"[]: v\n",
    b"[a]\n[]: v\n",
    b"[a]b]c\nk: v\n",
    b"[a] trailing\nk: v\n",
    b"[a\nk: v\n",
    b"[a]\n[b: c\n",
    b"[a] = ]\nk: v\n",
    b"[a]\r\nk: v\r\n  w\r\n\r\nl: x\r\n",
    b"[a]\rk: v\rl: w",
    b"[a]\r\rk: v\r\n\r w",
    b"\xef\xbb\xbf[a]\nk: v\n",
    b"\xef\xbb\xbf\n",
    b"[a]\nk: \xff\n",
    b"[a]\nk: caf\xc3\xa9\n\xc3\x84: umlaut\n\xc3\xa4: again\n",
    b"[a]\n\xc2\xa0k\xc2\xa0:\xc2\xa0v\xc2\xa0\n",
    b"[a]\nk: v\n\xc2\xa0w\n\xe2\x80\x83x\n",
    b"[a]\nk: v\x1c\n\x1d l: w\n\x0bm: x\n",
    b"[a]\nk: v\x85w\x0cx\n",
    b"[a]\nk: v\xc2\x85w\n",
    b"[a]\nk: v\n\tw\n \tx\n\t y\n",
    b"[a]\nk: %(l)s %\nl: ${x}\n",
    b"[a]\nk: v\n  l: w\nm: x\n",
    b"[a]\nk: v\n;\n  w\n   \n#\n",
    b"[a]\nk k : v\nrem: x\n",
    b"[a]\n\xce\xa3\xce\xa3: sigma\n",
    b"[client]\nbridge-hostname: bridge\n[nss]\nnss-password: \"quoted\"\n",
];

fn from_python(inputs: &[Vec<u8>]) -> Vec<Option<Seen>> {
    assert!(Path::new(PYTHON).exists(), "{PYTHON} is needed to compare with");
    let mut child = Command::new(PYTHON)
        .args(["-I", "-X", "utf8", "-c", include_str!("against_configparser.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: String =
        inputs.iter().map(|file| file.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n").collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    output.lines().map(|line| seen_in(&serde_json::from_str(line).unwrap())).collect()
}

fn seen_in(answer: &Json) -> Option<Seen> {
    let strings = |keys: &Json| -> BTreeMap<String, String> {
        let keys = keys.as_object().unwrap();
        keys.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
    };
    let sections = answer.get("sections")?.as_object().unwrap();
    let mut seen: Seen = sections.iter().map(|(name, keys)| (name.clone(), strings(keys))).collect();
    seen.insert("DEFAULT".to_owned(), strings(answer.get("default").unwrap()));
    Some(seen)
}

fn from_us(input: &[u8]) -> Option<Seen> {
    let ini: Ini = parse(Path::new("test.conf"), input).ok()?;
    let mut seen: Seen = ini.sections().map(|(name, _)| (name.to_owned(), BTreeMap::new())).collect();
    seen.insert("DEFAULT".to_owned(), BTreeMap::new());
    let entries: Vec<(String, String)> =
        ini.entries().map(|(section, key, _)| (section.to_owned(), key.to_owned())).collect();
    let mut layers = Layered::new();
    layers.push(ini);
    for (section, key) in entries {
        // A key of DEFAULT is visible in every section.
        for (name, keys) in seen.iter_mut().filter(|(name, _)| section == "DEFAULT" || **name == section) {
            keys.insert(key.clone(), layers.get(name, &key).unwrap().text().to_owned());
        }
    }
    Some(seen)
}

fn agree(inputs: &[Vec<u8>]) -> usize {
    let theirs = from_python(inputs);
    assert_eq!(theirs.len(), inputs.len());
    for (input, theirs) in inputs.iter().zip(&theirs) {
        assert_eq!(from_us(input), *theirs, "ours left, Python's right, for {:?}", String::from_utf8_lossy(input));
    }
    theirs.iter().flatten().count()
}

#[test]
fn tricky_files_read_as_python_reads_them() {
    let inputs: Vec<Vec<u8>> = TRICKY.iter().map(|input| input.to_vec()).collect();
    agree(&inputs);
}

#[test]
fn random_files_read_as_python_reads_them() {
    const PIECES: &[&str] = &[
        "[a]",
        "[b]",
        "[DEFAULT]",
        "[",
        "]",
        "k",
        "l",
        "m",
        "K",
        ":",
        "=",
        ": v",
        "= w",
        "k1: v",
        "k2 = w",
        "k3:",
        " ",
        "  ",
        "\t",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "\r",
        "# c",
        "; c",
        "x",
        "é",
        "\u{a0}",
        "\u{1c}",
        "\u{85}",
        "\u{2028}",
    ];
    const WHOLE: &[&str] = &[
        "[s]\n",
        "[t]\n",
        "[DEFAULT]\n",
        "one: 1\n",
        "two = 2\n",
        "three:\n",
        "  more\n",
        "    deeper\n",
        "\n",
        "# c\n",
        "  ; c\n",
        "ONE : 3\n",
        "four=4\r\n",
        "five: 5\r",
        " six: 6\n",
    ];
    let mut state = 0x5eed_0001_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    let inputs: Vec<Vec<u8>> = (0..6_000)
        .map(|index| {
            let pieces = if index % 2 == 0 { PIECES } else { WHOLE };
            let mut file = if index % 3 == 0 { String::new() } else { "[first]\n".to_owned() };
            (0..next(14)).for_each(|_| file.push_str(pieces[next(pieces.len())]));
            file.into_bytes()
        })
        .collect();
    let accepted = agree(&inputs);
    assert!((600..5_400).contains(&accepted), "{accepted} accepted: the texts no longer exercise both sides");
}
