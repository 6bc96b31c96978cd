//! `--healthcheck`: for supervisors that can run a command and should not connect themselves.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nssight_reports::terminal;
use openssl::ssl::{HandshakeError, Ssl, SslContext, SslMethod, SslVerifyMode};

use super::web::{Tls, Web};
use crate::exit;

/// The exporter answers from memory, so this is enough.
const PATIENCE: Duration = Duration::from_secs(3);
const STATUS_LINE: &[u8] = b"HTTP/1.1 200 ";

pub(super) fn ask(listen: SocketAddr, web: Option<&Path>) -> ExitCode {
    let address = reachable(listen);
    let tls = match web.map_or_else(|| Ok(Web::default()), Web::load) {
        Ok(web) => web.tls,
        Err(error) => return exit::usage(error),
    };
    match answer(address, tls.as_ref()) {
        Ok(line) if line == STATUS_LINE => ExitCode::from(exit::PASSED),
        Ok(line) => {
            let line = String::from_utf8_lossy(&line).into_owned();
            terminal::say(format_args!(
                "{address} answers \"{}\", which is not the reply of a healthy exporter",
                line.escape_debug()
            ));
            ExitCode::from(exit::FAILED)
        }
        Err(error) => {
            terminal::say(format_args!("no exporter answers at {address}: {error}"));
            ExitCode::from(exit::FAILED)
        }
    }
}

/// An exporter that listens on all addresses is reached over loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

/// The bytes of the status line, or fewer if the answer is shorter.
fn answer(address: SocketAddr, tls: Option<&Tls>) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(tls) = tls else { return exchange(address, stream) };
    // The request sends no secret, and only the status of the answer is used, so the certificate need not be verified.
    let mut builder = SslContext::builder(SslMethod::tls_client())?;
    builder.set_verify(SslVerifyMode::NONE);
    let session = Ssl::new(&builder.build())?.connect(stream);
    match session.map_err(io::Error::other).and_then(|session| exchange(address, session)) {
        // The exporter is running, and requires a certificate that only its clients have.
        Err(error) if tls.wants_certificate && is_about_certificates(&error) => Ok(STATUS_LINE.to_vec()),
        answer => answer,
    }
}

fn exchange(address: SocketAddr, mut stream: impl Read + Write) -> io::Result<Vec<u8>> {
    // One write: the server may close the connection after its first read.
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut line = Vec::new();
    stream.take(STATUS_LINE.len() as u64).read_to_end(&mut line)?;
    Ok(line)
}

/// Whether the other end refused us for lack of a certificate: with `certificate_required` in TLS 1.3 (RFC 8446, 6), with
/// `handshake_failure` before (RFC 5246, 7.4.6).
fn is_about_certificates(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    let stack = match inner.downcast_ref::<HandshakeError<TcpStream>>() {
        Some(HandshakeError::Failure(failed)) => failed.error().ssl_error(),
        Some(_) => None,
        None => inner.downcast_ref::<openssl::ssl::Error>().and_then(openssl::ssl::Error::ssl_error),
    };
    let alerts = [1000 + 116, 1000 + 40];
    stack.is_some_and(|stack| stack.errors().iter().any(|error| alerts.contains(&error.reason_code())))
}
