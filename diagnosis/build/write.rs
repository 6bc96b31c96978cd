//! Shared code for the three tables: names and values in Rust.

/// `our-certificate.sent` as `OurCertificateSent`.
pub(crate) fn camel(id: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    let name: String = id.split(['-', '.', '_']).map(capital).collect();
    // An identifier must not begin with a digit.
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("N{name}") } else { name }
}

/// `our-certificate.sent` as `OUR_CERTIFICATE_SENT`.
pub(crate) fn screaming(id: &str) -> String {
    id.replace(['-', '.'], "_").to_uppercase()
}

/// An optional string.
pub(crate) fn option(text: &Option<String>) -> String {
    optional(text, |text| format!("{text:?}"))
}

/// An optional value; `says` converts the text.
pub(crate) fn optional(text: &Option<String>, says: impl Fn(&str) -> String) -> String {
    text.as_deref().map_or_else(|| "None".to_owned(), |text| format!("Some({})", says(text)))
}

/// A slice with these parts as elements.
pub(crate) fn slice(parts: impl IntoIterator<Item = String>) -> String {
    let parts: Vec<String> = parts.into_iter().collect();
    format!("&[{}]", parts.join(", "))
}

/// One value or several.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(crate) fn all(&self) -> Vec<&str> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more.iter().map(String::as_str).collect(),
        }
    }
}
