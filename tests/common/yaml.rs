//! YAML as its consumers parse it: with Python's reader, strictly.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs a program that must be installed, with this text on its standard input.
pub fn tool(command: &mut Command, input: &str) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?} must be installed (make deps): {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The documents of a YAML file. Duplicate keys are errors here, as they are for a cluster.
pub fn documents(path: &Path) -> Vec<Value> {
    const READ: &str = r#"
import json, sys, yaml
class Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key twice at {node.start_mark}"
        return super().construct_mapping(node, deep)
json.dump(list(yaml.load_all(sys.stdin, Strict)), sys.stdout)
"#;
    let output = tool(Command::new("python3").args(["-c", READ]), &fs::read_to_string(path).unwrap());
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
