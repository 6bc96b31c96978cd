//! Joins a peer's chain with our own database by keys: finds the end of the chain, and the obstacle to trust.

use crate::fact::fact::{PeerChainState as State, TrustStoreIssuer as Issuer};

/// The trust record of a certificate, as far as the NSS in use reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// `C`, or `P` on the certificate itself.
    ForServers,
    /// `T` without `C`.
    ForClients,
    /// `p`.
    Distrusted,
    /// `C`, in a record that only a newer NSS reads.
    ForNewer,
    /// None of these.
    Plain,
}

/// A certificate that was sent, is in our database, or both.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Its trust, if our database has the certificate.
    pub stored: Option<Letters>,
    /// Its own key verifies its signature.
    pub is_self_signed: bool,
    /// Basic constraints and key usage make it a CA.
    pub is_ca: bool,
    /// It is valid now.
    pub is_in_date: bool,
}

/// A CA with the name of an issuer whose key did not verify the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namesake {
    /// The key identifiers are equal: it is the right key, and the signature is broken.
    SameKey,
    /// The key identifiers or the kinds of key differ.
    OtherKey,
    /// There is no evidence either way.
    Unknown,
}

/// What a certificate shows about the issuer of its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Above {
    /// The issuer is self-issued: a root.
    Itself,
    /// A CA of our database issued it: an intermediate CA.
    Another,
    /// A CA that is not in our database issued it, or another certificate of the same CA.
    PerhapsAnother,
    /// No information.
    Unsaid,
}

/// A certificate whose issuer's key was not found.
#[derive(Debug, Clone)]
pub struct Loose {
    /// CAs of the issuer's name, sent or stored.
    pub namesakes: Vec<Namesake>,
    /// One of these is in our database, possibly with another key.
    pub is_named_here: bool,
    /// What it shows about the issuer's own issuer.
    pub above: Above,
    /// The issuer's name, as text.
    pub issuer: String,
}

/// The peer's certificate and everything above it.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// The peer's own certificate, and those reached from it by signatures.
    pub links: Vec<Link>,
    /// Pairs of a certificate and its issuer.
    pub signed: Vec<(usize, usize)>,
    /// Certificates from which no signature leads further.
    pub loose: Vec<Loose>,
    /// The root that was sent is not in our database, but another one with its name is.
    pub has_namesake_of_root: bool,
}

/// Which part of the peer's chain our own database has.
pub fn issuer(chain: &Chain) -> Issuer {
    let stored = || chain.links.iter().filter_map(|link| Some((link, link.stored?)));
    let is = |letters: Letters| stored().any(|(_, found)| found == letters);
    let is_distrusted = |place: &usize| chain.links[*place].stored == Some(Letters::Distrusted);
    if (0..chain.links.len()).filter(is_distrusted).any(|place| !is_superseded(chain, place)) {
        return Issuer::Distrusted;
    }
    if stored().any(|(link, letters)| letters == Letters::ForServers && link.is_in_date) {
        return Issuer::Trusted;
    }
    let is_valid_root = |link: &Link| link.is_self_signed && link.is_in_date;
    if is(Letters::ForServers) && !stored().any(|(link, letters)| is_valid_root(link) && letters != Letters::Distrusted)
    {
        return Issuer::ExpiredCopy;
    }
    if is(Letters::ForNewer) {
        return Issuer::NewerTrust;
    }
    let mut roots = stored().filter(|(link, _)| link.is_self_signed).peekable();
    if roots.peek().is_some() {
        let for_clients = roots.any(|(_, letters)| letters == Letters::ForClients);
        return if for_clients { Issuer::ForClientsOnly } else { Issuer::WithoutTrust };
    }
    if chain.has_namesake_of_root || chain.loose.iter().any(|loose| loose.is_named_here) {
        return Issuer::OtherKey;
    }
    // The peer's own certificate leads to no issuer.
    if chain.links.iter().skip(1).any(|link| link.stored.is_some()) { Issuer::RootMissing } else { Issuer::Absent }
}

/// Whether a certificate is out of date, and another of the same CA is not: NSS then takes the valid one (certdb.c,
/// nssCertificateArray_FindBestCertificate).
fn is_superseded(chain: &Chain, place: usize) -> bool {
    let is_valid = |other: usize| other != place && chain.links.get(other).is_some_and(|link| link.is_in_date);
    let children = chain.signed.iter().filter(|(_, issuer)| *issuer == place).map(|(child, _)| *child);
    let has_another = |child: usize| chain.signed.iter().any(|(of, issuer)| *of == child && is_valid(*issuer));
    !chain.links[place].is_in_date && children.clone().next().is_some() && children.clone().all(has_another)
}

/// The state of the peer's chain.
pub fn state(chain: &Chain) -> State {
    let Some(leaf) = chain.links.first() else { return State::IssuerUnsent };
    let namesake = |kind: Namesake| chain.loose.iter().any(|loose| loose.namesakes.contains(&kind));
    if namesake(Namesake::SameKey) {
        return State::Broken;
    }
    if leaf.is_self_signed {
        return State::SelfSigned;
    }
    // Trust makes a certificate a CA even if its extensions do not, and a root may also lack these extensions (NSS,
    // certvfy.c).
    let may_issue = |link: &Link| link.is_ca || link.is_self_signed || link.stored == Some(Letters::ForServers);
    let issuers = |of: usize| chain.signed.iter().filter(move |(child, _)| *child == of).map(|(_, issuer)| *issuer);
    let stands_below_no_ca = |of: usize| {
        let mut above = issuers(of).filter_map(|issuer| chain.links.get(issuer)).peekable();
        above.peek().is_some() && !above.any(may_issue)
    };
    if (0..chain.links.len()).any(stands_below_no_ca) {
        return State::IssuerNoCa;
    }
    if chain
        .links
        .iter()
        .any(|link| link.is_self_signed && link.stored.is_some() || link.stored == Some(Letters::ForServers))
    {
        return State::Whole;
    }
    if chain.links.iter().any(|link| link.is_self_signed) {
        return State::RootSent;
    }
    if namesake(Namesake::Unknown) {
        return State::PerhapsBroken;
    }
    let says = |above: Above| chain.loose.iter().any(|loose| loose.above == above);
    let is_named =
        || !namesake(Namesake::OtherKey) && chain.loose.iter().any(|loose| is_named_as_intermediate(&loose.issuer));
    if says(Above::Another) {
        State::IntermediateUnsent
    } else if says(Above::Itself) {
        State::RootUnsent
    } else if says(Above::PerhapsAnother) || is_named() {
        State::PerhapsIntermediateUnsent
    } else {
        State::IssuerUnsent
    }
}

/// Words in the names of intermediate CAs that roots hardly ever have.
const NO_ROOT: [&str; 7] = ["intermediate", "issuing", "subordinate", "sub-ca", "sub ca", "subca", "signing ca"];

/// Whether the name of a CA is that of an intermediate.
fn is_named_as_intermediate(name: &str) -> bool {
    let name = name.to_lowercase();
    NO_ROOT.iter().any(|word| name.contains(word)) && !name.contains("root")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: Link = Link { stored: None, is_self_signed: false, is_ca: false, is_in_date: true };
    const SUB: Link = Link { is_ca: true, ..LEAF };
    const ROOT: Link = Link { is_self_signed: true, ..SUB };

    const fn stored(link: Link, letters: Letters) -> Link {
        Link { stored: Some(letters), ..link }
    }

    /// Each certificate is signed by the next.
    fn line(links: &[Link]) -> Chain {
        let signed = (1..links.len()).map(|place| (place - 1, place)).collect();
        Chain { links: links.to_vec(), signed, loose: Vec::new(), has_namesake_of_root: false }
    }

    fn loose(links: &[Link], namesakes: &[Namesake], above: Above, issuer: &str) -> Chain {
        let is_named_here = namesakes.iter().any(|namesake| *namesake != Namesake::SameKey);
        let loose = Loose { namesakes: namesakes.to_vec(), is_named_here, above, issuer: issuer.to_owned() };
        Chain { loose: vec![loose], ..line(links) }
    }

    fn both(chain: &Chain) -> (Issuer, State) {
        (issuer(chain), state(chain))
    }

    #[test]
    fn the_letters_of_the_root_decide() {
        let root = |letters| both(&line(&[LEAF, stored(ROOT, letters)]));
        assert_eq!(root(Letters::ForServers), (Issuer::Trusted, State::Whole));
        assert_eq!(root(Letters::ForClients), (Issuer::ForClientsOnly, State::Whole));
        assert_eq!(root(Letters::Distrusted), (Issuer::Distrusted, State::Whole));
        assert_eq!(root(Letters::ForNewer), (Issuer::NewerTrust, State::Whole));
        assert_eq!(root(Letters::Plain), (Issuer::WithoutTrust, State::Whole));
        let expired = Link { is_in_date: false, ..stored(ROOT, Letters::ForServers) };
        assert_eq!(issuer(&line(&[LEAF, expired])), Issuer::ExpiredCopy);
        // The peer sends the renewed certificate.
        let renewed = Chain { signed: vec![(0, 1), (0, 2)], ..line(&[LEAF, expired, ROOT]) };
        assert_eq!(both(&renewed), (Issuer::ExpiredCopy, State::Whole));
        let also_here =
            Chain { signed: vec![(0, 1), (0, 2)], ..line(&[LEAF, expired, stored(ROOT, Letters::ForServers)]) };
        assert_eq!(issuer(&also_here), Issuer::Trusted);
        // Our database has the renewed certificate too, but does not trust it.
        let untrusted = Chain { signed: vec![(0, 1), (0, 2)], ..line(&[LEAF, expired, stored(ROOT, Letters::Plain)]) };
        assert_eq!(issuer(&untrusted), Issuer::WithoutTrust);
    }

    #[test]
    fn distrust_anywhere_comes_before_trust() {
        let sub = stored(SUB, Letters::Distrusted);
        assert_eq!(issuer(&line(&[LEAF, sub, stored(ROOT, Letters::ForServers)])), Issuer::Distrusted);
        let old = Link { is_in_date: false, ..stored(ROOT, Letters::Distrusted) };
        let renewed = Chain { signed: vec![(0, 1), (0, 2)], ..line(&[LEAF, old, stored(ROOT, Letters::Plain)]) };
        assert_eq!(issuer(&renewed), Issuer::WithoutTrust);
        assert_eq!(issuer(&line(&[LEAF, old])), Issuer::Distrusted);
        let leaf = stored(LEAF, Letters::Distrusted);
        assert_eq!(issuer(&line(&[leaf, stored(ROOT, Letters::ForServers)])), Issuer::Distrusted);
    }

    #[test]
    fn an_intermediate_alone_is_no_root() {
        let sub = loose(&[LEAF, stored(SUB, Letters::Plain)], &[], Above::Unsaid, "CN=Root");
        assert_eq!(both(&sub), (Issuer::RootMissing, State::IssuerUnsent));
        let leaf = loose(&[stored(LEAF, Letters::Plain)], &[], Above::Unsaid, "CN=Root");
        assert_eq!(issuer(&leaf), Issuer::Absent);
    }

    #[test]
    fn certificates_sent_but_not_stored_are_classified() {
        assert_eq!(both(&line(&[ROOT])), (Issuer::Absent, State::SelfSigned));
        assert_eq!(both(&line(&[LEAF, ROOT])), (Issuer::Absent, State::RootSent));
        let set_up_again = Chain { has_namesake_of_root: true, ..line(&[LEAF, ROOT]) };
        assert_eq!(both(&set_up_again), (Issuer::OtherKey, State::RootSent));
        assert_eq!(both(&line(&[LEAF, LEAF, stored(ROOT, Letters::ForServers)])), (Issuer::Trusted, State::IssuerNoCa));
        let bare = Link { is_ca: false, ..stored(ROOT, Letters::Plain) };
        assert_eq!(both(&line(&[LEAF, bare])), (Issuer::WithoutTrust, State::Whole));
    }

    #[test]
    fn an_issuer_that_was_not_sent_is_classified_by_identifier_and_name() {
        let ends = |above, issuer| state(&loose(&[LEAF], &[], above, issuer));
        assert_eq!(ends(Above::Another, "CN=A"), State::IntermediateUnsent);
        assert_eq!(ends(Above::Itself, "CN=Issuing CA"), State::RootUnsent);
        assert_eq!(ends(Above::Unsaid, "CN=A"), State::IssuerUnsent);
        assert_eq!(ends(Above::Unsaid, "CN=Issuing CA 2"), State::PerhapsIntermediateUnsent);
        assert_eq!(ends(Above::Unsaid, "CN=Issuing Root"), State::IssuerUnsent);
    }

    #[test]
    fn a_namesake_is_distinguished_from_a_broken_signature_by_its_key() {
        let with = |namesake| both(&loose(&[LEAF], &[namesake], Above::Unsaid, "CN=A"));
        assert_eq!(with(Namesake::SameKey), (Issuer::Absent, State::Broken));
        assert_eq!(with(Namesake::OtherKey), (Issuer::OtherKey, State::IssuerUnsent));
        assert_eq!(with(Namesake::Unknown), (Issuer::OtherKey, State::PerhapsBroken));
    }
}
