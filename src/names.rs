//! The target's own names, for what the catalogue advises.

use nssight_diagnosis::verdict::{Names, Peer};
use nssight_probes::target::{Profile, TargetSummary};

/// Those of a target.
pub(crate) fn of(target: &TargetSummary) -> Names {
    let peer = target.bridge.as_ref().and_then(|bridge| bridge.value.rsplit_once(':'));
    Names {
        database: target.database.as_ref().map(|database| database.value.clone()),
        nickname: target.nickname.as_ref().map(|nickname| nickname.value.clone()),
        host: peer.map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']').to_owned()),
        port: peer.map(|(_, port)| port.to_owned()),
        peer: match target.profile {
            Profile::Tls => Peer::Plain,
            Profile::Sigul => Peer::Bridge,
        },
    }
}
