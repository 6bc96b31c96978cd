//! Pure functions that derive facts from observations: order, arithmetic, joins and distances. Every rule that is not a
//! plain comparison is here, and none of these functions names a cause.

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
