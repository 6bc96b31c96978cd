//! A database of ours, and a server with OpenSSL, which sends any chain that it is given.

use nssight_fixtures::authority::{Identity, Spec, Usage};
use nssight_fixtures::crl::List;
use nssight_fixtures::endpoint::{ClientAuth, Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat, rewrite_trust};
use openssl::x509::X509;

use super::{Case, NICKNAME, PASSWORD, Run, binary, diagnose, run_beside};

/// The content of our database, and the peer.
pub struct World {
    /// Our certificate; if absent, none is configured.
    pub client: Option<Identity>,
    /// Nickname, certificate and trust flags of everything else in our database.
    pub stored: Vec<(String, X509, String)>,
    pub lists: Vec<Vec<u8>>,
    /// The peer's identity.
    pub peer: Identity,
    /// The CAs that it trusts for clients; usually the CA of our certificate.
    pub takes: Vec<X509>,
    /// The CAs whose names it sends, if they differ.
    pub advertised: Option<Vec<X509>>,
    pub client_auth: ClientAuth,
    /// It sends the chain above its certificate.
    pub sends_chain: bool,
    pub format: DbFormat,
    /// A newer NSS wrote the trust of this certificate.
    pub newer: Option<X509>,
}

/// The CA of our own certificate, which is trusted here in most cases.
pub fn home() -> Identity {
    authority("Home CA")
}

pub fn authority(name: &str) -> Identity {
    Identity::authority(name).unwrap()
}

pub fn localhost() -> Spec {
    Spec::new("peer", Usage::Server).names(&["localhost"])
}

/// Issued without key identifiers.
pub fn unidentified(ca: &Identity, spec: Spec) -> Identity {
    ca.issue(&spec.without_key_identifiers()).unwrap()
}

impl World {
    /// Our own chain is valid, and the peer's certificate comes from another CA, `other`.
    pub fn apart(peer: Identity) -> Self {
        let home = home();
        Self { peer, ..Self::together(&home, home.issue(&localhost()).unwrap()) }
    }

    /// Our certificate comes from this CA, which is trusted.
    pub fn together(ca: &Identity, peer: Identity) -> Self {
        Self {
            client: Some(ca.issue(&Spec::new("client", Usage::Client)).unwrap()),
            stored: vec![("own-ca".to_owned(), ca.certificate.clone(), "CT,C,C".to_owned())],
            lists: Vec::new(),
            peer,
            takes: vec![ca.certificate.clone()],
            advertised: None,
            client_auth: ClientAuth::Require,
            sends_chain: true,
            format: DbFormat::Sql,
            newer: None,
        }
    }

    pub fn store(mut self, nickname: &str, certificate: &Identity, trust: &str) -> Self {
        self.stored.push((nickname.to_owned(), certificate.certificate.clone(), trust.to_owned()));
        self
    }

    pub fn list(mut self, list: &List<'_>, authority: &Identity) -> Self {
        self.lists.push(list.signed_by(authority).unwrap());
        self
    }

    pub fn alone(mut self) -> Self {
        self.sends_chain = false;
        self
    }

    /// We have no certificate, and the peer requests none.
    pub fn anonymous(mut self) -> Self {
        self.client = None;
        self.client_auth = ClientAuth::None;
        self
    }

    pub fn diagnosed(&self, tls13: bool) -> Run {
        let case = Case::new();
        let options = Options {
            client_cas: self.takes.clone(),
            advertised: self.advertised.clone(),
            client_auth: self.client_auth,
            sends_chain: self.sends_chain,
            ..Options::new(&self.peer, &self.peer)
        };
        let endpoint = Endpoint::start(if tls13 { options.tls13() } else { options.tls12() }).unwrap();
        let mut builder = DbBuilder::new(self.format).password(PASSWORD.as_bytes());
        if let Some(client) = &self.client {
            builder = builder.x509_identity(NICKNAME, &client.certificate, &client.key, "").unwrap();
            for (place, link) in client.chain.iter().enumerate() {
                builder = builder.x509(&format!("own-intermediate-{place}"), link, "").unwrap();
            }
        }
        for (nickname, certificate, trust) in &self.stored {
            builder = builder.x509(nickname, certificate, trust).unwrap();
        }
        for list in &self.lists {
            builder = builder.revocation_list(list);
        }
        let database = case.path("db");
        builder.build(&database).unwrap();
        if let Some(newer) = &self.newer {
            rewrite_trust(&database.join("cert9.db"), &newer.to_der().unwrap()).unwrap();
        }
        let password = case.password_file();
        let mut command = match &self.client {
            Some(_) => diagnose(&database, &password, endpoint.port()),
            None => {
                let mut command = binary();
                command.args(["diagnose", "--format", "json", "--timeout", "3", "--db"]).arg(&database);
                command.arg("--password-file").arg(&password);
                command.arg("--bridge").arg(format!("localhost:{}", endpoint.port()));
                command
            }
        };
        let run = run_beside(&mut command, &database);
        assert_eq!(run.report()["connections_opened"].as_u64(), Some(endpoint.connections() as u64), "{run:#?}");
        assert!(endpoint.connections() <= 1, "{run:#?}");
        run
    }
}

/// Cause, component and confidence; a pass has none of the first two.
pub fn told(run: &Run) -> String {
    let verdict = &run.report()["verdict"];
    let text = |name: &str| verdict[name].as_str().unwrap_or("-").to_owned();
    format!("{} {} {} {}", text("status"), text("cause"), text("component"), text("confidence"))
}

pub fn fact(run: &Run, id: &str) -> Vec<String> {
    let report = run.report();
    let facts =
        report["probes"].as_array().unwrap().iter().flat_map(|probe| probe["facts"].as_array().unwrap().clone());
    facts.filter(|fact| fact["id"] == id).map(|fact| fact["text"].as_str().unwrap().to_owned()).collect()
}

/// Requires the verdict of every case with both versions of TLS.
pub fn hold(cases: Vec<(&str, &str, World)>) {
    hold_over(&[false, true], cases);
}

pub fn hold_over(versions: &[bool], cases: Vec<(&str, &str, World)>) {
    let mut missed = Vec::new();
    for (name, wanted, world) in cases {
        for tls13 in versions.iter().copied() {
            let run = world.diagnosed(tls13);
            let told = told(&run);
            if told != wanted {
                missed.push(format!("{name} (tls 1.{}): {told}, not {wanted}", if tls13 { 3 } else { 2 }));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
