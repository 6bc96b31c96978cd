//! Checks the host of a request. After DNS rebinding a browser still sends the attacker's host name.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{StatusCode, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

/// The names under which requests are accepted.
pub(super) struct Hosts {
    listening: IpAddr,
    names: BTreeSet<String>,
}

impl Hosts {
    /// The listening address, localhost, the names of this host, and the names that the options allow.
    pub(super) fn new(listening: SocketAddr, allowed: &[String]) -> Self {
        let own = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        // A line for this host also has its full name (hosts(5)).
        let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default().to_lowercase());
        let names = lines.flat_map(|line| {
            let words: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
            if words.contains(&own) { words } else { Vec::new() }
        });
        let mut names: BTreeSet<String> = names.collect();
        names.extend(["localhost".to_owned(), own.clone()]);
        names.extend(allowed.iter().map(|name| name.trim_end_matches('.').to_lowercase()));
        Self { listening: listening.ip(), names }
    }

    /// DNS maps no name to a literal address, so a request for one of our addresses is meant for us.
    fn is_one(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let host = authority.host().trim_end_matches('.').to_lowercase();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => {
                let loopback = address.is_loopback() && self.listening.is_loopback();
                self.listening.is_unspecified() || loopback || address == self.listening || self.names.contains(&host)
            }
            Err(_) => self.names.contains(&host),
        }
    }

    fn accepts(&self, request: &Request) -> bool {
        let mut said = request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default()).peekable();
        // HTTP/1.0 does not require a Host header, but every browser sends one (RFC 9112, 3.2).
        let complete = said.peek().is_some() || request.version() == Version::HTTP_10;
        complete
            && said.all(|host| self.is_one(host))
            && request.uri().authority().is_none_or(|it| self.is_one(it.as_str()))
    }
}

/// Rejects requests for any other host.
pub(super) fn only(hosts: Hosts, app: Router) -> Router {
    app.layer(middleware::from_fn_with_state(Arc::new(hosts), check))
}

async fn check(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    if hosts.accepts(&request) {
        return next.run(request).await;
    }
    let text = "this exporter does not answer requests for that host; use --allow-host NAME to allow this host\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}
