//! Where a downloader's content goes: to the disk, to a writer, or, if it is a text, to memory.

use std::io::{self, Write};
use std::sync::Arc;

use super::fit::fit;
use super::place::{Placement, at_exact_path};
use super::{Destination, Existing, Kept, Note, PlaceOptions, Survey};
use crate::files::content::{ContentHash, Point, Start};
use crate::files::{Error, Kind, Manifest};
use crate::sys::Pipe;

/// Where the content of one offer goes.
pub(crate) struct Sink<'a> {
    manifest: Arc<Manifest>,
    /// What of it is worth a look, and what is there already.
    survey: Survey,
    target: Target<'a>,
}

enum Target<'a> {
    Disk(Box<Placement>),
    Writer(&'a mut (dyn Write + Send)),
    Memory(Vec<u8>),
}

impl<'a> Sink<'a> {
    /// Looks whether `manifest`, whose names have been checked, can go to `destination`.
    pub(crate) fn look(
        destination: Destination<'a>,
        manifest: Manifest,
        options: PlaceOptions,
    ) -> Result<Self, Error> {
        let mut manifest = Arc::new(manifest);
        let mut survey = Survey::default();
        let target = match (destination, manifest.entries()) {
            (Destination::Directory(_), [entry]) if matches!(entry.kind, Kind::Text { .. }) => {
                Target::Memory(Vec::new())
            }
            (Destination::Directory(path), _) => {
                manifest = Arc::new(fit(Arc::unwrap_or_clone(manifest), options.names, &path)?);
                let placement = Placement::survey(&path, Arc::clone(&manifest), options)?;
                survey = placement.found().clone();
                Target::Disk(Box::new(placement))
            }
            (Destination::File(path), _) => {
                let (directory, renamed) = at_exact_path(&path, &manifest)?;
                let placement = Placement::survey(&directory, Arc::new(renamed), options)?;
                // The name is this side's own choice.
                survey.taken.clone_from(&placement.found().taken);
                survey.alike.clone_from(&placement.found().alike);
                Target::Disk(Box::new(placement))
            }
            (Destination::Writer(writer), [entry]) if entry.kind.has_content() => {
                Target::Writer(writer)
            }
            (Destination::Writer(_), _) => return Err(Error::NotOneFile),
        };
        Ok(Self { manifest, survey, target })
    }

    pub(crate) fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Does with names that are taken what `existing` says.
    pub(crate) fn settle(&mut self, existing: Existing) -> Result<(), Error> {
        if let Target::Disk(placement) = &mut self.target {
            placement.settle(existing)?;
            let found = placement.found();
            self.survey.merged.clone_from(&found.merged);
            self.survey.added.clone_from(&found.added);
            self.survey.unfinished.clone_from(&found.unfinished);
            self.survey.taken.clone_from(&found.taken);
            self.survey.alike.clone_from(&found.alike);
        }
        Ok(())
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest, to be kept.
    pub(crate) fn shared_manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest)
    }

    /// What is there already, and may be of use, in the order of the entries.
    pub(crate) fn candidates(&self) -> Vec<Point> {
        match &self.target {
            Target::Disk(placement) => placement.candidates(),
            Target::Writer(_) | Target::Memory(_) => Vec::new(),
        }
    }

    /// Hashes a candidate; none if that cannot be done now.
    pub(crate) fn hash(
        &mut self,
        point: Point,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<[u8; 32]>, Error> {
        match &mut self.target {
            Target::Disk(placement) => placement.hash(point, stop),
            Target::Writer(_) | Target::Memory(_) => Ok(None),
        }
    }

    /// Takes notice that the candidate for `entry` is not what the uploader has.
    pub(crate) fn differs(&mut self, entry: usize) {
        if let Target::Disk(placement) = &mut self.target {
            placement.differs(entry);
            self.survey.taken.clone_from(&placement.found().taken);
            self.survey.alike.clone_from(&placement.found().alike);
        }
    }

    /// Whether names that are taken make it refuse the offer.
    pub(crate) fn refuses(&self) -> bool {
        match &self.target {
            Target::Disk(placement) => placement.refuses() && !self.survey.taken.is_empty(),
            Target::Writer(_) | Target::Memory(_) => false,
        }
    }

    /// Does with names that turned out to be taken what `existing` says.
    pub(crate) fn settle_late(&mut self, existing: Existing) -> Result<(), Error> {
        match &mut self.target {
            Target::Disk(placement) => placement.settle_late(existing),
            Target::Writer(_) | Target::Memory(_) => Ok(()),
        }
    }

    /// Gets ready for content: makes directories.
    pub(crate) fn prepare(&mut self) -> Result<(), Error> {
        match &mut self.target {
            Target::Disk(placement) => placement.make_directories(),
            Target::Writer(_) | Target::Memory(_) => Ok(()),
        }
    }

    pub(crate) fn begin(&mut self, index: usize, resume: bool) -> Result<Start, Error> {
        match &mut self.target {
            Target::Disk(placement) => placement.begin(index, resume),
            Target::Writer(_) | Target::Memory(_) => Ok(Start::At(ContentHash::new())),
        }
    }

    pub(crate) fn write(&mut self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.target {
            Target::Disk(placement) => placement.write(bytes),
            Target::Writer(writer) => writer
                .write_all(bytes)
                .map_err(|source| Error::io("writing out", self.manifest.path(index), source)),
            // What does not fit the size that was offered, and checked, does not come here.
            Target::Memory(text) => {
                text.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Whether bytes can come out of a [`Pipe`].
    pub(crate) fn takes_pipes(&self) -> bool {
        matches!(self.target, Target::Disk(_))
    }

    /// Appends the `count` bytes that are in `pipe`, without copying them through this process
    /// where the file system can.
    pub(crate) fn write_from(
        &mut self,
        index: usize,
        pipe: &Pipe,
        mut count: usize,
    ) -> Result<(), Error> {
        while count > 0 {
            let moved = match &mut self.target {
                Target::Disk(placement) => placement.write_from(pipe, count)?,
                Target::Writer(_) | Target::Memory(_) => 0,
            };
            count -= moved;
            if moved == 0 {
                let mut bytes = vec![0; count];
                let read = pipe
                    .read(&mut bytes)
                    .map_err(|source| Error::io("writing", self.manifest.path(index), source))?;
                self.write(index, &bytes[..read])?;
                count -= read;
            }
        }
        Ok(())
    }

    /// Looks whether content of so many bytes fits.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if not, as far as the system can tell.
    pub(crate) fn check_space(&self, bytes: u64) -> Result<(), Error> {
        match &self.target {
            Target::Disk(placement) => placement.check_space(bytes),
            Target::Writer(_) | Target::Memory(_) => Ok(()),
        }
    }

    pub(crate) fn end(&mut self, index: usize) -> Result<(), Error> {
        match &mut self.target {
            Target::Disk(placement) => placement.end(index),
            Target::Writer(_) | Target::Memory(_) => Ok(()),
        }
    }

    /// What is left if the transfer goes no further.
    pub(crate) fn abandon(&mut self) -> Kept {
        match &mut self.target {
            Target::Disk(placement) => placement.abandon(),
            Target::Writer(_) | Target::Memory(_) => Kept::default(),
        }
    }

    /// Whether all that comes must come again if the transfer breaks.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.target, Target::Writer(_)) || self.manifest.has_stream()
    }

    /// Brings everything to where it shall be. Returns what it was, and the text if it was one.
    pub(crate) fn finish(self) -> Result<(Manifest, Option<String>, Vec<Note>), Error> {
        let (text, notes) = match self.target {
            Target::Disk(mut placement) => (None, placement.finish()?),
            Target::Writer(writer) => {
                let failed = |source: io::Error| Error::io("writing out", "the end".into(), source);
                writer.flush().map_err(failed)?;
                (None, Vec::new())
            }
            Target::Memory(text) => {
                let text = String::from_utf8(text).map_err(|_| Error::NotText)?;
                (Some(text), Vec::new())
            }
        };
        Ok((Arc::unwrap_or_clone(self.manifest), text, notes))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_in_a_pipe_reaches_files_and_whatever_else() {
        use super::*;
        use crate::files::Entry;

        let folder = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::new();
        manifest.push(Entry::new(Kind::Stream, 0, "f")).unwrap();
        let mut written = Vec::new();
        for destination in
            [Destination::Directory(folder.path().into()), Destination::Writer(&mut written)]
        {
            let (mut peer, socket) = std::os::unix::net::UnixStream::pair().unwrap();
            peer.write_all(b"in the pipe").unwrap();
            let pipe = Pipe::new().unwrap();
            assert_eq!(pipe.fill(&socket.into(), 100).unwrap(), 11);
            let mut sink =
                Sink::look(destination, manifest.clone(), PlaceOptions::default()).unwrap();
            sink.prepare().unwrap();
            sink.begin(0, false).unwrap();
            // What is left out of a file as a hole does not displace what follows it.
            sink.write(0, &[0; 8192]).unwrap();
            sink.write_from(0, &pipe, 11).unwrap();
            sink.end(0).unwrap();
            sink.finish().unwrap();
        }
        let expected = [&[0; 8192][..], b"in the pipe"].concat();
        assert_eq!(std::fs::read(folder.path().join("f")).unwrap(), expected);
        assert_eq!(written, expected);
    }
}
