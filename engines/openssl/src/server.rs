//! The server side of a session.

use nssight_session::{SessionError, Transport};
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslOptions, SslVerifyMode};
use openssl::stack::Stack;

use crate::error::of_stack;
use crate::record::Part;
use crate::session::{Identity, Made, Session, Trust, version_of};

/// The settings of a server session.
pub struct ServerOptions<'a> {
    /// Our certificate, its chain and its key.
    pub identity: &'a Identity,
    /// The CAs whose clients are accepted; a client without a certificate is refused. The CAs that the system trusts are not
    /// listed for clients.
    pub clients: Trust,
    /// Lowest and highest version, as on the wire, if they differ from those of OpenSSL's configuration.
    pub versions: Option<(u16, u16)>,
}

impl Session {
    /// Sets up a server session that requests a certificate. It waits for a client in
    /// [`handshake`](nssight_session::TlsSession::handshake).
    ///
    /// # Errors
    /// The error that OpenSSL reports.
    pub fn server(transport: Box<dyn Transport>, options: ServerOptions<'_>) -> Result<Self, SessionError> {
        const STEP: &str = "set up the session";
        build(transport, options).map_err(|stack| of_stack(STEP, &stack))
    }
}

fn build(transport: Box<dyn Transport>, options: ServerOptions<'_>) -> Result<Session, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    if let Some((low, high)) = options.versions {
        context.set_min_proto_version(version_of(low))?;
        context.set_max_proto_version(version_of(high))?;
    }
    // A client that returns must present its certificate again.
    context.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
    context.set_session_id_context(b"nssight")?;
    if let Trust::These(authorities) = &options.clients {
        let mut names = Stack::new()?;
        for authority in authorities {
            names.push(authority.subject_name().to_owned()?)?;
        }
        context.set_client_ca_list(names);
    }
    let mode = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    let made = Made::of(context, Some(options.identity), options.clients, mode)?;
    let ssl = Ssl::new(&made.context)?;
    made.session(ssl, transport, Part::Server)
}
