//! The names of secrets, and values that are never secret.

/// How certain a name makes it that its value is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// The value is secret, whatever it looks like.
    Secret,
    /// The value is secret if it looks random.
    Perhaps,
}

/// These mark a secret anywhere in a name.
const ANYWHERE: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwort",
    "kennwort",
    "secret",
    "token",
    "credential",
    "apikey",
    "authorization",
    "requirepass",
    "masterauth",
];
/// These also occur inside harmless words, so they count only as a separate part of a name.
const PARTS: [&str; 9] = ["pass", "pw", "pwd", "pin", "psk", "creds", "cred", "otp", "passin"];
/// Parts that name a secret as often as something else.
const DOUBTFUL: [&str; 6] = ["auth", "bearer", "cookie", "cookies", "jwt", "session"];
/// A key of one of these is a secret; any other key may be the name of one.
const KEYS_OF: [&str; 12] = [
    "api",
    "access",
    "private",
    "secret",
    "account",
    "encryption",
    "shared",
    "master",
    "storage",
    "session",
    "deploy",
    "service",
];
/// A name with one of these endings describes a secret and does not contain it.
const ABOUT: [&str; 46] = [
    "age",
    "alg",
    "algorithm",
    "attempts",
    "callback",
    "count",
    "dir",
    "directory",
    "endpoint",
    "env",
    "error",
    "expires",
    "expiry",
    "fd",
    "file",
    "form",
    "format",
    "host",
    "id",
    "kind",
    "label",
    "length",
    "len",
    "limit",
    "max",
    "method",
    "min",
    "mode",
    "name",
    "path",
    "policy",
    "port",
    "prompt",
    "required",
    "retries",
    "size",
    "slot",
    "source",
    "state",
    "status",
    "timeout",
    "seconds",
    "ttl",
    "type",
    "url",
    "user",
];

/// The meaning of a name for the value after it.
pub(super) fn meaning(name: &str) -> Option<Name> {
    // The result line of a test.
    if name == "PASS" {
        return None;
    }
    let parts = parts(name);
    let last = parts.last().map_or("", String::as_str);
    if ABOUT.contains(&last) {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let keyed = parts.windows(2).any(|pair| {
        (pair[1] == "key" || pair[1] == "keys") && KEYS_OF.contains(&pair[0].as_str())
            || pair[0] == "key" && pair[1] == "data"
    });
    let phrase = parts.windows(2).any(|pair| pair[0] == "pass" && pair[1].starts_with("phrase"));
    let any = |list: &[&str]| parts.iter().any(|part| list.contains(&part.as_str()));
    if ANYWHERE.iter().any(|word| lower.contains(word)) || any(&PARTS) || keyed || phrase {
        return Some(Name::Secret);
    }
    any(&DOUBTFUL).then_some(Name::Perhaps)
}

/// `dbPass`, `DB_PASS` and `db-pass` are two words each.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut lower_before = false;
    for c in name.chars() {
        let begins = c.is_ascii_uppercase() && lower_before;
        if (!c.is_ascii_alphanumeric() || begins) && parts.last().is_some_and(|part| !part.is_empty()) {
            parts.push(String::new());
        }
        if c.is_ascii_alphanumeric()
            && let Some(part) = parts.last_mut()
        {
            part.push(c.to_ascii_lowercase());
        }
        lower_before = c.is_ascii_lowercase();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Values that occur after the name of a secret and are not secret.
const NO_SECRETS: [&str; 63] = [
    "accepted",
    "basic",
    "bearer",
    "cannot",
    "changed",
    "config",
    "correct",
    "could",
    "denied",
    "digest",
    "disabled",
    "empty",
    "enabled",
    "error",
    "expired",
    "failed",
    "failure",
    "false",
    "fail",
    "found",
    "given",
    "gssapi",
    "has",
    "incorrect",
    "invalid",
    "is",
    "kerberos",
    "missing",
    "must",
    "needed",
    "negotiate",
    "never",
    "nil",
    "no",
    "none",
    "not",
    "ntlm",
    "null",
    "off",
    "ok",
    "on",
    "passed",
    "prompt",
    "read",
    "refused",
    "rejected",
    "required",
    "set",
    "skip",
    "skipped",
    "stdin",
    "stored",
    "succeeded",
    "success",
    "true",
    "undefined",
    "unknown",
    "unset",
    "unused",
    "was",
    "wrong",
    "yes",
    "oauth2",
];
/// Names of NSS's tokens.
const TOKENS_OF_NSS: [&str; 6] = [
    "NSS Certificate DB",
    "NSS Generic Crypto Services",
    "NSS FIPS 140-2 Certificate DB",
    "NSS FIPS 140-3 Certificate DB",
    "NSS User Private Key and Certificate Services",
    "Builtin Object Token",
];
/// First components of absolute paths.
const ROOTS: [&str; 14] = [
    "/etc/", "/var/", "/usr/", "/home/", "/root/", "/run/", "/tmp/", "/opt/", "/srv/", "/dev/", "/proc/", "/mnt/",
    "/lib", "/nix/",
];

/// Whether a value reveals nothing.
pub(super) fn is_harmless(value: &[u8]) -> bool {
    let value = value.trim_ascii().trim_ascii_end();
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let text = text.trim_matches(['"', '\'', ',', ';', '.', ')', '}', ']', '<', '>', '\\']);
    let one = |c: char| text.chars().all(|each| each == c);
    let word = text.split([' ', '\t', ',', ';', ':', '.', '(']).next().unwrap_or_default();
    let placed = (text.starts_with("${") && text.ends_with('}') || text.starts_with("${") && value.ends_with(b"}"))
        || text.starts_with("%(") && value.ends_with(b")s")
        || text.starts_with("{{") && !text.trim_end_matches('}').contains('}');
    text.is_empty()
        || ['*', 'x', 'X', '.', '-', '?', '#', '\u{2022}', '\u{2026}'].into_iter().any(one)
        || text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit())
        || value.starts_with(b"<") && !value.starts_with(b"<!") && value.ends_with(b">") && !text.contains(['<', '>'])
        || text.starts_with("[redacted")
        || placed
        || NO_SECRETS.contains(&word.to_ascii_lowercase().as_str()) && (word == text || prose(text, word))
        || TOKENS_OF_NSS.contains(&text)
        || text.contains("_ERROR_") && text.starts_with('(')
        || ROOTS.iter().any(|root| text.starts_with(root)) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Words after the first one, as people write them.
fn prose(text: &str, word: &str) -> bool {
    let rest = &text[word.len()..];
    rest.starts_with([' ', ',', '.', ':', ';', '(']) && !rest.bytes().any(|byte| byte.is_ascii_digit())
        || rest.starts_with(": NSS error")
}

/// Whether a value looks random and is not a word.
pub(super) fn looks_secret(value: &[u8]) -> bool {
    let word = value.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    let any = |is: fn(&u8) -> bool| word.iter().any(is);
    let inner_upper = word.iter().skip(1).any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase);
    word.len() >= 6 && (any(u8::is_ascii_digit) || inner_upper) || word.ends_with(b"=") && word.len() >= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinguished_from_words_that_contain_them() {
        for name in [
            "password",
            "DB_PASS",
            "dbPass",
            "pwd",
            "SIGUL_PW",
            "nss-password",
            "AWS_SECRET_ACCESS_KEY",
            "api_key",
            "apiKey",
            "client-key-data",
            "PGPASSWORD",
            "X-Api-Key",
            "access_token",
            "koji-passphrase",
            "pin",
            "psk",
            "accountKey",
        ] {
            assert_eq!(meaning(name), Some(Name::Secret), "{name}");
        }
        for name in ["auth", "Cookie", "Set-Cookie", "session"] {
            assert_eq!(meaning(name), Some(Name::Perhaps), "{name}");
        }
        for name in [
            "bypass",
            "compass",
            "spin",
            "key",
            "password-file",
            "passphrase-length",
            "token_count",
            "tokenType",
            "signing-key",
            "certificate",
            "author",
            "PASS",
            "password_source",
            "nickname",
            "mapping",
            "authority",
            "public-key",
        ] {
            assert_eq!(meaning(name), None, "{name}");
        }
    }

    #[test]
    fn metadata_about_a_secret_is_not_redacted() {
        for value in [
            "",
            "wrong",
            "****",
            "<hidden>",
            "required.",
            "not given",
            "NSS Certificate DB",
            "/etc/sigul/pw",
            "${PW}",
            "false",
        ] {
            assert!(is_harmless(value.as_bytes()), "{value}");
        }
        for value in ["hunter2", "the quick brown fox", "wrong7 horse", "$ecret", "1234", "no1knows", "a/b+c=="] {
            assert!(!is_harmless(value.as_bytes()), "{value}");
        }
    }
}
