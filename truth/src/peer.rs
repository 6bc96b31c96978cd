//! The peers: real servers, and other programs in their place.

use std::process::Command;
use std::sync::LazyLock;

use nssight_fixtures::ports;
use nssight_peers::{HTTP, SERVERS, Server, Setup};

use crate::Failure;
use crate::case::Judge;
use crate::late;

/// One kind of peer.
pub(crate) struct Peer {
    /// The spelling in the data and in the table.
    pub name: &'static str,
    kind: Kind,
}

enum Kind {
    /// A TLS server that every fault is tested with, unless the fault names its peers.
    Server(&'static Server),
    /// HTTP without TLS.
    Http,
    /// A TLS server that is stopped as soon as it listens, so that only the kernel accepts connections.
    Stopped,
    /// A server in this process.
    Late,
    /// No server listens.
    Nobody,
    /// A host in a separate network.
    Network,
}

/// All peers; those that every fault is tested with come first.
pub(crate) static PEERS: LazyLock<Vec<Peer>> = LazyLock::new(|| {
    let servers = SERVERS.iter().map(|server| Peer { name: server.name, kind: Kind::Server(server) });
    let others = [
        Peer { name: "late", kind: Kind::Late },
        Peer { name: "http", kind: Kind::Http },
        Peer { name: "stopped", kind: Kind::Stopped },
        Peer { name: "nobody", kind: Kind::Nobody },
        Peer { name: "network", kind: Kind::Network },
    ];
    servers.chain(others).collect()
});

/// A running peer. Dropping it ends it.
pub(crate) struct Running {
    _server: Option<nssight_peers::Running>,
    /// The port on which it listens.
    pub port: u16,
}

impl From<nssight_peers::Running> for Running {
    fn from(server: nssight_peers::Running) -> Self {
        Self { port: server.port, _server: Some(server) }
    }
}

impl Peer {
    /// Whether every fault is tested with it, unless the fault names its peers.
    pub(crate) fn is_usual(&self) -> bool {
        matches!(self.kind, Kind::Server(_))
    }

    /// Whether it is a host in a separate network, which [`crate::network`] creates.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self.kind, Kind::Network)
    }

    /// The protocol by which its clients request TLS, if any.
    pub(crate) fn starttls(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Server(server) => server.starttls,
            _ => None,
        }
    }

    /// Starts the peer and waits until it listens.
    ///
    /// # Errors
    /// If it is not installed or does not start; its output is in the directory.
    pub(crate) fn start(&self, setup: &Setup<'_>, judge: &Judge) -> Result<Running, Failure> {
        Ok(match self.kind {
            Kind::Server(server) => server.start(setup)?.into(),
            Kind::Http => HTTP.start(setup)?.into(),
            Kind::Stopped => {
                let running = nssight_peers::server("s_server").ok_or("there is no s_server")?.start(setup)?;
                let stopped = Command::new("kill").args(["-STOP", &running.id().to_string()]).status()?;
                if !stopped.success() {
                    return Err("the server could not be stopped".into());
                }
                running.into()
            }
            Kind::Late => Running { _server: None, port: late::serve(setup, judge)? },
            Kind::Nobody | Kind::Network => Running { _server: None, port: ports::listen()?.local_addr()?.port() },
        })
    }
}
