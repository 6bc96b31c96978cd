//! Basic authentication (RFC 7617) against bcrypt's hashes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderValue;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Each step doubles the time of a check; at 15 a check takes a few seconds.
const COST_AT_MOST: u32 = 15;
/// Number of requests that may wait for the check of their password.
const WAITING_AT_MOST: usize = 8;

/// Whether a request is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Granted,
    Refused,
    /// Too many passwords are waiting for their check.
    Busy,
}

/// The authorised users.
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// A key of this process, under which a password that was correct is remembered,
    key: Zeroizing<[u8; 32]>,
    /// one per user: a client that scrapes every minute needs bcrypt only once.
    known: Arc<Mutex<HashMap<String, [u8; 32]>>>,
    /// Passwords are checked one at a time in a separate thread, so that guessing takes one core at most, and no time from scrapes.
    turn: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Users {
    /// # Errors
    /// One line that names the user.
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Result<Option<Self>, String> {
        for (user, hash) in &hashes {
            let parts: bcrypt::HashParts =
                hash.parse().map_err(|_| format!("basic_auth_users: the password of {user:?} is not a bcrypt hash"))?;
            if parts.get_cost() > COST_AT_MOST {
                return Err(format!(
                    "basic_auth_users: the hash of {user:?} has cost {}, which takes too long; the maximum is {COST_AT_MOST}",
                    parts.get_cost()
                ));
            }
        }
        let mut key = Zeroizing::new([0; 32]);
        openssl::rand::rand_bytes(&mut *key).map_err(|error| error.to_string())?;
        let (turn, waiting) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(WAITING_AT_MOST)));
        Ok((!hashes.is_empty()).then(|| Self { hashes, key, known: Arc::default(), turn, waiting }))
    }

    pub(super) fn count(&self) -> usize {
        self.hashes.len()
    }

    /// Whether this header names a user and its password.
    pub(super) async fn admit(&self, header: Option<&HeaderValue>) -> Admission {
        let Some((user, password)) = header.and_then(credentials) else { return Admission::Refused };
        let Some(remembered) = self.digest(&user, &password) else { return Admission::Refused };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&user).copied();
        if known.is_some_and(|known| openssl::memcmp::eq(&known, &remembered)) {
            return Admission::Granted;
        }
        let Ok(place) = self.waiting.clone().try_acquire_owned() else { return Admission::Busy };
        let Ok(turn) = self.turn.clone().acquire_owned().await else { return Admission::Busy };
        // Some hash is always checked, so that the time does not reveal whether a user exists.
        let own = self.hashes.get(&user).cloned();
        let Some(hash) = own.clone().or_else(|| self.hashes.values().next().cloned()) else {
            return Admission::Refused;
        };
        let known = self.known.clone();
        let checked = tokio::task::spawn_blocking(move || {
            // Held to the end of the check, even if the client has disconnected by then.
            let _held = (turn, place);
            let is_right = bcrypt::verify(password.as_slice(), &hash).unwrap_or(false) && own.is_some();
            if is_right {
                known.lock().unwrap_or_else(PoisonError::into_inner).insert(user, remembered);
            }
            is_right
        });
        match checked.await {
            Ok(true) => Admission::Granted,
            _ => Admission::Refused,
        }
    }

    fn digest(&self, user: &str, password: &[u8]) -> Option<[u8; 32]> {
        let key = PKey::hmac(&*self.key).ok()?;
        let mut signer = Signer::new(MessageDigest::sha256(), &key).ok()?;
        // A user name contains no NUL, since such credentials are refused.
        [user.as_bytes(), &[0], password].into_iter().try_for_each(|part| signer.update(part)).ok()?;
        signer.sign_to_vec().ok()?.try_into().ok()
    }
}

/// The user and password of a header.
fn credentials(header: &HeaderValue) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = Zeroizing::new(openssl::base64::decode_block(encoded.trim()).ok()?);
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let user = std::str::from_utf8(&bytes[..colon]).ok()?;
    // bcrypt would ignore everything after a NUL.
    (!bytes.contains(&0)).then(|| (user.to_owned(), Zeroizing::new(bytes[colon + 1..].to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> HeaderValue {
        format!("Basic {}", openssl::base64::encode_block(text.as_bytes())).parse().unwrap()
    }

    #[test]
    fn headers_of_any_kind_are_read() {
        let read = |header: &HeaderValue| credentials(header).map(|(user, password)| (user, password.to_vec()));
        assert_eq!(read(&basic("a:b:c")), Some(("a".to_owned(), b"b:c".to_vec())));
        assert_eq!(read(&basic(":")), Some((String::new(), Vec::new())));
        for text in ["", "Basic", "Basic ", "Basic !!", "Bearer YTpi", "Basic YQ==", "Basic YTpi YTpi"] {
            assert_eq!(read(&text.parse().unwrap()), None, "{text}");
        }
        assert_eq!(read(&basic("a:b\0c")), None);
    }

    #[test]
    fn a_hash_must_be_one_and_cheap_enough() {
        let of = |hash: &str| Users::new([("prometheus".to_owned(), hash.to_owned())].into());
        let hash = bcrypt::hash("a password", 4).unwrap();
        assert!(of(&hash).unwrap().is_some() && Users::new(BTreeMap::new()).unwrap().is_none());
        for wrong in ["a password", "", &hash.replacen("$04$", "$31$", 1), "$apr1$x$y"] {
            assert!(
                of(wrong).is_err_and(|error| error.contains("prometheus") && !error.contains("a password")),
                "{wrong}"
            );
        }
    }
}
