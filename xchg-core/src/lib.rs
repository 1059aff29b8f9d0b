//! Pairs peers that name the same key, and moves the bytes between them. It stores nothing.
//!
//! ```text
//!   a peer's arrival:                          both are here:
//!   realm, key, side,     ┌──────────────┐     exchange,               ┌────────────┐
//!   connection            │    Broker    │     two connections         │   relay    │
//!  ───────── Offer ─────► │              │ ────────── Pair ──────────► │            │ ───► Ended
//!                         │  Rendezvous  │                             │ Flow  ───► │
//!  ◄─ Place, or refused ─ │  per shard   │ ◄── told of its end ─────── │ ◄───  Flow │
//!                         └──────────────┘                             └────────────┘
//!                          ▲     │     └─ Drained, Event, Counts        ▲
//!            withdraw, expire,   └─ ExchangeHandle: progress, cancel ───┘
//!                      drain
//! ```
//!
//! - [`Broker`] matches offers from any number of threads. What it matches, a `Conn`, can be of any
//!   type: a socket, an end in memory, a player who looks for an opponent. [`Rendezvous`] is the
//!   matcher alone, a pure state machine.
//! - A [`Pair`] holds an [`Exchange`], which whoever moves the bytes [finishes](Exchange::finish)
//!   with an [`Outcome`]; anybody may follow it by its [`ExchangeHandle`].
//! - [`relay`] moves the bytes: [`relay::run`] between any two [`Duplex`](relay::Duplex)
//!   connections, with a thread for each flow, [`relay::Pump`] from any [`Source`](relay::Source)
//!   to any [`Sink`](relay::Sink) under an event loop.
//! - [`wire`] is the native dialect's handshake as PROTOCOL.md specifies it, from bytes to values
//!   and back.
//!
//! Two peers of one process, first one, then the other:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::thread;
//! use std::time::Instant;
//!
//! use xchg_core::{Broker, Brokered, Key, Limits, Offer, Outcome, Realm, Side, relay};
//!
//! let broker = Broker::new(Limits::default());
//! let key = Key::parse(b"holiday")?;
//! let (downloader, download) = relay::memory(4096);
//! let (uploader, upload) = relay::memory(4096);
//!
//! let offer = Offer::new(Realm::Plain, key.clone(), Side::Download, download);
//! let Brokered::Waiting { .. } = broker.offer(offer, Instant::now()) else {
//!     panic!("nobody else is here yet")
//! };
//! let offer = Offer::new(Realm::Plain, key, Side::Upload, upload);
//! let Brokered::Paired(pair) = broker.offer(offer, Instant::now()) else {
//!     panic!("its counterpart waits")
//! };
//! let relay = thread::spawn(|| relay::run(pair.exchange, pair.upload, pair.download));
//!
//! (&uploader).write_all(b"a picture")?;
//! drop(uploader);
//! let mut picture = Vec::new();
//! (&downloader).read_to_end(&mut picture)?;
//! drop(downloader);
//! assert_eq!(picture, b"a picture");
//! let ended = relay.join().unwrap();
//! assert_eq!((ended.outcome, ended.bytes), (Outcome::Completed, 9));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does not do
//!
//! - It opens no socket and knows no address. Connections come in as values; an [`Origin`] is a
//!   number.
//! - It reads no clock. Time comes in as an argument, and [`Broker::next_deadline`] says when to
//!   call again; so that any schedule can be replayed in a test.
//! - It prints and logs nothing. It returns what happened, or [tells](Broker::subscribe) whoever
//!   asked.
//! - It starts no thread, save the one of [`relay::run`].
//! - It knows no TLS, no HTTP and no files, and does not look into what it moves.
//! - It keeps nothing of a peer that has left, and no key once nobody waits or exchanges under it,
//!   or holds a handle.

pub mod relay;
pub mod wire;

mod broker;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hasher;
mod key;
mod limits;
mod quota;
mod rendezvous;
mod shard;
mod side;
mod sync;

pub use broker::{Broker, Brokered, Pair, Place};
pub use error::Error;
pub use exchange::{
    Counts, Drained, Ended, Event, Events, Exchange, ExchangeHandle, ExchangeId, NoEvent, Outcome,
};
pub use key::{Key, Realm};
pub use limits::Limits;
pub use quota::Origin;
pub use rendezvous::{Offer, Offered, Refusal, Rendezvous, Role, Ticket};
pub use side::{Side, Sides};
