//! Several sinks that are one: each gets every byte, at the pace of the slowest.
//!
//! **A group has no buffer.** Whoever writes to it holds the bytes until all members have taken
//! them, and presents them again until then: a group only knows how far each member is ahead of the
//! slowest. What comes in a pipe is not copied: `tee(2)` puts it into a pipe of each member.

use std::io;

#[cfg(target_os = "linux")]
use super::Pipe;
use super::{Sink, Source};

/// What is in all members' pipes together: those of a user may have 64 MiB (pipe(7)).
#[cfg(target_os = "linux")]
const PIPES_BYTES: usize = 4 << 20;

/// The capacity of a member's pipe at least, however many there are: less is better copied.
#[cfg(target_os = "linux")]
const MIN_PIPE_BYTES: usize = 64 << 10;

/// How far each member of a group of sinks has come.
///
/// The sinks themselves are lent for the length of a turn, [of](Self::of) which comes one sink for
/// a [`Pump`](super::Pump) to write to, and one source that is only read to be dropped.
///
/// A member that fails is left out, and the others go on; [`take_lost`](Self::take_lost) tells who
/// it was. A group fails when nobody is left.
///
/// ```
/// use xchg_core::relay::{Group, Sink};
/// # struct Line(Vec<u8>);
/// # impl Sink for Line {
/// #     fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
/// #         self.0.extend(buf);
/// #         Ok(buf.len())
/// #     }
/// #     fn half_close(&mut self) -> std::io::Result<()> {
/// #         Ok(())
/// #     }
/// # }
///
/// let mut lines = [Line(Vec::new()), Line(Vec::new())];
/// let mut group = Group::new(lines.len());
/// assert_eq!(group.of(&mut lines).write(b"to everybody")?, 12);
/// assert!(lines.iter().all(|line| line.0 == b"to everybody"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Group {
    members: Vec<Member>,
    /// Bytes of a block in pipes that not all have taken.
    #[cfg(target_os = "linux")]
    piped: usize,
    /// Whether pipes are given up for good.
    #[cfg(target_os = "linux")]
    copies: bool,
}

#[derive(Debug, Default)]
struct Member {
    /// Bytes that it has taken of those that not all have taken.
    ahead: usize,
    /// Whether it takes nothing now.
    is_blocked: bool,
    /// Whether it has been told the end.
    is_told: bool,
    /// Whether its own stream has ended.
    has_left: bool,
    failure: Option<io::Error>,
    /// Whether it takes a block out of the pipe in which that came.
    #[cfg(target_os = "linux")]
    drains: bool,
    /// Where the others have theirs.
    #[cfg(target_os = "linux")]
    pipe: Option<Pipe>,
    /// What it is still to take of a block, once the kernel has refused to splice it.
    #[cfg(target_os = "linux")]
    copied: Vec<u8>,
}

/// A [`Group`] with its members' sinks: a sink, and a source of what members say, which ends with
/// none of them.
#[derive(Debug)]
pub struct Grouped<'a, S> {
    group: &'a mut Group,
    sinks: &'a mut [S],
}

impl Group {
    /// So many members, that have taken nothing.
    pub fn new(members: usize) -> Self {
        Self {
            members: (0..members).map(|_| Member::default()).collect(),
            #[cfg(target_os = "linux")]
            piped: 0,
            #[cfg(target_os = "linux")]
            copies: false,
        }
    }

    /// The group over its members' sinks.
    ///
    /// # Panics
    /// If there are not as many as members.
    pub fn of<'a, S>(&'a mut self, sinks: &'a mut [S]) -> Grouped<'a, S> {
        assert_eq!(self.members.len(), sinks.len(), "each member has a sink");
        Grouped { group: self, sinks }
    }

    /// Whether that member is behind because it takes nothing.
    ///
    /// # Panics
    /// If there are fewer members; so do the others.
    pub fn is_blocked(&self, member: usize) -> bool {
        self.members[member].is_blocked
    }

    /// Whether that member's own stream has ended.
    pub fn has_left(&self, member: usize) -> bool {
        self.members[member].has_left
    }

    /// Notes that a member is lost.
    pub fn fail(&mut self, member: usize, error: io::Error) {
        self.members[member].failure = Some(error);
    }

    /// Takes a member out of the group, by which the numbers of those behind it become one less.
    pub fn part(&mut self, member: usize) {
        self.members.remove(member);
    }

    /// As [`part`](Self::part), with one that has failed; tells its number, and why.
    pub fn take_lost(&mut self) -> Option<(usize, io::Error)> {
        let at = self.members.iter().position(|member| member.failure.is_some())?;
        self.members.remove(at).failure.map(|error| (at, error))
    }

    /// Those who have not failed.
    fn here(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut().filter(|member| member.failure.is_none())
    }

    /// Takes note of what all have taken by now, and says how much that is.
    fn taken(&mut self) -> io::Result<usize> {
        let least = self.here().map(|member| member.ahead).min().ok_or_else(nobody)?;
        if least == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.here().for_each(|member| member.ahead -= least);
        Ok(least)
    }
}

impl<S> Grouped<'_, S> {
    /// Has each that is still there go on; notes who takes nothing, and who fails.
    fn each(&mut self, mut go_on: impl FnMut(&mut Member, &mut S) -> io::Result<()>) {
        for (member, sink) in self.group.members.iter_mut().zip(&mut *self.sinks) {
            if member.failure.is_some() {
                continue;
            }
            let gone_on = go_on(member, sink);
            member.is_blocked = false;
            match gone_on {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => member.is_blocked = true,
                Err(error) => member.failure = Some(error),
            }
        }
    }
}

impl<S: Sink> Sink for Grouped<'_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.each(|member, sink| {
            while member.ahead < buf.len() {
                member.ahead += some(sink.write(&buf[member.ahead..])?)?;
            }
            Ok(())
        });
        self.group.taken()
    }

    fn half_close(&mut self) -> io::Result<()> {
        self.each(|member, sink| {
            if !member.is_told {
                sink.half_close()?;
                member.is_told = true;
            }
            Ok(())
        });
        match self.group.here().map(|member| member.is_told).min() {
            None => Err(nobody()),
            Some(true) => Ok(()),
            Some(false) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn splices(&self) -> bool {
        !self.group.copies && self.sinks.iter().all(Sink::splices)
    }

    #[cfg(target_os = "linux")]
    fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        if self.group.piped == 0 {
            self.group.piped = self.group.share_out(pipe, len)?;
        }
        let (piped, mut copies) = (self.group.piped, self.group.copies);
        self.each(|member, sink| member.take_piped(sink, (pipe, piped), &mut copies));
        self.group.copies = copies;
        if !self.group.here().any(|member| member.drains) {
            // It has left in the middle of the block.
            pipe.shorten_to(len - piped)?;
        }
        let taken = self.group.taken()?;
        self.group.piped -= taken;
        Ok(taken)
    }
}

impl<S: Source> Source for Grouped<'_, S> {
    /// Reads from each member into the same place: what they say is only dropped.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (mut most, mut has_more) = (0, false);
        for (member, source) in self.group.members.iter_mut().zip(&mut *self.sinks) {
            if member.has_left || member.failure.is_some() {
                continue;
            }
            match source.read(buf) {
                Ok(n) => {
                    member.has_left = n == 0;
                    most = most.max(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => has_more = true,
                Err(error) => member.failure = Some(error),
            }
        }
        match (most, has_more) {
            (0, false) => Err(io::ErrorKind::WouldBlock.into()),
            (0, true) => Err(io::ErrorKind::Interrupted.into()),
            (n, _) => Ok(n),
        }
    }
}

#[cfg(target_os = "linux")]
impl Group {
    /// Makes a block of what is in `pipe`, at most `len` bytes, and says how long it is: one member
    /// takes it out of there, and the others out of their own pipes, which are empty by now.
    ///
    /// # Errors
    /// `Unsupported` if that cannot be done, now or later.
    fn share_out(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        let shared = if self.copies { None } else { self.tee(pipe, len) };
        if shared.is_none() {
            self.copies = true;
            self.members.iter_mut().for_each(|member| member.pipe = None);
        }
        shared.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn tee(&mut self, pipe: &Pipe, len: usize) -> Option<usize> {
        let count = self.here().count();
        let capacity = (PIPES_BYTES / count.max(1)).max(MIN_PIPE_BYTES);
        let mut shared = len;
        for (at, member) in self.here().enumerate() {
            member.drains = at + 1 == count;
            if member.drains {
                break;
            }
            let own = match member.pipe.take() {
                Some(own) => own,
                None => pipe.another(capacity).ok()?,
            };
            // A pipe counts pages, not bytes: a smaller one may have no room for what is here.
            match pipe.copy_to(member.pipe.insert(own), shared) {
                Ok(n) if n == shared || (at == 0 && n > 0) => shared = n,
                _ => return None,
            }
        }
        Some(shared)
    }
}

#[cfg(target_os = "linux")]
impl Member {
    /// Has `sink` take what it can of a block of `piped` bytes, which came in `pipe`. If it takes
    /// nothing out of a pipe, the group `copies` from then on.
    fn take_piped(
        &mut self,
        sink: &mut impl Sink,
        (pipe, piped): (&Pipe, usize),
        copies: &mut bool,
    ) -> io::Result<()> {
        let own = self.pipe.as_ref().filter(|_| !self.drains).unwrap_or(pipe);
        while self.ahead < piped {
            let left = piped - self.ahead;
            let taken = match self.copied.len().checked_sub(left) {
                Some(from) => sink.write(&self.copied[from..]),
                None => sink.splice_from(own, left),
            };
            match taken {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.copied = own.take(left)?;
                    *copies = true;
                }
                taken => self.ahead += some(taken?)?,
            }
        }
        self.copied = Vec::new();
        Ok(())
    }
}

/// A sink that takes nothing and does not say so would be asked for ever.
fn some(taken: usize) -> io::Result<usize> {
    if taken == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(taken) }
}

/// Why a group fails that has no members left.
fn nobody() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
