//! The plan of one check: its last layer, and the layers that it leaves out.

use nssight_diagnosis::Layer;

use crate::probe::{OF_DATABASE, OF_FILES};
use crate::profile::Profile;
use crate::target::Target;
use crate::walk::Probe;

/// An invalid selection of layers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A layer without a probe.
    #[error("the layer {0} is not part of this check; the layers of this check are {known}", known = known())]
    NoProbe(Layer),
    /// A layer that does not exist for a server's own identity.
    #[error(
        "--role server opens no connection and ends at private-key at the latest; it does not include the layer {0}"
    )]
    NotOfAServer(Layer),
    /// A TCP connection without its handshake.
    #[error(
        "tcp and outer-handshake share one connection; a bridge would treat a connection without TLS as a client, \
         and the next client would fail: stop at resolve or at outer-handshake"
    )]
    BareConnect,
}

fn known() -> String {
    layers().map(Layer::as_str).collect::<Vec<_>>().join(", ")
}

/// The layers of one check, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The last layer.
    pub until: Layer,
    /// Layers excluded on request.
    pub excluded: Vec<Layer>,
}

impl Plan {
    /// Every layer that a check can have.
    pub fn whole() -> Self {
        Self { until: Layer::Request, excluded: Vec::new() }
    }

    /// Verifies that every named layer has a probe, and that no connection is opened without a use.
    pub fn new(until: Option<Layer>, excluded: Vec<Layer>) -> Result<Self, PlanError> {
        let plan = Self { until: until.unwrap_or(Self::whole().until), excluded };
        if let Some(unknown) =
            plan.excluded.iter().chain([&plan.until]).find(|layer| layers().all(|known| known != **layer))
        {
            return Err(PlanError::NoProbe(*unknown));
        }
        if plan.walks(Layer::Tcp) && !plan.walks(Layer::OuterHandshake) {
            Err(PlanError::BareConnect)
        } else {
            Ok(plan)
        }
    }

    /// As [`Self::new`], for a server's own identity, which is checked without any connection.
    pub fn of_a_server(until: Option<Layer>, excluded: Vec<Layer>) -> Result<Self, PlanError> {
        match until.filter(|until| *until > Layer::PrivateKey) {
            Some(beyond) => Err(PlanError::NotOfAServer(beyond)),
            None => Self::new(until.or(Some(Layer::PrivateKey)), excluded),
        }
    }

    /// The layers up to the last one, including those left out, for certificates in files or in a database; a profile may have fewer.
    pub fn layers(&self, has_files: bool) -> impl Iterator<Item = Layer> + use<> {
        let until = self.until;
        let others = if has_files { Layer::NssDb } else { Layer::Credentials };
        layers().filter(move |layer| *layer <= until && *layer != others)
    }

    /// The probes of a target up to the last layer, including those left out, and including the probes for a question if one is configured.
    /// There is no target if the configuration could not be read.
    pub fn probes(&self, target: Option<&Target>) -> impl Iterator<Item = &'static Probe> + use<> {
        let until = self.until;
        let details = target.map_or_else(Profile::default, Target::profile).details();
        let more = if target.is_some_and(|target| target.question.is_some()) { details.on_request } else { &[] };
        let common = if target.is_some_and(|target| target.files().is_some()) { OF_FILES } else { OF_DATABASE };
        common.iter().chain(details.beyond).chain(more).filter(move |probe| probe.layer <= until)
    }

    /// Whether a layer is checked if nothing before it fails.
    pub fn walks(&self, layer: Layer) -> bool {
        layer <= self.until && !self.excluded.contains(&layer)
    }

    /// The maximum number of TCP connections of the check.
    pub fn connections(&self) -> u32 {
        u32::from(self.walks(Layer::Tcp))
    }
}

/// Every layer that a check can have, in its order.
pub fn layers() -> impl Iterator<Item = Layer> {
    Layer::ALL.iter().copied().filter(|layer| *layer != Layer::ProcessModel)
}

/// Every probe that a profile may have, in the order of the check.
fn probes_of(profile: Profile, common: &'static [Probe]) -> impl Iterator<Item = &'static Probe> {
    let details = profile.details();
    common.iter().chain(details.beyond).chain(details.on_request)
}

/// The layers that must have passed before this one makes sense, in the profile that has it.
pub fn needs_of(layer: Layer) -> &'static [Layer] {
    let of = |common| Profile::ALL.iter().flat_map(move |profile| probes_of(*profile, common));
    let mut all = of(OF_DATABASE).chain(of(OF_FILES));
    all.find(|probe| probe.layer == layer).map_or(&[], |probe| probe.needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_a_profile_are_unique_and_come_after_those_they_need() {
        let both = [OF_DATABASE, OF_FILES];
        for (profile, common) in Profile::ALL.iter().flat_map(|profile| both.map(|common| (profile, common))) {
            let probes: Vec<&Probe> = probes_of(*profile, common).collect();
            assert!(probes.windows(2).all(|pair| pair[0].layer < pair[1].layer), "{profile:?}");
            for (index, probe) in probes.iter().enumerate() {
                for need in probe.needs {
                    let earlier = probes[..index].iter().any(|earlier| earlier.layer == *need);
                    assert!(earlier, "{profile:?}: {} needs {need}", probe.layer);
                }
            }
        }
    }

    #[test]
    fn a_walk_never_ends_with_a_bare_connect() {
        assert_eq!(Plan::new(Some(Layer::Tcp), vec![]), Err(PlanError::BareConnect));
        assert_eq!(Plan::new(None, vec![Layer::OuterHandshake]), Err(PlanError::BareConnect));
        assert!(Plan::new(Some(Layer::Resolve), vec![]).is_ok());
    }
}
