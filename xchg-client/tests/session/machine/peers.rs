//! Two sessions in memory, and the line between them. This is all that a driver has to do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use xchg_client::files::{Entry, Kind, Manifest};
use xchg_client::session::download::{self, Download, Refusal};
use xchg_client::session::upload::{self, Upload};
use xchg_client::session::{ContentHash, Error, Point, Secret, Session, Start, Step};

/// A session, and what it works with.
pub(super) struct Peer<R, F> {
    pub(super) session: Session<R>,
    pub(super) files: F,
    /// How the transfer ended.
    pub(super) ended: Option<Result<(), Error>>,
}

/// What an uploader has: contents, of which those without a size are streams.
pub(super) struct Source {
    pub(super) contents: Vec<(Kind, Vec<u8>)>,
    /// How much of the one that was opened is read.
    read: usize,
    /// At most so many bytes are read at once.
    pub(super) piece: usize,
}

/// What a downloader has, by the number of the entry; and how it answers.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) contents: Vec<Vec<u8>>,
    pub(super) refusal: Option<Refusal>,
    /// How long its person takes over the decision.
    pub(super) thinks: Duration,
    /// Since when it does.
    pub(super) asked: Option<Duration>,
    pub(super) is_placed: bool,
}

pub(super) type Uploader = Peer<Upload, Source>;
pub(super) type Downloader = Peer<Download, Disk>;

/// A peer, as the line between two sees it.
pub(super) trait End {
    /// Does what there is to do. Whether there was something.
    fn work(&mut self, now: Duration) -> bool;
    fn on_bytes(&mut self, bytes: &[u8]) -> usize;
    fn on_end(&mut self);
    fn transmit(&self) -> &[u8];
    fn transmitted(&mut self, bytes: usize);
    /// When there is something to do, though nothing arrives.
    fn timeout(&self) -> Duration;
    fn is_over(&self) -> bool;
}

pub(super) fn file(size: usize) -> Kind {
    Kind::File { size: size as u64 }
}

pub(super) fn uploader(contents: Vec<(Kind, Vec<u8>)>, secret: &str) -> Uploader {
    let session = Session::new(Upload::new(), b"key", &Secret::new(secret), Duration::ZERO);
    Peer { session, files: Source { contents, read: 0, piece: usize::MAX }, ended: None }
}

pub(super) fn downloader(files: Disk, secret: &str) -> Downloader {
    let session = Session::new(Download::new(), b"key", &Secret::new(secret), Duration::ZERO);
    Peer { session, files, ended: None }
}

impl Source {
    fn manifest(&self) -> Manifest {
        let mut manifest = Manifest::new();
        for (number, (kind, _)) in self.contents.iter().enumerate() {
            manifest.push(Entry::new(kind.clone(), 0, format!("file {number}"))).unwrap();
        }
        manifest
    }

    fn act(&mut self, role: &mut Upload, effect: upload::Effect) -> Result<(), Error> {
        match effect {
            upload::Effect::Collect => role.offer(Arc::new(self.manifest())),
            upload::Effect::Hash(Point { entry, bytes }) => {
                role.hashed(hash(&self.contents[entry].1[..to_usize(bytes)]))?;
            }
            upload::Effect::Open(Point { bytes, .. }) => {
                self.read = to_usize(bytes);
                role.opened();
            }
            upload::Effect::Read { entry } => {
                let room = role.room();
                let rest = &self.contents[entry].1[self.read..];
                let piece = &rest[..rest.len().min(room.len()).min(self.piece)];
                room[..piece.len()].copy_from_slice(piece);
                self.read += piece.len();
                role.read(piece.len())?;
            }
            upload::Effect::Close { .. } => role.closed(),
            upload::Effect::Tell(_) => {}
        }
        Ok(())
    }
}

impl Disk {
    /// Whether it is done with what it was asked for.
    fn act(
        &mut self,
        role: &mut Download,
        effect: download::Effect,
        now: Duration,
    ) -> Result<bool, Error> {
        match effect {
            download::Effect::Consider => {
                if now < *self.asked.get_or_insert(now) + self.thinks {
                    return Ok(false);
                }
                if let Some(refusal) = self.refusal.take() {
                    role.refuse(refusal);
                    return Err(Error::DeclinedHere);
                }
                let offer = role.take_offer();
                self.contents.resize(offer.entries().len(), Vec::new());
                let is_file =
                    |entry: usize| matches!(offer.entries()[entry].kind, Kind::File { .. });
                let here = self.contents.iter().map(Vec::len).enumerate();
                let points = here
                    .filter(|&(entry, bytes)| bytes > 0 && is_file(entry))
                    .map(|(entry, bytes)| Point { entry, bytes: bytes as u64 });
                role.accept(Arc::new(offer.clone()), points.collect());
            }
            download::Effect::Hash(Point { entry, bytes }) => {
                role.hashed(Some(hash(&self.contents[entry][..to_usize(bytes)]).hash()));
            }
            download::Effect::Prepare { .. } => role.prepared(),
            download::Effect::Begin { point: Point { entry, bytes }, resumes } => {
                let content = &mut self.contents[entry];
                content.truncate(if resumes { to_usize(bytes) } else { 0 });
                role.begun(Start::At(hash(content)));
            }
            download::Effect::Write { entry } => {
                self.contents[entry].extend_from_slice(role.data());
            }
            download::Effect::Finish => {
                self.is_placed = true;
                role.finished();
            }
            download::Effect::Differs(_) | download::Effect::End { .. } => {}
        }
        Ok(true)
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap()
}

fn hash(content: &[u8]) -> ContentHash {
    let mut hash = ContentHash::new();
    hash.update(content);
    hash
}

/// The same for both, but for what they are asked to do.
macro_rules! end {
    ($peer:ty, |$files:ident, $role:ident, $effect:ident, $now:ident| $act:expr) => {
        impl End for $peer {
            fn work(&mut self, $now: Duration) -> bool {
                if let Err(error) = self.session.on_time($now) {
                    self.ended.get_or_insert(Err(error));
                }
                let mut is_busy = false;
                while self.ended.is_none() {
                    let $files = &mut self.files;
                    let done = match self.session.poll() {
                        Ok(Step::Do($effect)) => {
                            let $role = self.session.role();
                            $act
                        }
                        Ok(Step::Wait) => return is_busy,
                        Ok(Step::Done) => {
                            self.ended = Some(Ok(()));
                            return true;
                        }
                        // It has taken leave of itself.
                        Err(error) => {
                            self.ended = Some(Err(error));
                            return true;
                        }
                    };
                    match done {
                        Ok(true) => is_busy = true,
                        Ok(false) => return is_busy,
                        Err(error) => self.ended = Some(Err(self.session.fail(error))),
                    }
                }
                is_busy
            }

            fn on_bytes(&mut self, bytes: &[u8]) -> usize {
                self.session.on_bytes(bytes).unwrap_or_else(|error| {
                    self.ended.get_or_insert(Err(error));
                    bytes.len()
                })
            }

            fn on_end(&mut self) {
                if let Err(error) = self.session.on_end() {
                    self.ended.get_or_insert(Err(error));
                }
            }

            fn transmit(&self) -> &[u8] {
                self.session.transmit()
            }

            fn transmitted(&mut self, bytes: usize) {
                self.session.transmitted(bytes);
            }

            fn timeout(&self) -> Duration {
                self.session.timeout()
            }

            fn is_over(&self) -> bool {
                self.session.is_over()
            }
        }
    };
}

end!(Uploader, |files, role, effect, _now| files.act(role, effect).map(|()| true));
end!(Downloader, |files, role, effect, now| files.act(role, effect, now));

/// The line between two peers: the first direction is the uploader's.
#[derive(Default)]
pub(super) struct Line {
    pub(super) under_way: [VecDeque<u8>; 2],
    /// All that was sent.
    pub(super) log: [Vec<u8>; 2],
    /// The line is lost when so many bytes of one direction were sent.
    pub(super) cut: Option<(usize, usize)>,
    /// This byte of one direction is altered.
    pub(super) flip: Option<(usize, usize)>,
    /// Nothing passes any more, and nobody notices.
    pub(super) is_silent: bool,
    pub(super) now: Duration,
}

impl Line {
    /// Runs both until both are over or the line is cut; `chop` says how many bytes move at once.
    pub(super) fn run(
        &mut self,
        uploader: &mut dyn End,
        downloader: &mut dyn End,
        chop: &mut dyn FnMut() -> usize,
    ) {
        self.run_while(uploader, downloader, chop, &|_| true);
    }

    /// The same, until `goes_on` says no.
    pub(super) fn run_while(
        &mut self,
        uploader: &mut dyn End,
        downloader: &mut dyn End,
        chop: &mut dyn FnMut() -> usize,
        goes_on: &dyn Fn(&Self) -> bool,
    ) {
        let mut ends: [&mut dyn End; 2] = [uploader, downloader];
        while !ends.iter().all(|end| end.is_over()) && goes_on(self) {
            let mut is_busy = false;
            for side in 0..2 {
                is_busy |= ends[side].work(self.now);
                is_busy |= self.take(side, ends[side], chop());
                if self.is_cut() {
                    // What was under way in this direction arrives, in the other it does not.
                    while self.bring(side, ends[1 - side], usize::MAX) {
                        ends[1 - side].work(self.now);
                    }
                    ends.iter_mut().for_each(|end| end.on_end());
                    return;
                }
                is_busy |= self.bring(side, ends[1 - side], chop());
            }
            // Who is over closes the stream; who waits for it hears of that.
            for side in 0..2 {
                if ends[side].is_over() && self.under_way[side].is_empty() && !is_busy {
                    ends[1 - side].on_end();
                }
            }
            if !is_busy {
                let due = ends.iter().filter(|end| !end.is_over()).map(|end| end.timeout());
                // There is always something due: a sign of life, or the end of a leave.
                let due = due.min().unwrap_or(self.now);
                self.now = due.max(self.now + Duration::from_secs(1));
            }
        }
    }

    fn is_cut(&self) -> bool {
        self.cut.is_some_and(|(side, at)| self.log[side].len() == at)
    }

    /// Takes of what one end has to transmit.
    fn take(&mut self, side: usize, end: &mut dyn End, most: usize) -> bool {
        let left = match self.cut {
            Some((cut, at)) if cut == side => at - self.log[side].len(),
            _ => usize::MAX,
        };
        let bytes = end.transmit().len().min(most).min(left);
        for &byte in &end.transmit()[..bytes] {
            let is_altered = self.flip == Some((side, self.log[side].len()));
            self.log[side].push(byte);
            if !self.is_silent {
                self.under_way[side].push_back(if is_altered { byte ^ 0x40 } else { byte });
            }
        }
        end.transmitted(bytes);
        bytes > 0
    }

    /// Gives the other end of what is under way to it.
    fn bring(&mut self, side: usize, end: &mut dyn End, most: usize) -> bool {
        let bytes: Vec<u8> = self.under_way[side].iter().take(most).copied().collect();
        let taken = if bytes.is_empty() { 0 } else { end.on_bytes(&bytes) };
        self.under_way[side].drain(..taken);
        taken > 0
    }
}
