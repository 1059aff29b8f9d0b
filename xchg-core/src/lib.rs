//! xchg-core

pub mod relay;
pub mod rendezvous;
pub mod wire;

mod broker;
mod error;
mod exchange;
mod key;
mod limits;
mod quota;
mod side;

pub use broker::{Broker, Brokered, Counts, Drained, Event, Pair, Place};
pub use error::Error;
pub use exchange::{Exchange, ExchangeHandle, ExchangeId, Outcome};
pub use key::{Key, Realm};
pub use limits::Limits;
pub use quota::Source;
pub use rendezvous::{Offer, Offered, Refusal, Rendezvous, Role, Ticket};
pub use side::{Side, Sides};
