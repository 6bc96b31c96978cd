//! What lies in NSS databases, read from their bytes: an inventory of one, what is odd about it, and how two differ.

pub mod compare;
pub mod difference;
pub mod facts;
pub mod inspect;
pub mod load;
pub mod moved;
pub mod pem;
mod remarks;
mod succession;
mod trust;
pub mod views;
