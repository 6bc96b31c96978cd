//! Generates a [`Profile`] for every folder in `profiles/`: its code is the folder's `mod.rs`, and its name in reports is the folder's
//! name.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let folder = root.join("../profiles").canonicalize().expect("the profiles are there");
    println!("cargo:rerun-if-changed={}", folder.display());
    println!("cargo:rerun-if-changed=build.rs");
    let entries = fs::read_dir(&folder).expect("the folder of the profiles can be read");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path().join("mod.rs")).collect();
    files.retain(|file| file.is_file());
    files.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("profiles.rs");
    fs::write(out, generated(&files)).expect("the build's own folder takes files");
}

fn generated(files: &[PathBuf]) -> String {
    let (mut modules, mut variants) = (String::new(), String::new());
    let (mut all, mut details) = (String::new(), String::new());
    for file in files {
        let folder = file.parent().and_then(|folder| folder.file_name()).and_then(|name| name.to_str());
        let name = folder.expect("a profile's name is plain");
        let variant = name[..1].to_uppercase() + &name[1..];
        let _ = writeln!(modules, "#[path = {file:?}]\npub mod {name};");
        let _ = writeln!(variants, "    #[doc = \"See [`{name}`].\"]\n    {variant},");
        let _ = write!(all, "Self::{variant}, ");
        let _ = writeln!(details, "            Self::{variant} => &{name}::DETAILS,");
    }
    format!(
        "{modules}
/// The kind of deployment, which determines the layers after TCP and their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = \"kebab-case\")]
pub enum Profile {{
{variants}}}

impl Profile {{
    /// All of them, by name.
    pub const ALL: &[Self] = &[{all}];

    /// What there is to know of it.
    pub fn details(self) -> &'static Details {{
        match self {{
{details}        }}
    }}
}}
"
    )
}
