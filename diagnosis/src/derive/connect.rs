//! Addresses that did not accept a connection: the kernel's result for each, and the combined result.

use crate::fact::fact::{TcpAddresses, TcpState};

/// How one address failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// No answer arrived before the deadline.
    NoAnswer,
    /// The connection was refused.
    Refused,
    /// A host reported that the connection is prohibited.
    Forbidden,
    /// The network or the host reported that the address is unreachable.
    Unreachable,
    /// This host has no port left for the connection.
    NoLocalPort,
    /// This host has no address for the connection.
    NoLocalAddress,
    /// Any other error.
    Other,
}

impl Attempt {
    /// The result of this attempt alone.
    pub fn state(self) -> TcpState {
        match self {
            Self::NoAnswer => TcpState::NoAnswer,
            Self::Refused => TcpState::Refused,
            Self::Forbidden => TcpState::Forbidden,
            Self::Unreachable => TcpState::Unreachable,
            Self::NoLocalPort => TcpState::NoLocalPort,
            Self::NoLocalAddress => TcpState::NoLocalAddress,
            Self::Other => TcpState::FailedOtherwise,
        }
    }
}

/// From the most to the least significant: a result about only one address family means little if an address of another family answered.
const TELLING: [Attempt; 7] = [
    Attempt::NoAnswer,
    Attempt::Refused,
    Attempt::Forbidden,
    Attempt::NoLocalPort,
    Attempt::Unreachable,
    Attempt::NoLocalAddress,
    Attempt::Other,
];

/// The combined result of all attempts, and whether they agree.
pub fn connect(attempts: &[Attempt]) -> (TcpState, TcpAddresses) {
    let most = TELLING.into_iter().find(|wanted| attempts.contains(wanted)).unwrap_or(Attempt::Other);
    // An address of a family that this host does not have contradicts no other result.
    let tried: Vec<Attempt> = attempts.iter().copied().filter(|attempt| *attempt != Attempt::NoLocalAddress).collect();
    let together = match tried.as_slice() {
        [] | [_] => TcpAddresses::One,
        [first, rest @ ..] if rest.iter().all(|other| other == first) => TcpAddresses::Alike,
        _ => TcpAddresses::Mixed,
    };
    (most.state(), together)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_outranks_a_refusal_and_a_refusal_a_missing_route() {
        use Attempt::{Forbidden, NoAnswer, NoLocalAddress, NoLocalPort, Other, Refused, Unreachable};
        let rows: [(&[Attempt], TcpState, TcpAddresses); 9] = [
            (&[Refused, NoAnswer, Unreachable], TcpState::NoAnswer, TcpAddresses::Mixed),
            (&[Unreachable, Refused], TcpState::Refused, TcpAddresses::Mixed),
            (&[Refused, Other], TcpState::Refused, TcpAddresses::Mixed),
            (&[Other, Unreachable], TcpState::Unreachable, TcpAddresses::Mixed),
            (&[NoLocalAddress, Forbidden], TcpState::Forbidden, TcpAddresses::One),
            (&[NoLocalAddress, NoLocalPort, NoLocalPort], TcpState::NoLocalPort, TcpAddresses::Alike),
            (&[Refused, Refused], TcpState::Refused, TcpAddresses::Alike),
            (&[Other], TcpState::FailedOtherwise, TcpAddresses::One),
            (&[], TcpState::FailedOtherwise, TcpAddresses::One),
        ];
        for (attempts, state, together) in rows {
            assert_eq!(connect(attempts), (state, together), "{attempts:?}");
        }
    }
}
