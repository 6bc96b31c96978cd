//! Pure functions from what was seen to facts that rules may rest on: order, arithmetic, joins and distances. Every rule
//! that is no plain comparison is here, and none of these names a cause.

pub mod close;
pub mod connect;
pub mod dates;
pub mod flow;
pub mod key_share;
pub mod name;
pub mod nickname;
pub mod offer;
pub mod signatures;
pub mod silence;
pub mod source;
pub mod trust;
