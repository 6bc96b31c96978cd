//! Makes a format of every file in `src/formats/`: its name on the command line is the file's, its help the constant `HELP`.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let folder = root.join("src/formats");
    println!("cargo:rerun-if-changed={}", folder.display());
    println!("cargo:rerun-if-changed=build.rs");
    let entries = fs::read_dir(&folder).expect("the folder of the formats can be read");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("formats.rs");
    fs::write(out, generated(&files)).expect("the build's own folder takes files");
}

fn generated(files: &[PathBuf]) -> String {
    let (mut modules, mut variants, mut all) = (String::new(), String::new(), String::new());
    let (mut names, mut helps, mut writers) = (String::new(), String::new(), String::new());
    for file in files {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a format's name is plain");
        let variant = name[..1].to_uppercase() + &name[1..];
        let _ = writeln!(modules, "#[path = {file:?}]\npub mod {name};");
        let _ = writeln!(variants, "    #[doc = \"See [`{name}`].\"]\n    {variant},");
        let _ = write!(all, "Self::{variant}, ");
        let _ = writeln!(names, "            Self::{variant} => {name:?},");
        let _ = writeln!(helps, "            Self::{variant} => {name}::HELP,");
        let _ = writeln!(writers, "        Format::{variant} => {name}::write(subjects, out),");
    }
    format!(
        "{modules}
/// How the report of a walk is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {{
{variants}}}

impl Format {{
    /// All of them, by name.
    pub const ALL: &[Self] = &[{all}];

    /// As the command line spells it.
    pub fn name(self) -> &'static str {{
        match self {{
{names}        }}
    }}

    /// In a few words.
    pub fn help(self) -> &'static str {{
        match self {{
{helps}        }}
    }}
}}

fn write_as(format: Format, subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {{
    match format {{
{writers}    }}
}}
"
    )
}
