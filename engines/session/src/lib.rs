//! A TLS client session, whichever library runs it: where its bytes travel, and what it shows.
//!
//! Both engines use a [`Transport`] and report the same facts, so that the verdict does not depend on the engine.

mod error;
mod facts;
mod tcp_info;
mod transport;

pub use error::{Code, Kind, SessionError};
pub use facts::{CaName, Channel, Objection, SeenAlert, SessionFacts, protocol_list};
pub use tcp_info::TcpInfo;
pub use transport::{Control, End, Figures, Tap, TcpTransport, Transport};

/// One session.
pub trait TlsSession {
    /// The lowest and the highest version that is offered, as on the wire, within the limits of the library's own policy.
    fn versions(&self) -> (u16, u16);
    /// Completes our side of the handshake. In TLS 1.3 that is before the peer has verified our certificate (RFC 8446, 4.4.2).
    ///
    /// # Errors
    /// The error that the library reports.
    fn handshake(&mut self) -> Result<(), SessionError>;
    /// Reads application data; 0 at the end, with or without close_notify (see the alerts).
    ///
    /// # Errors
    /// The error that the library reports.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SessionError>;
    /// Writes some application data.
    ///
    /// # Errors
    /// The error that the library reports.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, SessionError>;
    /// Sends close_notify and ends the sending direction.
    ///
    /// # Errors
    /// The error that the library reports.
    fn finish(&mut self) -> Result<(), SessionError>;
    /// The facts recorded so far.
    fn facts(&self) -> SessionFacts;
    /// The negotiated parameters; `None` before the handshake is complete.
    fn channel(&self) -> Option<Channel>;
}
