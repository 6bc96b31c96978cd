//! Compares `nssight diagnose` with certificates in files with `openssl s_client -brief`, which only does the same handshake.

use std::fs;
use std::process::Command;

use nssight_fixtures::authority::{Identity, KeyKind, Spec, Usage};
use nssight_fixtures::endpoint::{Endpoint, Options};

use crate::{Competitor, Failure, RUNS, binary, in_turn};

pub(crate) fn run() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name);
    println!(
        "one handshake with files, medians of {RUNS} runs in turn (aims: CPU 1.3 of s_client; 25 ms where the peer says that it took us)"
    );
    println!("| key | TLS | s_client, CPU | CPU / s_client | wall / s_client | wall |");
    println!("|---|---|---|---|---|---|");
    for (kind, key) in [("RSA", KeyKind::Rsa(2048)), ("EC", KeyKind::Ec)] {
        let ca = Identity::self_signed(&Spec::new("Bench CA", Usage::Authority).key(key))?;
        let server = ca.issue(&Spec::new("peer", Usage::Server).names(&["localhost"]).key(key))?;
        let client = ca.issue(&Spec::new("client", Usage::Client).key(key))?;
        fs::write(place("client.pem"), client.certificate.to_pem()?)?;
        fs::write(place("client.key"), client.key.private_key_to_pem_pkcs8()?)?;
        fs::write(place("ca.pem"), ca.certificate.to_pem()?)?;
        for version in [2, 3] {
            let options = Options::new(&server, &ca);
            let endpoint = Endpoint::start(if version == 2 { options.tls12() } else { options.tls13() })?;
            let peer = format!("localhost:{}", endpoint.port());
            let mut nssight = Command::new(binary("nssight"));
            nssight.args(["diagnose", &peer, "--cert"]).arg(place("client.pem")).arg("--key").arg(place("client.key"));
            nssight.arg("--cacert").arg(place("ca.pem"));
            let mut s_client = Command::new("openssl");
            s_client.args([
                "s_client",
                "-brief",
                "-connect",
                &peer,
                "-servername",
                "localhost",
                "-verify_return_error",
            ]);
            s_client.arg("-cert").arg(place("client.pem")).arg("-key").arg(place("client.key"));
            s_client.arg("-CAfile").arg(place("ca.pem"));
            let mut contestants =
                [Competitor::new("nssight", nssight)?, Competitor::new("openssl s_client", s_client)?];
            in_turn(&mut contestants, RUNS)?;
            let expected = (RUNS + 1) * contestants.len();
            if endpoint.handshakes() != expected {
                return Err(format!("{} of {expected} handshakes were completed", endpoint.handshakes()).into());
            }
            let [own, other] = contestants.each_ref().map(Competitor::medians);
            let ratio = |one: std::time::Duration, other: std::time::Duration| one.as_secs_f64() / other.as_secs_f64();
            println!(
                "| {kind} | 1.{version} | {:.1} ms | {:.2} | {:.2} | {:.1} ms |",
                other.cpu.as_secs_f64() * 1e3,
                ratio(own.cpu, other.cpu),
                ratio(own.wall, other.wall),
                own.wall.as_secs_f64() * 1e3
            );
        }
    }
    println!();
    Ok(())
}
