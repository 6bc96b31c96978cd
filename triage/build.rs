//! Converts the log formats to static tables: one file per program, in `formats/` and in the folders of the profiles. Nothing is parsed
//! when nssight starts. Contradictory data fails the build with the name of the file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;

/// How to read the log of one program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Format {
    title: String,
    side: Side,
    hop: Option<Hop>,
    /// Whose certificate its messages are about: that of the other side, unless the program only checks its own.
    #[serde(default)]
    certificate: Whose,
    /// Its certificates are in an NSS database.
    #[serde(default)]
    nss: bool,
    known: Known,
    #[serde(default)]
    attempt: Attempt,
    #[serde(default)]
    context: Context,
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Side {
    Client,
    Server,
    /// Its lines show which.
    Either,
    /// Its output is about errors that did not happen.
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Whose {
    #[default]
    Peer,
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Hop {
    Client,
    Bridge,
    Server,
}

/// How to recognise a line or a file of this program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    heads: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    /// Words in lines that show that the program is the client, or the server, of a session.
    #[serde(default, rename = "as-client")]
    as_client: Vec<String>,
    #[serde(default, rename = "as-server")]
    as_server: Vec<String>,
}

/// Its messages during one attempt.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Attempt {
    begins: Vec<String>,
    waits: Vec<String>,
    accepts: Vec<String>,
    reads: Vec<String>,
    starts: Vec<String>,
    looks_up: Vec<String>,
    ends: Vec<String>,
    succeeds: Vec<String>,
    /// Text before the name of the host that it connects to.
    reaches: Vec<String>,
    /// Text before the name of a connection, if its lines have one.
    connection: Option<String>,
    /// The program is at either end of a connection, and only some lines of the connection show which.
    one_sided: bool,
    /// Text before the id of a session, which all programs of a deployment write in the same form.
    session: Option<String>,
}

/// Lines that show whose lines follow or precede, if several processes write to one log.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Context {
    child: Vec<String>,
    own: Vec<String>,
    childs: Vec<String>,
    last: Vec<String>,
    /// Words in a traceback that show that it is about the session with a client, or with a server.
    about_client: Vec<String>,
    /// Words in a server's lines that are about its own files, not about a client.
    about_itself: Vec<String>,
    about_server: Vec<String>,
    /// The ports for clients and for the server, as text.
    client_port: Option<String>,
    server_port: Option<String>,
}

/// The next thing to collect from the program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    text: String,
    command: Option<String>,
}

/// A file that was read.
struct Read {
    path: PathBuf,
    name: String,
    profile: Option<String>,
    format: Format,
}

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let profiles = root.join("../profiles");
    let mut folders = vec![(None, root.join("formats"))];
    for profile in listed(&profiles) {
        let name = profile.file_name().map(|name| name.to_string_lossy().into_owned());
        folders.push((name, profile.join("formats")));
    }
    for path in [&root.join("build.rs"), &profiles].into_iter().chain(folders.iter().map(|(_, folder)| folder)) {
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    let all: Vec<Read> = folders.iter().flat_map(|(profile, folder)| files(profile.as_deref(), folder)).collect();
    check(&all);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("formats.rs");
    fs::write(out, generated(&all)).expect("the build directory takes files");
}

fn listed(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory can be listed").path()).collect();
    paths.sort();
    paths
}

fn files(profile: Option<&str>, folder: &Path) -> Vec<Read> {
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let format = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        Read { path, name, profile: profile.map(str::to_owned), format }
    };
    listed(folder).into_iter().filter(is_toml).map(read).collect()
}

fn check(all: &[Read]) {
    let (mut known, mut steps) = (BTreeMap::new(), BTreeMap::new());
    for Read { path, profile, format, .. } in all {
        let path = path.display();
        let Known { names, heads, words, files, .. } = &format.known;
        let own: Vec<&String> = names.iter().chain(heads).chain(words).chain(files).collect();
        assert!(!own.is_empty(), "{path}: nothing tells its lines from others'");
        assert!(own.iter().all(|word| word.len() > 2), "{path}: so short a word stands in other lines, too");
        assert_eq!(
            format.hop.is_some(),
            profile.is_some(),
            "{path}: a profile's programs have hops, and no others have"
        );
        let agrees = !matches!(
            (format.side, format.hop),
            (Side::Server, Some(Hop::Client)) | (Side::Client, Some(Hop::Bridge | Hop::Server))
        );
        assert!(agrees, "{path}: its hop is at the other side");
        for (kind, words) in [("name", names), ("head", heads), ("word", words), ("file", files)] {
            for word in words {
                let other = known.insert((kind, word.clone()), path.to_string());
                assert!(other.is_none(), "{path}: \"{word}\" tells {} already", other.unwrap_or_default());
            }
        }
        for (step, words) in of_attempt(format) {
            for word in words {
                assert!(word.len() > 2, "{path}: \"{word}\" stands in other lines, too");
                let other = steps.insert(word.clone(), step);
                let says = other.filter(|other| *other != step);
                assert!(says.is_none(), "{path}: \"{word}\" says {} already", says.unwrap_or_default());
            }
        }
    }
}

/// The words of each step.
fn of_attempt(format: &Format) -> [(&'static str, &[String]); 11] {
    let Format { attempt, context, .. } = format;
    [
        ("Begins", &attempt.begins),
        ("Waits", &attempt.waits),
        ("Accepts", &attempt.accepts),
        ("Reads", &attempt.reads),
        ("Starts", &attempt.starts),
        ("LooksUp", &attempt.looks_up),
        ("Ends", &attempt.ends),
        ("Succeeds", &attempt.succeeds),
        ("Reaches", &attempt.reaches),
        ("ChildFollows", &context.child),
        ("OwnFollows", &context.own),
    ]
}

fn role(format: &Format) -> &'static str {
    match (format.hop, format.side) {
        (Some(Hop::Client), _) => "Client",
        (Some(Hop::Bridge), _) => "Bridge",
        (Some(Hop::Server), _) => "Server",
        (None, Side::Client) => "Tool",
        (None, Side::Server) => "Peer",
        (None, Side::Either | Side::Nobody) => "Unknown",
    }
}

fn generated(all: &[Read]) -> String {
    let mut out = String::from("/// Every format, those of profiles last.\npub static FORMATS: &[Format] = &[\n");
    let mut steps =
        String::from("];\n/// Words of a step, as they are spelled.\npub(crate) static STEPS: &[(&str, Step)] = &[\n");
    for Read { name, profile, format, .. } in all {
        let Format { title, known, context, next, .. } = format;
        writeln!(
            out,
            " Format {{ name: {name:?}, profile: {profile:?}, title: {title:?}, role: Role::{}, names: &{:?}, heads: &{:?}, words: &{:?}, \
             files: &{:?}, as_client: &{:?}, as_server: &{:?}, childs: &{:?}, last: &{:?}, about_client: &{:?}, about_server: &{:?}, about_itself: &{:?}, client_port: {:?}, server_port: {:?}, nss: {}, connection: {:?}, one_sided: {}, session: {:?}, succeeds: &{:?}, reaches: &{:?}, own_certificate: {}, \
             nobodys: {}, next: Next {{ text: {:?}, command: {:?} }} }},",
            role(format), known.names, known.heads, known.words, known.files, known.as_client, known.as_server, context.childs, context.last, context.about_client, context.about_server, context.about_itself, context.client_port, context.server_port, format.nss,
            format.attempt.connection, format.attempt.one_sided, format.attempt.session, format.attempt.succeeds, format.attempt.reaches, format.certificate == Whose::Own, format.side == Side::Nobody, next.text, next.command,
        )
        .expect("a string takes it");
        for (step, words) in of_attempt(format) {
            for word in words {
                writeln!(steps, " ({word:?}, Step::{step}),").expect("as above");
            }
        }
    }
    out + &steps + "];\n"
}
