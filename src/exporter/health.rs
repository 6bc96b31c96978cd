//! `--healthcheck`: for supervisors that can run a command and should not connect themselves.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::exit;
use nssight_reports::terminal;

/// The exporter answers from memory.
const PATIENCE: Duration = Duration::from_secs(3);
const STATUS_LINE: &[u8] = b"HTTP/1.1 200 ";

pub(super) fn ask(listen: SocketAddr) -> ExitCode {
    let address = reachable(listen);
    match answer(address) {
        Ok(line) if line == STATUS_LINE => ExitCode::from(exit::PASSED),
        Ok(line) => {
            let line = String::from_utf8_lossy(&line).into_owned();
            terminal::say(format_args!(
                "{address} answers \"{}\" and not as a healthy exporter does",
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

/// One that listens everywhere is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

/// As many bytes as the status line must have, or fewer.
fn answer(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one piece: whoever answers may close after the first it reads.
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut line = Vec::new();
    stream.take(STATUS_LINE.len() as u64).read_to_end(&mut line)?;
    Ok(line)
}
