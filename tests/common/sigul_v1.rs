//! siguldry's client for Sigul, through the program that `scripts/siguldry` builds.

use std::fs;
use std::path::{Path, PathBuf};

use nssight_fixtures::deployment::Deployment;

/// The program.
pub fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/sigul-v1-client/bin/sigul-v1-client");
    assert!(path.exists(), "{} must be built: scripts/siguldry", path.display());
    path
}

/// Lists the users of a deployment, as a command line.
pub fn words(lab: &Deployment) -> Vec<String> {
    let config = fs::read_to_string(lab.config()).unwrap();
    let value = |key: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {key} in {config}")).to_owned()
    };
    let mut words = vec![program().to_str().unwrap().to_owned()];
    for key in ["bridge-hostname", "bridge-port", "server-hostname", "user-name"] {
        words.extend([format!("--{key}"), value(key)]);
    }
    let files = [("certificate", "client.pem"), ("private-key", "client.key"), ("ca-certificate", "ca.pem")];
    for (option, file) in files {
        words.extend([format!("--{option}"), lab.config().with_file_name(file).to_str().unwrap().to_owned()]);
    }
    words.extend(["--admin-password-file".to_owned(), lab.admin_password_file().to_str().unwrap().to_owned()]);
    words
}
