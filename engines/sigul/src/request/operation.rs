//! The operations, the fields of each, and what a bridge refuses.

use super::Head;
use crate::header::FieldError;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Printable ASCII.
    Text,
    /// A truth value: one byte, 0 or 1.
    Bool,
}

/// A field of an operation, beside `op` and `user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its key.
    pub key: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether a request must have it.
    pub required: bool,
}

/// An operation that a bridge accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The value of `op`.
    pub name: &'static str,
    /// The fields it may have, beside `op` and `user`.
    pub fields: &'static [Field],
    /// Whether it may have a payload.
    pub payload: bool,
}

const NAME: Field = required("name");
const KEY: Field = required("key");

/// The operations of Sigul's published protocol description and manual page. Those that sign packages are not among
/// them: the bridge itself changes these requests.
pub const OPERATIONS: &[Operation] = &[
    plain("list-users", &[]),
    plain("new-user", &[NAME, flag("admin")]),
    plain("delete-user", &[NAME]),
    plain("user-info", &[NAME]),
    plain("modify-user", &[NAME, flag("admin"), optional("new-name")]),
    plain("key-user-info", &[NAME, KEY]),
    plain("modify-key-user", &[NAME, KEY, flag("key-admin")]),
    plain("list-keys", &[]),
    plain(
        "new-key",
        &[
            KEY,
            optional("initial-key-admin"),
            optional("name-real"),
            optional("name-comment"),
            optional("name-email"),
            optional("expire-date"),
        ],
    ),
    with_payload("import-key", &[KEY, optional("initial-key-admin")]),
    plain("delete-key", &[KEY]),
    plain("modify-key", &[KEY, optional("new-name")]),
    plain("list-key-users", &[KEY]),
    plain("grant-key-access", &[KEY, NAME]),
    plain("revoke-key-access", &[KEY, NAME]),
    plain("get-public-key", &[KEY]),
    plain("change-passphrase", &[KEY]),
    with_payload("sign-text", &[KEY]),
    with_payload("sign-data", &[KEY]),
];

/// Why a bridge closes the connection without passing a request on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the operation and the key, explained by the message")]
pub enum Rejection {
    /// `op` or `user` or a field is missing, or has an invalid value.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// An operation that is not in [`OPERATIONS`].
    #[error("unknown operation \"{0}\"")]
    UnknownOperation(String),
    /// A field that the operation does not have.
    #[error("operation \"{op}\" has no field \"{key}\"")]
    UnexpectedField { op: &'static str, key: String },
    /// A payload where the operation takes none.
    #[error("operation \"{op}\" takes no payload, but the header announces {length} bytes")]
    UnexpectedPayload { op: &'static str, length: u64 },
}

impl Head {
    /// The operation, when a bridge would pass this request on.
    ///
    /// # Errors
    /// Why it would not.
    pub fn validate(&self) -> Result<&'static Operation, Rejection> {
        let name = self.header.str("op")?;
        self.header.str("user")?;
        let operation = OPERATIONS.iter().find(|operation| operation.name == name);
        let operation = operation.ok_or_else(|| Rejection::UnknownOperation(name.to_owned()))?;
        let op = operation.name;
        for (key, _) in self.header.iter().filter(|(key, _)| !matches!(*key, "op" | "user")) {
            if !operation.fields.iter().any(|field| field.key == key) {
                return Err(Rejection::UnexpectedField { op, key: key.to_owned() });
            }
        }
        for field in operation.fields.iter().filter(|field| field.required || self.header.get(field.key).is_some()) {
            match field.kind {
                Kind::Text => self.header.str(field.key).map(drop)?,
                Kind::Bool => self.header.bool(field.key).map(drop)?,
            }
        }
        if self.payload_length > 0 && !operation.payload {
            return Err(Rejection::UnexpectedPayload { op, length: self.payload_length });
        }
        Ok(operation)
    }
}

const fn required(key: &'static str) -> Field {
    Field { key, kind: Kind::Text, required: true }
}

const fn optional(key: &'static str) -> Field {
    Field { key, kind: Kind::Text, required: false }
}

const fn flag(key: &'static str) -> Field {
    Field { key, kind: Kind::Bool, required: false }
}

const fn plain(name: &'static str, fields: &'static [Field]) -> Operation {
    Operation { name, fields, payload: false }
}

const fn with_payload(name: &'static str, fields: &'static [Field]) -> Operation {
    Operation { name, fields, payload: true }
}
