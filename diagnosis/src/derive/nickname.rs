//! The similarity of two nicknames.

/// How a nickname differs from the requested one, if they are similar.
pub fn near_miss(wanted: &str, present: &str, subject: &str) -> Option<&'static str> {
    let unspaced = |text: &str| text.chars().filter(|c| !c.is_whitespace() && !"-_".contains(*c)).collect::<String>();
    let after_token = |text: &str| text.rsplit_once(':').map(|(_, name)| name.to_owned());
    if wanted.to_lowercase() == present.to_lowercase() {
        return Some("upper and lower case differ");
    }
    if wanted.trim() == present.trim() {
        return Some("blanks before or after the nickname differ");
    }
    if after_token(wanted).as_deref() == Some(present) || after_token(present).as_deref() == Some(wanted) {
        return Some("the token name before the nickname differs");
    }
    if unspaced(&wanted.to_lowercase()) == unspaced(&present.to_lowercase()) {
        return Some("blanks, dashes or case differ");
    }
    let without_blanks = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    if without_blanks(wanted) == without_blanks(subject) {
        return Some("it is the certificate's subject");
    }
    let common_name = subject.split(',').find_map(|part| part.trim().strip_prefix("CN="));
    if common_name.is_some_and(|name| name.eq_ignore_ascii_case(wanted)) {
        return Some("the certificate's subject contains this name");
    }
    (wanted.chars().count() > 4 && edits(wanted, present) <= 2).then_some("the spelling is similar")
}

/// Levenshtein distance; names are short, and of longer ones only the beginning is compared.
pub(super) fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(200).collect(), b.chars().take(200).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::near_miss;

    #[test]
    fn near_misses_are_named() {
        let rows = [
            ("sigul-client-cert", "Sigul-Client-Cert", "upper and lower case differ"),
            ("sigul-client-cert", " sigul-client-cert", "blanks before or after the nickname differ"),
            ("NSS Certificate DB:client", "client", "the token name before the nickname differs"),
            ("sigul client cert", "sigul-client-cert", "blanks, dashes or case differ"),
            ("sigul-client-cert", "sigul-cleint-cert", "the spelling is similar"),
        ];
        for (wanted, present, how) in rows {
            assert_eq!(near_miss(wanted, present, "CN=other"), Some(how), "{wanted} / {present}");
        }
        assert_eq!(near_miss("alice", "x1", "CN=Alice,O=Lab"), Some("the certificate's subject contains this name"));
        assert_eq!(near_miss("CN=Alice, O=Lab", "x1", "CN=Alice,O=Lab"), Some("it is the certificate's subject"));
        assert_eq!(near_miss("sigul-client-cert", "sigul-bridge-cert", "CN=bridge"), None);
        assert_eq!(near_miss("ca", "cb", "CN=ca2"), None);
    }
}
