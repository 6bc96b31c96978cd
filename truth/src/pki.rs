//! Every certificate of the suite, by its name in the data.

use std::collections::BTreeMap;

use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use openssl::hash::MessageDigest;

use crate::Failure;

/// Names and identities.
pub(crate) type Named = BTreeMap<&'static str, Identity>;

/// CAs, servers and clients.
pub(crate) struct Pki {
    /// CAs that a client's database may hold.
    pub authorities: Named,
    /// Identities of servers.
    pub servers: Named,
    /// Identities of clients.
    pub clients: Named,
}

const MINUTE: i64 = 60;
const LOCAL: [&str; 2] = ["localhost", "127.0.0.1"];

impl Pki {
    /// Creates all certificates.
    ///
    /// # Errors
    /// Errors of OpenSSL.
    pub(crate) fn make() -> Result<Self, Failure> {
        let ca = Identity::authority("Truth CA")?;
        let other = Identity::authority("Another CA")?;
        let clients_ca = Identity::authority("Truth Client CA")?;
        let expired_copy = ca.renewed(&Spec::new("Truth CA", Usage::Authority).valid(-60 * DAY, -DAY))?;
        let old = Identity::self_signed(&Spec::new("Old CA", Usage::Authority).valid(-60 * DAY, -DAY))?;
        let namesake = Identity::authority("Truth CA")?;
        let client_namesake = Identity::authority("Truth Client CA")?;
        let bare = Identity::self_signed(&Spec::new("Bare CA", Usage::Authority).without_constraints())?;
        let clients_sub = clients_ca.issue(&Spec::new("Truth Client Issuing CA", Usage::Authority))?;
        let servers = servers(&ca, &other, &namesake, &bare)?;
        let clients = clients(&clients_ca, &clients_sub)?;
        let authorities = BTreeMap::from([
            ("server-ca", ca),
            ("other-ca", other),
            ("client-ca", clients_ca),
            ("client-issuing-ca", clients_sub),
            ("expired-copy", expired_copy),
            ("old-ca", old),
            ("namesake", namesake),
            ("client-namesake", client_namesake),
            ("bare-ca", bare),
        ]);
        Ok(Self { authorities, servers, clients })
    }

    /// The certificate with the name `server:NAME` or `client:NAME`, or the name of a CA, in the data.
    pub(crate) fn certificate(&self, name: &str) -> Result<&Identity, Failure> {
        let found = match name.split_once(':') {
            Some(("server", name)) => self.servers.get(name),
            Some(("client", name)) => self.clients.get(name),
            _ => self.authorities.get(name),
        };
        found.ok_or_else(|| format!("there is no certificate \"{name}\"").into())
    }
}

fn servers(ca: &Identity, other: &Identity, namesake: &Identity, bare: &Identity) -> Result<Named, Failure> {
    let spec = || Spec::new("localhost", Usage::Server).names(&LOCAL);
    let authority = |name: &str| Spec::new(name, Usage::Authority);
    let alone = |identity: Identity| Identity { chain: Vec::new(), ..identity };
    let sub = ca.issue(&authority("Truth Intermediate CA"))?;
    let lower = sub.issue(&authority("Truth Lower Issuing CA"))?;
    let blue = ca.issue(&authority("Blue"))?;
    let with_root = |identity: Identity| {
        let chain = [identity.chain.clone(), vec![ca.certificate.clone()]].concat();
        Identity { chain, ..identity }
    };
    let short = ca.issue(&authority("Short CA").path_length(0))?;
    let exact = ca.issue(&authority("Exact CA").path_length(0))?;
    let below_short = short.issue(&authority("Lower CA"))?;
    let constrained = ca.issue(&authority("Constrained CA").permitted("other.example"))?;
    let permitting = ca.issue(&authority("Permitting CA").permitted("localhost"))?;
    let no_ca = ca.issue(&Spec::new("no CA", Usage::Server))?;
    let critical = ca.issue(&authority("Critical CA").critical_extension())?;
    let unsorted = {
        let mut identity = lower.issue(&spec())?;
        identity.chain.reverse();
        identity
    };
    let padded = {
        let mut identity = ca.issue(&spec())?;
        identity.chain.push(other.certificate.clone());
        identity
    };
    let half = {
        let mut identity = lower.issue(&spec())?;
        identity.chain.truncate(1);
        identity
    };
    Ok(BTreeMap::from([
        ("good", ca.issue(&spec())?),
        ("rsa", ca.issue(&spec().key(KeyKind::Rsa(2048)))?),
        ("rsa-4096", ca.issue(&spec().key(KeyKind::Rsa(4096)))?),
        ("rsa-1024", ca.issue(&spec().key(KeyKind::Rsa(1024)))?),
        ("rsa-768", ca.issue(&spec().key(KeyKind::Rsa(768)))?),
        ("sha1", ca.issue(&spec().digest(MessageDigest::sha1()))?),
        ("intermediate", sub.issue(&spec())?),
        ("two-intermediates", lower.issue(&spec())?),
        ("unsorted", unsorted),
        ("padded", padded),
        ("with-root", with_root(sub.issue(&spec())?)),
        ("no-intermediate", alone(sub.issue(&spec())?)),
        ("no-intermediate-unnamed", alone(blue.issue(&spec())?)),
        ("no-intermediate-identified", alone(blue.issue(&spec().naming_the_issuers_issuer())?)),
        ("half-a-chain", half),
        ("expired", ca.issue(&spec().valid(-60 * DAY, -DAY))?),
        ("expired-a-minute-ago", ca.issue(&spec().valid(-60 * DAY, -2 * MINUTE))?),
        ("expires-soon", ca.issue(&spec().valid(-60 * DAY, 30 * MINUTE))?),
        ("fresh", ca.issue(&spec().valid(-MINUTE, 90 * DAY))?),
        ("not-yet-valid", ca.issue(&spec().valid(30 * DAY, 60 * DAY))?),
        ("other-ca", other.issue(&spec())?),
        ("other-ca-with-root", {
            let mut identity = other.issue(&spec())?;
            identity.chain.push(other.certificate.clone());
            identity
        }),
        ("namesake-ca", namesake.issue(&spec())?),
        ("namesake-with-root", {
            let mut identity = namesake.issue(&spec())?;
            identity.chain.push(namesake.certificate.clone());
            identity
        }),
        ("address-as-name", ca.issue(&Spec::new("address", Usage::Server).names(&["DNS:127.0.0.1"]))?),
        ("bare-ca", bare.issue(&spec())?),
        ("self-signed", Identity::self_signed(&spec())?),
        ("wrong-name", ca.issue(&Spec::new("other", Usage::Server).names(&["db.example.org"]))?),
        ("near-name", ca.issue(&Spec::new("near", Usage::Server).names(&["localhots"]))?),
        ("name-only", ca.issue(&Spec::new("localhost", Usage::Server).names(&["localhost"]))?),
        ("common-name-only", ca.issue(&Spec::new("localhost", Usage::Server))?),
        (
            "many-names",
            ca.issue(&Spec::new("cluster", Usage::Server).names(&[
                "a.example",
                "b.example",
                "localhost",
                "10.0.0.1",
                "127.0.0.1",
            ]))?,
        ),
        ("client-usage", ca.issue(&Spec::new("localhost", Usage::Client).names(&LOCAL))?),
        ("code-signing", ca.issue(&Spec::new("localhost", Usage::CodeSigning).names(&LOCAL))?),
        ("both-usages", ca.issue(&Spec::new("localhost", Usage::Both).names(&LOCAL))?),
        ("any-usage", ca.issue(&Spec::new("localhost", Usage::Unlimited).names(&LOCAL))?),
        ("path-too-long", below_short.issue(&spec())?),
        ("path-exact", exact.issue(&spec())?),
        ("name-constrained", constrained.issue(&spec())?),
        ("name-permitted", permitting.issue(&Spec::new("localhost", Usage::Server).names(&["localhost"]))?),
        ("issuer-no-ca", no_ca.issue(&spec())?),
        ("critical", ca.issue(&spec().critical_extension())?),
        ("critical-above", critical.issue(&spec())?),
        ("broken-signature", ca.issue(&spec())?.with_broken_signature()?),
        ("no-key-identifiers", ca.issue(&spec().without_key_identifiers())?),
        ("serial-7", ca.issue(&spec().serial(7))?),
        ("rsa-7", ca.issue(&spec().key(KeyKind::Rsa(2048)).serial(7))?),
    ]))
}

fn clients(ca: &Identity, sub: &Identity) -> Result<Named, Failure> {
    let spec = || Spec::new("truth client", Usage::Client);
    let other = Identity::authority("Another Client CA")?;
    Ok(BTreeMap::from([
        ("good", ca.issue(&spec())?),
        ("rsa", ca.issue(&spec().key(KeyKind::Rsa(2048)))?),
        ("rsa-4096", ca.issue(&spec().key(KeyKind::Rsa(4096)))?),
        ("intermediate", sub.issue(&spec())?),
        ("other-ca-rsa", other.issue(&spec().key(KeyKind::Rsa(2048)))?),
        ("intermediate-alone", Identity { chain: Vec::new(), ..sub.issue(&spec())? }),
        ("other-ca", other.issue(&spec())?),
        ("self-signed", Identity::self_signed(&spec())?),
        ("expired", ca.issue(&spec().valid(-60 * DAY, -DAY))?),
        ("expires-soon", ca.issue(&spec().valid(-60 * DAY, 30 * MINUTE))?),
        ("begins-soon", ca.issue(&spec().valid(20 * MINUTE, 60 * DAY))?),
        ("not-yet-valid", ca.issue(&spec().valid(30 * DAY, 60 * DAY))?),
        ("both-usages", ca.issue(&Spec::new("truth client", Usage::Both))?),
        ("any-usage", ca.issue(&Spec::new("truth client", Usage::Unlimited))?),
        ("server-usage", ca.issue(&Spec::new("truth client", Usage::Server).names(&["client.example"]))?),
        ("code-signing", ca.issue(&Spec::new("truth client", Usage::CodeSigning))?),
        ("critical", ca.issue(&spec().critical_extension())?),
        ("broken-signature", ca.issue(&spec())?.with_broken_signature()?),
        ("rsa-1024", ca.issue(&spec().key(KeyKind::Rsa(1024)))?),
        ("serial-7", ca.issue(&spec().serial(7))?),
    ]))
}
