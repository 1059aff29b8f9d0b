//! A server's end of TLS as a layer of bytes within bytes.
//!
//! What is at rest holds no buffers: records are opened in one that a thread's sessions share,
//! sealed in another, and only what is not whole, not read or not sent is kept with the connection.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};
use rustls::{ProtocolVersion, ServerConfig};

use super::name::name;
use crate::engine::net::Layer;

/// What a record may have at most, with its header (RFC 5246 section 6.2.3).
const MAX_RECORD_BYTES: usize = 5 + (16 << 10) + 2048;

/// The most that is kept of what is not whole: a handshake's message may be in several records.
/// Certificates of clients have a few kilobytes.
const MAX_INCOMING_BYTES: usize = 2 * MAX_RECORD_BYTES;

/// Taken in at a time from who has said little yet: a greeting. What is taken in and not asked for
/// is in memory here instead of the kernel's.
const FIRST_PIECE_BYTES: usize = 4 << 10;

/// Taken in, or sealed, at a time at most.
const PIECE_BYTES: usize = 64 << 10;

thread_local! {
    /// What is being opened: room for what was kept, and behind it for what is taken in.
    static OPENING: RefCell<Box<[u8]>> =
        RefCell::new(vec![0; MAX_INCOMING_BYTES + PIECE_BYTES].into());
    /// Memory for what is being sealed, while no session has it.
    static SEALING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A server's end of TLS.
pub(crate) struct Session {
    tls: UnbufferedServerConnection,
    /// Received, and no whole record yet.
    incoming: Vec<u8>,
    /// Opened, and not yet read.
    plain: Kept,
    /// Sealed, and not yet sent.
    outgoing: Kept,
    /// How many of these bytes, all there are or none, leave with the next that are sealed: a
    /// ticket to resume the session, which nobody waits for. To send it by itself would cost a
    /// system call here and a wake-up there.
    unhurried: usize,
    /// How much is taken in at a time: more from who fills it.
    piece: usize,
    end: End,
    /// Whether the peer was told that no more comes.
    has_ended: bool,
}

/// How the peer's stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// It has said that no more comes.
    Told,
    /// Nothing more can be read.
    Failed(io::ErrorKind),
}

impl Session {
    /// The session of who has begun one.
    ///
    /// # Errors
    /// If there is no randomness for it.
    pub(crate) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config).map_err(io::Error::other)?,
            incoming: Vec::new(),
            plain: Kept::default(),
            outgoing: Kept::default(),
            unhurried: 0,
            piece: FIRST_PIECE_BYTES,
            end: End::Open,
            has_ended: false,
        })
    }

    /// Opens `records`, and keeps what of them is not whole, or does not fit into `buf`; gives how
    /// much is in there.
    fn open(&mut self, records: &mut [u8], buf: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        let is_handshake = self.tls.is_handshaking();
        let (used, opened) = self.process(records, None, |plain, payload| {
            let n = payload.len().min(buf.len() - read);
            copy(&mut buf[read..read + n], &payload[..n]);
            read += n;
            plain.push(&payload[n..]);
        });
        // What is empty has no memory: most sessions are at rest.
        self.incoming = records[used..].to_vec();
        if is_handshake && self.is_settled() && self.has_settled_first() {
            self.unhurried = self.outgoing.len();
        }
        match opened {
            // It waits for more of the handshake.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(read),
            // It is there to be read behind the bytes.
            Err(_) if read > 0 => Ok(read),
            opened => opened.map(|()| read),
        }
    }

    /// Seals `what`, to be sent.
    fn seal(&mut self, what: What<'_>) -> io::Result<()> {
        if self.end == End::Failed(io::ErrorKind::InvalidData) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // No whole record is there; but of a message in several records the library knows the
        // place.
        let mut incoming = mem::take(&mut self.incoming);
        let (used, sealed) = self.process(&mut incoming, Some(what), Kept::push);
        incoming.drain(..used);
        self.incoming = incoming;
        sealed
    }

    /// Opens `records`, has `take` take what is in them, and seals `what` then. Gives how many
    /// bytes of the records are done with.
    fn process(
        &mut self,
        records: &mut [u8],
        what: Option<What<'_>>,
        mut take: impl FnMut(&mut Kept, &[u8]),
    ) -> (usize, io::Result<()>) {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state } =
                self.tls.process_tls_records(&mut records[used..]);
            let mut done = None;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        take(&mut self.plain, record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => self.outgoing.encode(&mut data),
                // It is kept, and leaves before anything else.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.end = End::Told,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => match what {
                    None => done = Some(Ok(())),
                    Some(What::Bytes(bytes)) => {
                        done = self.outgoing.fill(|room| traffic.encrypt(bytes, room));
                    }
                    Some(What::End) => {
                        done = self.outgoing.fill(|room| traffic.queue_close_notify(room));
                    }
                },
                Ok(ConnectionState::BlockedHandshake) => {
                    done = Some(Err(io::ErrorKind::WouldBlock.into()));
                }
                // Both have said that no more comes.
                Ok(_) if what.is_none() => done = Some(Ok(())),
                Ok(_) => done = Some(Err(io::ErrorKind::BrokenPipe.into())),
                Err(_) => done = Some(Err(self.give_up(&mut records[used + discard..]))),
            }
            used += discard;
            if let Some(done) = done {
                return (used, done);
            }
        }
    }

    /// Whether the server has had its say before the peer ends the handshake, so that it sends
    /// nothing in answer that the peer waits for. Before TLS 1.3 its own end comes last.
    fn has_settled_first(&self) -> bool {
        self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Notes that the peer breaks the rules, and takes what tells it so. The library is asked
    /// nothing more then.
    fn give_up(&mut self, records: &mut [u8]) -> io::Error {
        let status = self.tls.process_tls_records(records);
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state {
            self.outgoing.encode(&mut data);
        }
        self.end = End::Failed(io::ErrorKind::InvalidData);
        io::ErrorKind::InvalidData.into()
    }
}

impl Layer for Session {
    fn take_in(&mut self, socket: &mut dyn io::Read, buf: &mut [u8]) -> io::Result<usize> {
        OPENING.with_borrow_mut(|opening| {
            let missing = missing(&self.incoming);
            let piece = self.piece.max(missing);
            let taken = socket.read(&mut opening[MAX_INCOMING_BYTES..][..piece])?;
            let end = MAX_INCOMING_BYTES + taken;
            let mut read = 0;
            if taken == 0 {
                self.end = End::Failed(io::ErrorKind::UnexpectedEof);
            } else if taken < missing {
                self.incoming.extend_from_slice(&opening[MAX_INCOMING_BYTES..end]);
            } else {
                let start = MAX_INCOMING_BYTES - self.incoming.len();
                opening[start..MAX_INCOMING_BYTES].copy_from_slice(&self.incoming);
                read = self.open(&mut opening[start..end], buf)?;
                if self.incoming.len() > MAX_INCOMING_BYTES {
                    self.end = End::Failed(io::ErrorKind::InvalidData);
                }
            }
            // Whoever fills a piece once it has shaken hands has more to say.
            let is_full = taken == piece && !self.tls.is_handshaking();
            self.piece = if is_full {
                (4 * self.piece).min(PIECE_BYTES)
            } else {
                FIRST_PIECE_BYTES.max(self.piece / 2)
            };
            Ok(read)
        })
    }

    fn is_settled(&self) -> bool {
        !self.tls.is_handshaking()
    }

    fn peer_name(&self) -> Option<String> {
        // Before the end of the handshake it has not proved that it has the certificate's key.
        let certificates = self.tls.peer_certificates().filter(|_| self.is_settled())?;
        certificates.first().map(name)
    }

    fn is_readable(&self) -> bool {
        !self.plain.is_empty() || self.end != End::Open
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.end {
            _ if !self.plain.is_empty() => {
                let n = self.plain.len().min(buf.len());
                buf[..n].copy_from_slice(&self.plain.as_slice()[..n]);
                self.plain.advance(n);
                Ok(n)
            }
            End::Open => Err(io::ErrorKind::WouldBlock.into()),
            End::Told => Ok(0),
            End::Failed(error) => Err(error.into()),
        }
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.has_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = buf.len().min(PIECE_BYTES);
        let unhurried = mem::replace(&mut self.outgoing, Kept::within(SEALING.take()));
        self.outgoing.push(unhurried.as_slice());
        self.seal(What::Bytes(&buf[..n]))?;
        Ok(n)
    }

    fn end(&mut self) {
        if !mem::replace(&mut self.has_ended, true) && self.is_settled() {
            // It fails only where the peer has been told of worse.
            self.seal(What::End).ok();
        }
    }

    fn has_unsent(&self) -> bool {
        self.outgoing.len() > self.unhurried
    }

    fn give_out(&mut self, socket: &mut dyn io::Write) -> io::Result<usize> {
        self.unhurried = 0;
        match socket.write(self.outgoing.as_slice()) {
            Ok(sent) => {
                self.outgoing.from += sent;
                if self.outgoing.is_empty() {
                    give_back(mem::take(&mut self.outgoing).bytes);
                }
                Ok(sent)
            }
            Err(error) => {
                // It may stay for long.
                if let Some(memory) = self.outgoing.fit() {
                    give_back(memory);
                }
                Err(error)
            }
        }
    }
}

/// Leaves `memory` to who seals next.
fn give_back(memory: Vec<u8>) {
    let other = SEALING.take();
    SEALING.set(if other.len() < memory.len() { memory } else { other });
}

/// Copies between slices of one length, in pieces that the C library moves by vector instructions:
/// what it has for more, `rep movsb`, is several times slower on AMD's processors where source and
/// target lie in their pages as records and payload do. It took a third of the time that opening
/// them took.
fn copy(to: &mut [u8], from: &[u8]) {
    const PIECE: usize = 2 << 10;
    for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(PIECE)) {
        to.copy_from_slice(from);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("end", &self.end).finish_non_exhaustive()
    }
}

/// What is sealed.
#[derive(Clone, Copy)]
enum What<'a> {
    Bytes(&'a [u8]),
    End,
}

/// Bytes that are used up from the front.
#[derive(Default)]
struct Kept {
    /// They, between others that mean nothing.
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Kept {
    /// None, with room in `memory`.
    fn within(memory: Vec<u8>) -> Self {
        Self { bytes: memory, from: 0, to: 0 }
    }

    /// Gives up its memory if that is more than twice what is kept, which is copied then: the less
    /// often, the more there is of it.
    fn fit(&mut self) -> Option<Vec<u8>> {
        if self.bytes.len() <= 2 * self.len() {
            return None;
        }
        let rest = Self { bytes: self.as_slice().to_vec(), from: 0, to: self.len() };
        Some(mem::replace(self, rest).bytes)
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    fn len(&self) -> usize {
        self.to - self.from
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for so many bytes more.
    fn reserve(&mut self, more: usize) {
        if self.bytes.len() < self.to + more {
            self.bytes.resize(self.to + more, 0);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        copy(&mut self.bytes[self.to..][..bytes.len()], bytes);
        self.to += bytes.len();
    }

    /// Gives up the first `n` bytes, and with the last the memory.
    fn advance(&mut self, n: usize) {
        self.from += n;
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Has `seal` write behind what is there. `None` if it needs more room, which it then has.
    fn fill(
        &mut self,
        seal: impl FnOnce(&mut [u8]) -> Result<usize, EncryptError>,
    ) -> Option<io::Result<()>> {
        match seal(&mut self.bytes[self.to..]) {
            Ok(n) => {
                self.to += n;
                Some(Ok(()))
            }
            Err(EncryptError::InsufficientSize(needs)) => {
                self.reserve(needs.required_size);
                None
            }
            Err(EncryptError::EncryptExhausted) => {
                Some(Err(io::ErrorKind::ConnectionAborted.into()))
            }
        }
    }

    fn encode(&mut self, data: &mut EncodeTlsData<'_, ServerConnectionData>) {
        let mut encoded = data.encode(&mut self.bytes[self.to..]);
        if let Err(EncodeError::InsufficientSize(needs)) = &encoded {
            self.reserve(needs.required_size);
            encoded = data.encode(&mut self.bytes[self.to..]);
        }
        self.to += encoded.unwrap_or(0);
    }
}

/// How many bytes `incoming` is short of a whole record; at least one. Of a record that is too long
/// nothing is waited for.
fn missing(incoming: &[u8]) -> usize {
    let mut rest = incoming;
    loop {
        let [_, _, _, high, low, ..] = rest else { return 5 - rest.len() };
        let record = 5 + usize::from(u16::from_be_bytes([*high, *low]));
        match rest.get(record..) {
            _ if record > MAX_RECORD_BYTES => return 1,
            Some(behind) => rest = behind,
            None => return record - rest.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_room_has_twice_its_memory_at_most_and_is_seldom_copied() {
        let mut kept = Kept::within(vec![0; PIECE_BYTES]);
        let bytes: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
        kept.push(&bytes);
        assert_eq!(kept.fit().map(|memory| memory.len()), Some(PIECE_BYTES));
        for (sent, is_copied) in [(0, false), (500, false), (1, true), (0, false)] {
            kept.from += sent;
            assert_eq!(kept.fit().is_some(), is_copied, "{} are left", kept.len());
            assert!(kept.bytes.len() <= 2 * kept.len());
            assert_eq!(kept.as_slice(), &bytes[1000 - kept.len()..]);
        }
    }
}
