//! A TLS client session, whichever library makes it: where its bytes travel, and what it shows.
//!
//! Both engines speak over a [`Transport`] and give the same facts, so that whoever judges need not know which one it was.

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
    /// The lowest and the highest version that is offered, as on the wire, after the library's own policy had its say.
    fn versions(&self) -> (u16, u16);
    /// Completes our side of the handshake. In TLS 1.3 that is before the peer has judged our certificate (RFC 8446, 4.4.2).
    ///
    /// # Errors
    /// What the library says.
    fn handshake(&mut self) -> Result<(), SessionError>;
    /// Reads application data; 0 at the end, with or without close_notify (see the alerts).
    ///
    /// # Errors
    /// What the library says.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SessionError>;
    /// Writes some application data.
    ///
    /// # Errors
    /// What the library says.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, SessionError>;
    /// Sends close_notify and ends the sending direction.
    ///
    /// # Errors
    /// What the library says.
    fn finish(&mut self) -> Result<(), SessionError>;
    /// What is known so far.
    fn facts(&self) -> SessionFacts;
    /// What was agreed; nothing before the handshake is complete.
    fn channel(&self) -> Option<Channel>;
}
