//! Converts the data of this crate to static tables: facts, signals, and one file per cause. Nothing is parsed when
//! nssight starts. Contradictory data fails the build with the name of the file.

mod build {
    pub(crate) mod causes;
    pub(crate) mod facts;
    pub(crate) mod signals;
    pub(crate) mod write;
}

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let (facts, signals) = (root.join("facts"), root.join("signals.toml"));
    let mut causes = vec![root.join("causes")];
    // A profile has its own causes.
    let profiles = root.join("../profiles");
    causes.extend(listed(&profiles).into_iter().map(|profile| profile.join("causes")).filter(|causes| causes.is_dir()));
    // A profile also has the messages of its programs for signals.
    let spoken = listed(&profiles).into_iter().filter_map(|profile| {
        let name = profile.file_name()?.to_str()?.to_owned();
        Some((name, profile.join("signals.toml"))).filter(|(_, path)| path.is_file())
    });
    let spoken: Vec<_> = spoken.collect();
    let layers = root.join("src/layers.in");
    for path in
        [&facts, &signals, &profiles, &layers, &root.join("build.rs"), &root.join("build")].into_iter().chain(&causes)
    {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    // A profile also has its own facts.
    let own = listed(&profiles).into_iter().map(|profile| profile.join("facts.toml")).filter(|path| path.is_file());
    let facts: Vec<_> = files(&facts).into_iter().chain(own.map(read)).collect();
    let facts = build::facts::read(&facts);
    let table = build::signals::read(&signals, &spoken);
    let causes = build::causes::read(&causes.iter().flat_map(|directory| files(directory)).collect::<Vec<_>>());
    let put = |name: &str, text: String| fs::write(out.join(name), text).expect("the build directory takes files");
    put("facts.rs", build::facts::generate(&facts));
    put("signals.rs", build::signals::generate(&table));
    put("causes.rs", build::causes::generate(&causes, &facts, &table.signals));
}

fn listed(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory can be listed").path()).collect();
    paths.sort();
    paths
}

/// Every TOML file of a directory, sorted by name, with its content.
fn files(directory: &Path) -> Vec<(PathBuf, String)> {
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    listed(directory).into_iter().filter(is_toml).map(read).collect()
}

fn read(path: PathBuf) -> (PathBuf, String) {
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path, text)
}
