//! Several addresses that did not take a connection.

use crate::fact::fact::TcpState;

/// How one address failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Nothing came back before the deadline.
    NoAnswer,
    /// It was refused.
    Refused,
    /// The network or the host says that there is no way there.
    Unreachable,
    /// Something else.
    Other,
}

impl Attempt {
    /// What this one says by itself.
    pub fn state(self) -> TcpState {
        match self {
            Self::NoAnswer => TcpState::NoAnswer,
            Self::Refused => TcpState::Refused,
            Self::Unreachable => TcpState::Unreachable,
            Self::Other => TcpState::FailedOtherwise,
        }
    }
}

/// What the attempts together say: silence says more than a refusal, and a refusal more than a missing route.
pub fn connect(attempts: &[Attempt]) -> TcpState {
    let telling = [Attempt::NoAnswer, Attempt::Refused, Attempt::Unreachable];
    telling.into_iter().find(|wanted| attempts.contains(wanted)).unwrap_or(Attempt::Other).state()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_goes_before_a_refusal_and_that_before_a_missing_route() {
        use Attempt::{NoAnswer, Other, Refused, Unreachable};
        assert_eq!(connect(&[Refused, NoAnswer, Unreachable]), TcpState::NoAnswer);
        assert_eq!(connect(&[Unreachable, Refused]), TcpState::Refused);
        assert_eq!(connect(&[Refused, Other]), TcpState::Refused);
        assert_eq!(connect(&[Other, Unreachable]), TcpState::Unreachable);
        assert_eq!(connect(&[Other]), TcpState::FailedOtherwise);
    }
}
