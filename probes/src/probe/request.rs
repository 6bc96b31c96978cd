//! `request`: does the server behind the bridge answer a request? The profile defines the request.

use nssight_diagnosis::{Layer, Notes, Outcome};

use crate::walk::{Probe, Walk};

/// The session with the server must be established.
pub const PROBE: Probe =
    Probe { layer: Layer::Request, needs: &[Layer::OuterHandshake, Layer::Bridge, Layer::InnerHandshake], run };

fn run(walk: &mut Walk<'_>) -> Outcome {
    match (walk.inner.take(), walk.passage.take()) {
        (Some(inner), Some(mut passage)) => {
            let outcome = passage.ask(walk, inner);
            walk.passage = Some(passage);
            outcome
        }
        _ => Notes::default().skip("no inner session exists"),
    }
}
