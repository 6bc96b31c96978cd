//! The plan of one walk: how far it goes, and what it leaves out.

use nssight_diagnosis::Layer;

use crate::probe::PROBES;
use crate::walk::Probe;

/// What cannot be walked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A layer without a probe.
    #[error("the layer {0} is not part of this walk; the walk has {known}", known = known())]
    NoProbe(Layer),
    /// A TCP connection without the handshake that belongs to it.
    #[error(
        "tcp and outer-handshake share one connection, and a bare connect would be taken for a client by the bridge \
         and break the next one: end the walk at resolve or at outer-handshake"
    )]
    BareConnect,
}

fn known() -> String {
    PROBES.iter().map(|probe| probe.layer.as_str()).collect::<Vec<_>>().join(", ")
}

/// The layers of one walk, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The last layer.
    pub until: Layer,
    /// Layers left out on request.
    pub excluded: Vec<Layer>,
}

impl Plan {
    /// Every layer that has a probe.
    pub fn whole() -> Self {
        Self { until: PROBES[PROBES.len() - 1].layer, excluded: Vec::new() }
    }

    /// Checks that every layer named has a probe, and that no connection is opened for nothing.
    pub fn new(until: Option<Layer>, excluded: Vec<Layer>) -> Result<Self, PlanError> {
        let plan = Self { until: until.unwrap_or(Self::whole().until), excluded };
        if let Some(unknown) = plan.excluded.iter().chain([&plan.until]).find(|layer| probe_of(**layer).is_none()) {
            return Err(PlanError::NoProbe(*unknown));
        }
        match plan.walks(Layer::Tcp) && !plan.walks(Layer::OuterHandshake) {
            true => Err(PlanError::BareConnect),
            false => Ok(plan),
        }
    }

    /// The probes up to the last layer, those left out included.
    pub fn probes(&self) -> impl Iterator<Item = &'static Probe> + use<> {
        let until = self.until;
        PROBES.iter().filter(move |probe| probe.layer <= until)
    }

    /// Whether a layer is walked if nothing before it fails.
    pub fn walks(&self, layer: Layer) -> bool {
        layer <= self.until && !self.excluded.contains(&layer)
    }

    /// How many TCP connections the walk opens at most.
    pub fn connections(&self) -> u32 {
        u32::from(self.walks(Layer::Tcp))
    }
}

/// The probe of a layer.
pub fn probe_of(layer: Layer) -> Option<&'static Probe> {
    PROBES.iter().find(|probe| probe.layer == layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_unique_and_in_the_order_of_the_walk() {
        assert!(PROBES.windows(2).all(|pair| pair[0].layer < pair[1].layer));
    }

    #[test]
    fn needs_come_first() {
        for (index, probe) in PROBES.iter().enumerate() {
            for need in probe.needs {
                assert!(PROBES[..index].iter().any(|earlier| earlier.layer == *need), "{} needs {need}", probe.layer);
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
