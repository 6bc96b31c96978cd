//! A server with OpenSSL that delays its decision, sends data before it, or sends no ticket; no real server offers these
//! options.

use std::io;
use std::thread;
use std::time::Duration;

use nssight_fixtures::ports;
use nssight_peers::Setup;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};

use crate::Failure;
use crate::case::{Judge, Tls};

/// Serves until the process ends; returns its port.
///
/// # Errors
/// Errors of OpenSSL and of the socket.
pub(crate) fn serve(setup: &Setup<'_>, judge: &Judge) -> Result<u16, Failure> {
    let listener = ports::listen()?;
    let port = listener.local_addr()?.port();
    let judge = judge.clone();
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    let version = match setup.version {
        Tls::V12 => SslVersion::TLS1_2,
        Tls::V13 => SslVersion::TLS1_3,
    };
    context.set_min_proto_version(Some(version))?;
    context.set_max_proto_version(Some(version))?;
    context.set_certificate(&setup.identity.certificate)?;
    context.set_private_key(&setup.identity.key)?;
    context.set_num_tickets(judge.tickets)?;
    let (after, refuses) = (Duration::from_millis(judge.after), judge.refuses);
    context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |_, store| {
        if store.error_depth() == 0 {
            thread::sleep(after);
        }
        !refuses
    });
    let context = context.build();
    let speaks_first = judge.speaks_first && setup.version == Tls::V13;
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (Ok(socket), Ok(ssl)) = (socket, Ssl::new(&context)) else { return };
            let serve = move || -> Result<(), io::Error> {
                let mut stream = SslStream::new(ssl, socket)?;
                if speaks_first {
                    // Half a round trip early (RFC 8446, 2).
                    stream.read_early_data(&mut [0; 16]).map_err(io::Error::other)?;
                    stream.write_early_data(b"220 ready\r\n").map_err(io::Error::other)?;
                }
                stream.accept().map_err(io::Error::other)?;
                // Until the client disconnects.
                stream.ssl_read(&mut [0; 16]).map(|_| ()).map_err(io::Error::other)
            };
            // Only the client's view of the session matters.
            thread::spawn(serve);
        }
    });
    Ok(port)
}
