//! The action and the workflows of this repository: parsed like GitHub does, with their scripts checked by a shell. The action's own step
//! is run.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::yaml::{documents, tool};
use common::{Case, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{self, Change};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> Value {
    let [document] = <[Value; 1]>::try_from(documents(&root(name))).unwrap();
    document
}

/// Every step of every job, or of the action.
fn steps(document: &Value) -> Vec<&Value> {
    let jobs = document["jobs"].as_object().into_iter().flat_map(|jobs| jobs.values());
    let lists = jobs.chain([&document["runs"]]).filter_map(|job| job["steps"].as_array());
    lists.flatten().collect()
}

#[test]
fn scripts_of_workflows_are_scripts_and_need_no_secret() {
    for name in ["action.yml", ".github/workflows/ci.yml", ".github/workflows/release.yml"] {
        let document = read(name);
        let steps = steps(&document);
        assert!(steps.len() > 1, "{name}");
        for script in steps.iter().filter_map(|step| step["run"].as_str()) {
            // Expressions that GitHub replaces before a shell sees them.
            let mut shell = String::new();
            let mut rest = script;
            while let Some((before, after)) = rest.split_once("${{") {
                let (_, behind) = after.split_once("}}").unwrap_or_else(|| panic!("{name}: {script}"));
                shell += before;
                shell += "expression";
                rest = behind;
            }
            shell += rest;
            let checked = tool(Command::new("bash").args(["-n", "-s"]), &shell);
            assert!(checked.status.success(), "{name}: {script}: {}", String::from_utf8_lossy(&checked.stderr));
        }
        let text = fs::read_to_string(root(name)).unwrap();
        assert!(!text.contains("secrets."), "{name}");
        // The author of a pull request must not get a token with write access.
        assert!(name == "action.yml" || document["permissions"]["contents"] == "read", "{name}");
    }
}

#[test]
fn ci_runs_the_same_commands_as_developers() {
    let document = read(".github/workflows/ci.yml");
    assert!(steps(&document).iter().any(|step| step["run"] == ".ci/run"), "{document:#}");
    assert!(root(".ci/run").exists());
}

/// The step with the check, run like the runner does it: with a healthy target, and with one that fails.
#[test]
fn the_action_annotates_failures_and_passes_on_the_exit_code() {
    let action = read("action.yml");
    let step = steps(&action).into_iter().find(|step| step["id"] == "check").unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_nssight")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let broken = fault::all().unwrap().into_iter().find(|fault| fault.id == "client-other-ca").unwrap().change;
    for (change, code) in [(Change::default(), 0), (broken, 1)] {
        let case = Case::new();
        let lab = Deployment::start(&case.path("lab"), &change, DbFormat::Sql).unwrap();
        let text = format!("[[target]]\nname = \"signing\"\nconfig = \"{}\"\n", lab.config().display());
        case.file("targets.toml", text);
        let mut command = Command::new("bash");
        // The way actions/runner starts a script with this shell.
        command.args(["--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"].as_str().unwrap()]);
        command.env("PATH", &path).env("TARGETS", case.path("targets.toml")).env("ARGUMENTS", "--timeout 10 --jobs 1");
        command.env("GITHUB_OUTPUT", case.path("output")).env("GITHUB_WORKSPACE", case.path(""));
        let checked = run(&mut command);
        assert_eq!(checked.code, Some(code), "{checked:#?}");
        assert_eq!(fs::read_to_string(case.path("output")).unwrap(), format!("exit-code={code}\n"));
        let annotated = checked.stdout.lines().any(|line| line.starts_with("::error file=lab/client.conf,line="));
        assert_eq!(annotated, code == 1, "{}", checked.stdout);
    }
}
