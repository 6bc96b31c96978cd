//! Quotes words for a shell, so that a command from a report can be pasted.

/// Quotes a word if a shell would otherwise interpret parts of it.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_are_quoted_only_where_needed() {
        assert_eq!(quote("sql:/etc/pki/nssdb"), "sql:/etc/pki/nssdb");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }
}
