//! The peer's certificate request, and our answer as seen on the wire, whatever certificate NSS had.
use nssight_diagnosis::derive::signatures::{Signer, fits};
use nssight_diagnosis::fact::{Facts, fact};
use nssight_session::SessionFacts;
use nssight_wire::{CertificateRequest, CertificateType, Summary, TlsVersion};

/// An NSS server lists the certificate types in this order (ssl3con.c, certificate_types); OpenSSL, GnuTLS and Go use other orders.
const NSS_TYPES: [CertificateType; 3] = [CertificateType(1), CertificateType(64), CertificateType(2)];
/// Maximum number of signature schemes to show.
const SHOWN_SCHEMES: usize = 40;

/// Whether we sent a certificate. In TLS 1.2 the wire shows it. In TLS 1.3 the session reports it after the handshake; before that it is
/// only known whether NSS was given a certificate.
pub(crate) fn sent(facts: &SessionFacts, wire: &Summary) -> fact::OurCertificateSent {
    let shows = wire.version.is_some_and(|version| version <= TlsVersion::TLS_1_2);
    match (wire.client_certificate_sent.or(facts.sent_certificate), facts.gave_certificate) {
        // A certificate would have been visible.
        (None, true) if shows => fact::OurCertificateSent::No,
        (Some(false), true) => fact::OurCertificateSent::Empty,
        (Some(false) | None, false) => fact::OurCertificateSent::No,
        (Some(true), _) | (None, true) => fact::OurCertificateSent::Yes,
    }
}

/// The peer's certificate request, and our answer.
pub(crate) fn request(
    facts: &SessionFacts,
    our_cas: &[Vec<u8>],
    signer: Option<Signer>,
    wire: &Summary,
    out: &mut Facts,
) {
    let Some(names) = &facts.asked_for_certificate else {
        out.put(fact::CertificateRequest::None);
        return;
    };
    out.put(fact::CertificateRequest::Seen);
    out.put(fact::CERTIFICATE_REQUEST_AUTHORITIES.number(names.len() as u64));
    for name in names.iter().take(10) {
        out.put(fact::CERTIFICATE_REQUEST_AUTHORITY.text(&name.text));
    }
    if !our_cas.is_empty() {
        out.put(match our_ca_is_listed(facts, our_cas) {
            Some(true) => fact::OurCaListed::Yes,
            Some(false) => fact::OurCaListed::No,
            None => fact::OurCaListed::NoneNamed,
        });
    }
    out.put(sent(facts, wire));
    if let Some(request) = &wire.certificate_request {
        visible(request, signer, wire, out);
    }
}

/// The parts of the request that TLS 1.2 sends in the clear and TLS 1.3 encrypts.
fn visible(request: &CertificateRequest, signer: Option<Signer>, wire: &Summary, out: &mut Facts) {
    out.put(if request.certificate_types == NSS_TYPES { fact::PeerLibrary::Nss } else { fact::PeerLibrary::Other });
    if request.signature_schemes.is_empty() {
        return;
    }
    let schemes = request.signature_schemes.iter().take(SHOWN_SCHEMES).map(ToString::to_string);
    out.put(fact::CERTIFICATE_REQUEST_SCHEMES.text(schemes.collect::<Vec<_>>().join(", ")));
    if let (Some(signer), Some(hello)) = (signer, &wire.client_hello) {
        let numbers = |schemes: &[nssight_wire::SignatureScheme]| schemes.iter().map(|it| it.0).collect::<Vec<_>>();
        out.put(fits(signer, &numbers(&request.signature_schemes), &numbers(&hello.signature_schemes)));
    }
}

/// `None` if the peer named no CAs, which means any CA (RFC 5246, 7.4.4).
pub(crate) fn our_ca_is_listed(facts: &SessionFacts, our_cas: &[Vec<u8>]) -> Option<bool> {
    let names = facts.asked_for_certificate.as_ref().filter(|names| !names.is_empty())?;
    Some(names.iter().any(|name| our_cas.contains(&name.der)))
}

/// NSS had a certificate and a key but sent no certificate: the key can make no signature that the peer accepts.
pub(crate) fn withheld(peer: &str) -> String {
    format!("{peer} requested a certificate, and NSS sent none: our key cannot make a signature that {peer} accepts")
}
