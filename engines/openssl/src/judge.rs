//! OpenSSL's verification of a peer's chain, with every error that it reports.

use std::sync::{Arc, Mutex, PoisonError};

use nssight_session::Objection;
use openssl::x509::{X509StoreContextRef, X509VerifyResult};

use crate::error::of_verification;

/// A chain made long on purpose has more errors than anyone reads.
const OBJECTIONS_AT_MOST: usize = 50;
/// `X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE`: nothing is verified after it.
const LEAF_ALONE: i32 = 21;

/// What the callback recorded.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// Each error, once.
    pub(crate) objections: Vec<(X509VerifyResult, Objection)>,
    /// The certificates from the peer's upwards, as OpenSSL found them.
    pub(crate) chain: Vec<Vec<u8>>,
    /// Success or the first error, once OpenSSL has verified the chain.
    pub(crate) decision: Option<Result<(), X509VerifyResult>>,
    /// Whether all signatures and dates were checked.
    is_through: bool,
}

pub(crate) type Shared = Arc<Mutex<Judgement>>;

/// Called at each error, and for each valid certificate, the peer's own last (`internal_verify` in x509_vfy.c of
/// OpenSSL). A client that stops at the first error learns of no other. This callback continues to the last certificate, and then
/// refuses the chain for the first error.
pub(crate) fn callback(shared: &Shared) -> impl Fn(bool, &mut X509StoreContextRef) -> bool + Send + Sync + use<> {
    let shared = Arc::clone(shared);
    move |is_good, context| {
        let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
        note_chain(&mut seen, context);
        let depth = context.error_depth();
        let error = context.error();
        if !is_good {
            note(&mut seen, context, depth, error);
        }
        let is_last = is_good && depth == 0 || error.as_raw() == LEAF_ALONE || seen.is_through && !is_good;
        seen.is_through |= is_good && depth == 0;
        let first = seen.objections.first().map(|(error, _)| *error);
        match first {
            None => {
                seen.decision = Some(Ok(()));
                true
            }
            Some(first) => {
                seen.decision = Some(Err(first));
                if is_last {
                    context.set_error(first);
                }
                !is_last
            }
        }
    }
}

fn note_chain(seen: &mut Judgement, context: &X509StoreContextRef) {
    let Some(chain) = context.chain() else { return };
    seen.chain = chain.iter().filter_map(|certificate| certificate.to_der().ok()).collect();
}

fn note(seen: &mut Judgement, context: &X509StoreContextRef, depth: u32, error: X509VerifyResult) {
    let is_known = |(known, objection): &(X509VerifyResult, Objection)| *known == error && objection.depth == depth;
    if seen.objections.len() >= OBJECTIONS_AT_MOST || seen.objections.iter().any(is_known) {
        return;
    }
    let subject = context.current_cert().and_then(|it| it.subject_name().to_der().ok());
    let subject = subject.map(|name| nssight_wire::name_from_der(&name)).unwrap_or_default();
    seen.objections.push((error, Objection { depth, error: of_verification(error), subject }));
}
