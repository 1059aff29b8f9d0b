//! The client's end of TLS, which one thread reads from while another writes to it.
//!
//! No lock is held by a reader that waits for the network and needed by a writer, nor the other way
//! round: the library is locked only while records are opened or sealed. What the library wants to
//! answer to what was read leaves with what is written next.

use std::io::{self, Read, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

/// Read from the network at a time, and sealed at a time: four records.
const PIECE_BYTES: usize = 64 << 10;

pub(crate) struct Records {
    library: Mutex<ClientConnection>,
    reading: Mutex<Reading>,
    writing: Mutex<Writing>,
}

/// What was opened and not yet read.
#[derive(Default)]
struct Reading {
    /// What comes from the network.
    sealed: Vec<u8>,
    plain: Vec<u8>,
    from: usize,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server has said that no more comes.
    Told,
    /// The network has ended without that: something may be missing.
    Cut,
}

/// What was sealed and not yet sent.
#[derive(Default)]
struct Writing {
    sealed: Vec<u8>,
    sent: usize,
    has_ended: bool,
}

impl Records {
    /// # Errors
    /// If the library has no randomness for it.
    pub(crate) fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let library = ClientConnection::new(config, name).map_err(broken)?;
        Ok(Self {
            library: Mutex::new(library),
            reading: Mutex::default(),
            writing: Mutex::default(),
        })
    }

    /// Shakes hands with the server at the other end of `network`, which blocks.
    ///
    /// # Errors
    /// Errors of `network`, and what the library says, as the error within.
    pub(crate) fn shake_hands(&self, mut network: impl Read + Write) -> io::Result<()> {
        let mut library = self.library.lock();
        while library.is_handshaking() {
            while library.wants_write() {
                library.write_tls(&mut network)?;
            }
            if library.is_handshaking() {
                if library.read_tls(&mut network)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if let Err(error) = library.process_new_packets() {
                    // The alert, for a server that still listens.
                    library.write_tls(&mut network).ok();
                    return Err(broken(error));
                }
            }
        }
        while library.wants_write() {
            library.write_tls(&mut network)?;
        }
        Ok(())
    }

    /// Reads what the server says, with `receive` bringing bytes from the network.
    pub(crate) fn read(
        &self,
        buffer: &mut [u8],
        mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut reading = self.reading.lock();
        while reading.from == reading.plain.len() {
            match reading.end {
                Some(End::Told) => return Ok(0),
                Some(End::Cut) => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => reading.more(&self.library, &mut receive)?,
            }
        }
        let there = &reading.plain[reading.from..];
        let n = there.len().min(buffer.len());
        buffer[..n].copy_from_slice(&there[..n]);
        reading.from += n;
        Ok(n)
    }

    /// Whether a read gives something at once, with `receive` bringing what is there, or failing
    /// with [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub(crate) fn has_news(
        &self,
        mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        let mut reading = self.reading.lock();
        while reading.from == reading.plain.len() && reading.end.is_none() {
            match reading.more(&self.library, &mut receive) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                done => done?,
            }
        }
        Ok(true)
    }

    /// Seals some of `bytes`, says how many, and has `send` bring all that is sealed to the
    /// network.
    pub(crate) fn write(
        &self,
        bytes: &[u8],
        send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut writing = self.writing.lock();
        if writing.has_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let most = bytes.len().min(PIECE_BYTES);
        let taken =
            writing.seal(&self.library, |library| library.writer().write(&bytes[..most]))?;
        writing.send(send)?;
        Ok(taken)
    }

    /// Says that no more comes.
    pub(crate) fn end(&self, send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        let mut writing = self.writing.lock();
        if !std::mem::replace(&mut writing.has_ended, true) {
            writing.seal(&self.library, |library| {
                library.send_close_notify();
                Ok(0)
            })?;
        }
        writing.send(send)
    }
}

impl Reading {
    /// Takes in a piece of what the network has, and opens it.
    fn more(
        &mut self,
        library: &Mutex<ClientConnection>,
        receive: &mut impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.plain.clear();
        self.from = 0;
        // What came with the handshake's last bytes is in the library already.
        self.open(&mut library.lock(), 0)?;
        if !self.plain.is_empty() || self.end.is_some() {
            return Ok(());
        }
        self.sealed.resize(PIECE_BYTES, 0);
        let received = receive(&mut self.sealed)?;
        if received == 0 {
            self.end = Some(End::Cut);
            return Ok(());
        }
        self.open(&mut library.lock(), received)
    }

    /// Opens the first `received` bytes of what came from the network.
    fn open(&mut self, library: &mut ClientConnection, received: usize) -> io::Result<()> {
        let mut sealed = &self.sealed[..received];
        loop {
            let state = library.process_new_packets().map_err(broken)?;
            let (at, count) = (self.plain.len(), state.plaintext_bytes_to_read());
            self.plain.resize(at + count, 0);
            library.reader().read_exact(&mut self.plain[at..])?;
            if state.peer_has_closed() {
                self.end = Some(End::Told);
                return Ok(());
            }
            if sealed.is_empty() {
                return Ok(());
            }
            library.read_tls(&mut sealed)?;
        }
    }
}

impl Writing {
    fn seal(
        &mut self,
        library: &Mutex<ClientConnection>,
        say: impl FnOnce(&mut ClientConnection) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut library = library.lock();
        let taken = say(&mut library)?;
        while library.wants_write() {
            library.write_tls(&mut self.sealed)?;
        }
        Ok(taken)
    }

    fn send(&mut self, mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        while self.sent < self.sealed.len() {
            match send(&self.sealed[self.sent..])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => self.sent += n,
            }
        }
        self.sealed.clear();
        self.sent = 0;
        Ok(())
    }
}

/// The error of a stream that breaks the rules.
fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}
