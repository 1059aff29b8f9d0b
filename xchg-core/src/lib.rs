//! xchg-core

pub mod wire;

mod error;
mod key;
mod side;

pub use error::Error;
pub use key::{Key, Realm};
pub use side::{Side, Sides};
