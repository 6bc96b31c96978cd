//! Reads the web configuration file: `tls_server_config`, `http_server_config` and `basic_auth_users`.

use std::collections::BTreeMap;
use std::path::Path;

use axum::http::{HeaderName, HeaderValue};
use nssight_probes::files;
use openssl::sha::Sha256;
use serde::Deserialize;

use super::Web;
use super::tls::{self, TlsFile};
use super::users::Users;

/// Larger than any configuration, chain or list of CAs.
const FILE_AT_MOST: u64 = 4 * 1024 * 1024;
/// Headers that exporters let a file set.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tls_server_config: Option<TlsFile>,
    http_server_config: Option<Http>,
    basic_auth_users: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    /// The exporter supports only HTTP/1.1; a client that may use HTTP/2 does not have to.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
}

pub(super) fn load(path: &Path) -> Result<Web, String> {
    let origin = path.display();
    let mut hash = Sha256::new();
    let bytes = read(path).map_err(|error| format!("{origin}: {error}"))?;
    hash.update(&bytes);
    let text = String::from_utf8(bytes).map_err(|_| format!("{origin}: it is not UTF-8"))?;
    let file = parse(&text).map_err(|error| format!("{origin}{error}"))?;
    let users = Users::new(file.basic_auth_users.unwrap_or_default()).map_err(|error| format!("{origin}: {error}"))?;
    let headers = headers(file.http_server_config.unwrap_or_default()).map_err(|error| format!("{origin}: {error}"))?;
    let mut tls = file.tls_server_config;
    let directory = path.parent().unwrap_or(Path::new(""));
    tls.iter_mut().flat_map(TlsFile::files).for_each(|file| tls::beside(directory, file));
    let kept = |name: &str| {
        let bytes = read(Path::new(name)).map_err(|error| format!("{name}: {error}"))?;
        hash.update(&bytes);
        Ok(bytes)
    };
    let tls = tls.map(|tls| tls.ready(kept)).transpose();
    let tls = tls.map_err(|error| format!("{origin}: tls_server_config: {error}"))?;
    Ok(Web { tls, users, headers, digest: hash.finish() })
}

/// An empty file sets nothing.
fn parse(text: &str) -> Result<File, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: Option<File> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|location| format!(":{}", location.line())).unwrap_or_default();
        // The message of the parser ends with the place in the parser's own format.
        let what = error.without_snippet().to_string();
        format!("{line}: {}", what.lines().next().unwrap_or_default())
    })?;
    Ok(file.unwrap_or(File { tls_server_config: None, http_server_config: None, basic_auth_users: None }))
}

fn headers(http: Http) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let given = http.headers.unwrap_or_default().into_iter();
    let read = given.map(|(name, value)| {
        if !HEADERS.contains(&name.as_str()) {
            return Err(format!(
                "http_server_config: the header {name} cannot be set; allowed headers: {}",
                HEADERS.join(", ")
            ));
        }
        let wrong = || format!("http_server_config: the value of {name} is not valid in a header");
        Ok((name.parse().map_err(|_| wrong())?, value.parse().map_err(|_| wrong())?))
    });
    read.collect()
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    files::whole(path, FILE_AT_MOST, files::regular)?.ok_or_else(|| std::io::Error::other("it is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        parse(text).err().unwrap_or_default()
    }

    #[test]
    fn unknown_keys_are_refused_by_their_name_and_line() {
        assert_eq!(said(""), "");
        assert_eq!(said("# nothing\n"), "");
        assert_eq!(said("basic_auth_users:\nhttp_server_config:\n"), "");
        for (text, line, name) in [
            ("tls_config: {}\n", ":1:", "tls_config"),
            ("\nhttp_server_config:\n  http3: true\n", ":3:", "http3"),
            (
                "tls_server_config:\n  cert_file: a\n  key_file: b\n  curve_preferences: [X]\n",
                ":4:",
                "curve_preferences",
            ),
            ("tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS10\n", ":4:", "TLS10"),
            ("tls_server_config:\n  cert_file: a\n", "", "key_file"),
            ("basic_auth_users:\n  a: x\n  a: y\n", ":3:", "a"),
            ("basic_auth_users: [a]\n", ":1:", ""),
            ("a: &a [*a, *a]\n", "", ""),
            ("{", "", ""),
        ] {
            let said = said(text);
            assert!(!said.is_empty() && said.starts_with(line) && said.contains(name), "{text:?}: {said:?}");
            assert!(!said.contains('\n'), "{said:?}");
        }
    }
}
