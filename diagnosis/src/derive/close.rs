//! How soon after a request its connection was found closed.

use std::time::Duration;

use crate::fact::fact::BridgeClose;

/// A bridge finds a dead connection the moment it writes to it (20 ms, measured); what comes later is something else's end.
const AT_ONCE: Duration = Duration::from_secs(1);

/// When the end came, so long after the request was read.
pub fn close(since_request: Duration) -> BridgeClose {
    match since_request <= AT_ONCE {
        true => BridgeClose::AtOnce,
        false => BridgeClose::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_at_once_within_a_second() {
        assert_eq!(close(Duration::from_millis(20)), BridgeClose::AtOnce);
        assert_eq!(close(Duration::from_secs(1)), BridgeClose::AtOnce);
        assert_eq!(close(Duration::from_millis(1001)), BridgeClose::Later);
    }
}
