//! The client's part of the native handshake: a greeting, and the answers to it.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use xchg_core::wire::{Answer, Decoded, Greeting};

use super::connection::Connection;
use super::tls;
use crate::blocking::error::in_plain_words;
use crate::{Address, Error};

/// How long the server may be silent before it counts as lost. A heartbeat comes every 25 s: two
/// may be lost (50 s), and 10 s are for a slow network.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The length of an answer's type and length in bytes (PROTOCOL.md section 1.2).
const ANSWER_HEAD_LEN: usize = 3;

/// A connection on which the server answers.
#[derive(Debug)]
pub(crate) struct Handshake<'a> {
    address: &'a Address,
    connection: Connection,
    /// Whether the server has answered something.
    is_answered: bool,
    /// How long connecting and the first answer might take.
    timeout: Duration,
}

impl<'a> Handshake<'a> {
    /// Says what is wanted. The first answer has to come until `deadline`, which is `timeout` after
    /// the begin of it all.
    pub(crate) fn greet(
        address: &'a Address,
        mut connection: Connection,
        greeting: &Greeting,
        (timeout, deadline): (Duration, Option<Instant>),
    ) -> Result<Self, Error> {
        let had_place = false;
        let lost = |source| Error::ServerLost { address: address.clone(), had_place, source };
        connection.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(lost)?;
        connection.set_read_deadline(deadline);
        // A server that refuses at the door may close before it has read this. Its answer, or the
        // lack of one, says more than the failed write.
        drop(connection.write_all(&greeting.encode()));
        Ok(Handshake { address, connection, is_answered: false, timeout })
    }

    /// The next answer of a type that this build knows (rule 8).
    ///
    /// # Errors
    /// A refusal is one.
    pub(crate) fn next_answer(&mut self) -> Result<Answer, Error> {
        loop {
            let bytes = self.read_answer()?;
            match Answer::decode(&bytes).map_err(|error| self.malformed(error))? {
                Decoded::Whole { message: Some(Answer::Refused { code, text }), .. } => {
                    return Err(Error::Refused { code, text });
                }
                Decoded::Whole { message: Some(answer), .. } => {
                    self.is_answered = true;
                    self.connection.set_read_deadline(None);
                    return Ok(answer);
                }
                Decoded::Whole { message: None, .. } | Decoded::Partial => {}
            }
        }
    }

    /// Reads one answer and not a byte more: what follows belongs to the exchange.
    fn read_answer(&mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; ANSWER_HEAD_LEN];
        self.read_exact(&mut bytes)?;
        // The head alone tells an impossible length, before room is made for it.
        Answer::decode(&bytes).map_err(|error| self.malformed(error))?;
        let len = usize::from(u16::from_be_bytes([bytes[1], bytes[2]]));
        bytes.resize(ANSWER_HEAD_LEN + len, 0);
        self.read_exact(&mut bytes[ANSWER_HEAD_LEN..])?;
        Ok(bytes)
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.connection.read_exact(bytes).map_err(|source| self.lost(source))
    }

    /// The error of an answer that is none to the command.
    pub(crate) fn unexpected(&self) -> Error {
        self.malformed(xchg_core::Error::Malformed { what: "an answer that fits no question" })
    }

    fn malformed(&self, source: xchg_core::Error) -> Error {
        Error::NotAServer { address: self.address.clone(), source }
    }

    fn lost(&self, source: io::Error) -> Error {
        let (address, had_place) = (self.address.clone(), self.is_answered);
        if !had_place && source.kind() == io::ErrorKind::TimedOut {
            return Error::NoAnswer { address, timeout: self.timeout };
        }
        // A server judges a client's certificate when that takes the handshake to be over.
        if let (false, Some((problem, why))) = (had_place, tls::problem(&source)) {
            return Error::Tls { address, problem, why };
        }
        Error::ServerLost { address, had_place, source: in_plain_words(source) }
    }

    /// The connection: what comes next is the exchange.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }
}
