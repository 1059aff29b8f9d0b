//! The server, and what it is asked.

use std::io;
use std::time::{Duration, Instant};

use xchg_core::Side;
use xchg_core::wire::{Answer, Command, Greeting, Matched, Offer, StatusReport, Token};

use super::connect::{Settings, connect};
use super::connection::Connection;
use super::handshake::Handshake;
use super::tls::Credentials;
use crate::{Address, Cancel, Error, Observer};

/// A server, and how it is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) token: Option<Token>,
    /// How both show who they are, where the address wants TLS.
    pub(crate) credentials: Credentials,
    /// For looking it up, trying all its addresses, and its first answer.
    pub(crate) connect_timeout: Duration,
    /// The size of the socket's buffers; the kernel tunes them if there is none.
    pub(crate) buffer_bytes: Option<u32>,
}

impl Server {
    /// Waits for the counterpart. What comes on the connection then is the exchange.
    pub(crate) fn offer(
        &self,
        offer: Offer,
        cancel: &Cancel,
        observer: &mut dyn Observer,
    ) -> Result<(Connection, Matched), Error> {
        let met = self.offer_while(offer, cancel, observer, || true)?;
        Ok(met.expect("it stands until it is met"))
    }

    /// The same, while the offer `stands`, which is asked with every heartbeat. `None` if it does
    /// not any more, and has been withdrawn.
    pub(crate) fn offer_while(
        &self,
        mut offer: Offer,
        cancel: &Cancel,
        observer: &mut dyn Observer,
        stands: impl Fn() -> bool,
    ) -> Result<Option<(Connection, Matched)>, Error> {
        offer.buffer_bytes = self.buffer_bytes;
        let sends_payload = offer.side == Side::Upload;
        let length = offer.length;
        observer.connecting(&self.address);
        let mut handshake = self.greet(Command::Offer(offer), cancel)?;
        let mut matched = loop {
            match handshake.next_answer()? {
                Answer::Waiting(waiting) => observer.waiting(&waiting),
                Answer::Heartbeat if stands() => {}
                Answer::Heartbeat => return Ok(None),
                Answer::Matched(matched) => break matched,
                Answer::Refused { code, text } => return Err(Error::Refused { code, text }),
                Answer::Status(_) => return Err(handshake.unexpected()),
            }
        };
        let lost = |source: io::Error| {
            let address = self.address.clone();
            Error::ServerLost { address, had_place: true, source }
        };
        let mut connection = handshake.into_connection();
        connection.set_read_timeout(None).map_err(lost)?;
        connection.watch_for_death(sends_payload).map_err(lost)?;
        connection.reset_unless_finished().map_err(lost)?;
        if sends_payload {
            // Nobody knows it better than the uploader.
            matched.length = length;
        }
        observer.matched(&matched);
        Ok(Some((connection, matched)))
    }

    /// Asks for a report.
    pub(crate) fn report(&self, command: Command, cancel: &Cancel) -> Result<StatusReport, Error> {
        let mut handshake = self.greet(command, cancel)?;
        match handshake.next_answer()? {
            Answer::Status(report) => Ok(report),
            _ => Err(handshake.unexpected()),
        }
    }

    fn greet(&self, command: Command, cancel: &Cancel) -> Result<Handshake<'_>, Error> {
        let settings = Settings {
            credentials: &self.credentials,
            timeout: self.connect_timeout,
            buffer_bytes: self.buffer_bytes,
        };
        let deadline = Instant::now().checked_add(self.connect_timeout);
        let connection = connect(&self.address, settings, cancel)?;
        let mut greeting = Greeting::new(command);
        greeting.token.clone_from(&self.token);
        Handshake::greet(&self.address, connection, &greeting, (self.connect_timeout, deadline))
    }
}
