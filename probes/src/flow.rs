//! Evaluates the kernel's statistics of a silent connection.
use nssight_diagnosis::derive::flow::{Flow, flow};
use nssight_diagnosis::fact::fact::TcpFlow;
use nssight_session::TcpInfo;

/// The number of our bytes that were sent, acknowledged, and not acknowledged. The kernel counts the SYN as an acknowledged byte
/// (tcp_input.c, tcp_ack).
fn progress(figures: &TcpInfo) -> (u64, u64, u64) {
    let sent = figures.bytes_sent.saturating_sub(figures.bytes_retransmitted);
    let acknowledged = figures.bytes_acknowledged.saturating_sub(1);
    if never_left(figures) {
        return (figures.not_sent.into(), 0, figures.not_sent.into());
    }
    let outstanding = if figures.unacknowledged == 0 { 0 } else { sent.saturating_sub(acknowledged) };
    (sent, acknowledged, outstanding)
}

/// Whether an interface of this host drops what we send, for example for its size: the kernel then takes the packet for unsent, and counts
/// every attempt as sent bytes.
fn never_left(figures: &TcpInfo) -> bool {
    let has_acknowledged = figures.bytes_acknowledged > 1 || figures.bytes_received > 0;
    !has_acknowledged && figures.unacknowledged == 0 && figures.not_sent > 0 && figures.bytes_sent > 0
}

/// The state of the packets of a silent connection.
pub(crate) fn of(figures: &TcpInfo) -> TcpFlow {
    let (_, acknowledged, outstanding) = progress(figures);
    flow(Flow {
        send_mss: figures.send_mss.into(),
        acknowledged,
        outstanding,
        arrived_behind: figures.selectively_acknowledged,
        timeouts: if never_left(figures) { figures.probes.max(figures.timeouts) } else { figures.timeouts },
        received: figures.bytes_received,
        out_of_order: figures.out_of_order,
    })
}

/// The statistics in one line.
pub(crate) fn in_words(figures: &TcpInfo) -> String {
    let (sent, _, outstanding) = progress(figures);
    format!(
        "segment size {} bytes, path MTU {}; of {sent} bytes sent, {outstanding} were not acknowledged; {} packets were \
         retransmitted; {} bytes arrived in order, {} packets out of order",
        figures.send_mss, figures.path_mtu, figures.retransmitted, figures.bytes_received, figures.out_of_order
    )
}
