//! Reads the content of NSS databases from their bytes: an inventory, its oddities, and the differences between two databases.
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
