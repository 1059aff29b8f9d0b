//! Records that some peers of a world put their bytes in, as those of TLS do: whole ones alone can
//! be read, some carry nothing, both ends greet before anything else is said, and an end is said
//! within.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};

use crate::engine::net::Layer;

/// What the first record is, and so the first byte.
pub(super) const GREETING: u8 = 0x16;
const BYTES: u8 = 0x17;
const END: u8 = 0x15;
const NOTHING: u8 = 0x18;
const BROKEN: u8 = 0x19;

/// Bytes in a record at most, and records' bytes that are taken at a time.
const RECORD: usize = 900;
const PIECE: usize = 2_000;

/// One end of a connection that carries records.
#[derive(Debug, Clone)]
pub(super) struct Records {
    /// The beginning of a record.
    raw: Vec<u8>,
    plain: VecDeque<u8>,
    pub(super) is_greeted: bool,
    pub(super) has_ended: bool,
    /// The connection has ended, within or not.
    is_over: bool,
    is_broken: bool,
    unsent: VecDeque<u8>,
    is_ending: bool,
    written: usize,
    /// How many records go out before one that is none.
    breaks: Option<usize>,
}

impl Records {
    /// With `breaks`, that record breaks the rules.
    pub(super) fn new(breaks: Option<usize>) -> Self {
        let mut records = Self {
            raw: Vec::new(),
            plain: VecDeque::new(),
            is_greeted: false,
            has_ended: false,
            is_over: false,
            is_broken: false,
            unsent: VecDeque::new(),
            is_ending: false,
            written: 0,
            breaks,
        };
        records.put(GREETING, &[0; 30]);
        records
    }

    fn put(&mut self, kind: u8, bytes: &[u8]) {
        let len = u16::try_from(bytes.len()).expect("a record is short");
        let is_broken = self.breaks == Some(0);
        self.breaks = self.breaks.and_then(|records| records.checked_sub(1));
        self.unsent.push_back(if is_broken { BROKEN } else { kind });
        self.unsent.extend(len.to_be_bytes());
        self.unsent.extend(bytes.iter().map(|byte| byte ^ 0x5a));
    }

    /// Takes in what has come of the other end's records.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        while !self.is_broken
            && let Some((head, rest)) = self.raw.split_first_chunk::<3>()
            && let Some(bytes) = rest.get(..usize::from(u16::from_be_bytes([head[1], head[2]])))
        {
            match head[0] {
                GREETING if !self.is_greeted => self.is_greeted = true,
                BYTES if self.is_greeted && !self.has_ended => {
                    self.plain.extend(bytes.iter().map(|byte| byte ^ 0x5a));
                }
                END => self.has_ended = true,
                NOTHING => {}
                _ => self.is_broken = true,
            }
            self.raw.drain(..3 + bytes.len());
        }
    }

    /// Has `send` send some of what is to be sent; gives how much went.
    pub(super) fn send(&mut self, send: impl FnOnce(&[u8]) -> usize) -> usize {
        let n = send(self.unsent.make_contiguous());
        self.unsent.drain(..n);
        n
    }

    /// Takes out all that can be read.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u8> {
        self.plain.drain(..)
    }
}

impl Layer for Records {
    fn take_in(&mut self, socket: &mut dyn io::Read, buf: &mut [u8]) -> io::Result<usize> {
        assert!(!self.is_readable(), "what is there is read first");
        let mut piece = [0; 700];
        let n = socket.read(&mut piece)?;
        self.is_over |= n == 0;
        self.take(&piece[..n]);
        match self.plain.len().min(buf.len()) {
            0 if self.is_broken => Err(ErrorKind::InvalidData.into()),
            0 => Ok(0),
            _ => self.read(buf),
        }
    }

    fn is_settled(&self) -> bool {
        self.is_greeted
    }

    fn peer_name(&self) -> Option<String> {
        None
    }

    fn is_readable(&self) -> bool {
        !self.plain.is_empty() || self.has_ended || self.is_over || self.is_broken
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.plain.len());
        self.plain.drain(..n).zip(buf).for_each(|(byte, place)| *place = byte);
        match n {
            0 if self.is_broken => Err(ErrorKind::InvalidData.into()),
            0 if self.has_ended => Ok(0),
            0 if self.is_over => Err(ErrorKind::UnexpectedEof.into()),
            0 => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        assert!(!self.has_unsent(), "what was taken before is sent first");
        if self.is_ending {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let taken = &buf[..buf.len().min(PIECE)];
        for record in taken.chunks(RECORD) {
            self.put(BYTES, record);
            self.written += 1;
            if self.written.is_multiple_of(3) {
                self.put(NOTHING, &[0; 5]);
            }
        }
        Ok(taken.len())
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_ending, true) {
            self.put(END, &[]);
        }
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    fn give_out(&mut self, socket: &mut dyn io::Write) -> io::Result<usize> {
        let n = socket.write(self.unsent.make_contiguous())?;
        self.unsent.drain(..n);
        Ok(n)
    }
}
