//! Before anything is written: what is at the destination already, and what of it is of use.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::{Earlier, Existing, MARKER, PlaceOptions, Placement};
use crate::files::content::Point;
use crate::files::disk::dir::{Dir, Found};
use crate::files::disk::finish::{Finisher, Note, place_named};
use crate::files::disk::partial::{OpenError, Partial, hash_prefix, partial_name};
use crate::files::disk::survey::Survey;
use crate::files::disk::tree::Tree;
use crate::files::manifest::{Kind, Manifest};
use crate::files::{Error, Name};

/// Partials that are resumed at once; each is an open file. An interrupted run leaves one.
const MAX_RESUMED_PARTIALS: usize = 64;

impl Placement {
    /// Looks whether `manifest`, whose names are fit, can be placed in the directory at
    /// `destination`. Names that are taken are for [`settle`](Self::settle) to decide.
    ///
    /// # Errors
    /// [`Error::InTheWay`] or [`Error::NoSpace`] if it cannot.
    pub(crate) fn survey(
        destination: &Path,
        manifest: Arc<Manifest>,
        options: PlaceOptions,
    ) -> Result<Self, Error> {
        let unusable = |source| Error::Destination { path: destination.into(), source };
        let mut placement = Self {
            tree: Tree::open(destination).map_err(unusable)?,
            survey: Survey::default(),
            manifest,
            options,
            earlier: HashMap::new(),
            ours: HashSet::new(),
            marked: HashSet::new(),
            allowed: None,
            current: None,
            whole: 0,
            whole_bytes: 0,
            finisher: Finisher::start(),
            notes: Vec::new(),
        };
        placement.look_around()?;
        Ok(placement)
    }

    /// What was found at the destination.
    pub(crate) fn found(&self) -> &Survey {
        &self.survey
    }

    /// Whether names that are taken are refused.
    pub(crate) fn refuses(&self) -> bool {
        self.options.existing == Existing::Refuse
    }

    /// Does with names that are taken what `existing` says.
    ///
    /// # Errors
    /// [`Error::Exists`] if that is [`Existing::Refuse`] and some are; or as
    /// [`survey`](Self::survey).
    pub(crate) fn settle(&mut self, existing: Existing) -> Result<(), Error> {
        if existing != self.options.existing {
            self.options.existing = existing;
            self.look_around()?;
        }
        self.check_taken()
    }

    fn look_around(&mut self) -> Result<(), Error> {
        self.survey = Survey::of(&self.manifest);
        self.earlier.clear();
        self.ours.clear();
        self.marked.clear();
        let mut needed = self.manifest.bytes();
        for index in 0..self.manifest.entries().len() {
            needed = needed.saturating_sub(self.survey_entry(index)?);
        }
        self.check_space(needed)
    }

    /// Looks whether so many more bytes fit.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if not, as far as the system can tell.
    pub(crate) fn check_space(&self, needed: u64) -> Result<(), Error> {
        match self.tree.root().available_bytes() {
            Some(available) if needed > available => Err(Error::NoSpace { needed, available }),
            _ => Ok(()),
        }
    }

    /// What is there already of the entries and may be of use, in their order: a file of the same
    /// name and size, or as much of a partial as can be.
    pub(crate) fn candidates(&self) -> Vec<Point> {
        let mut points: Vec<_> = self
            .earlier
            .iter()
            .filter_map(|(&entry, earlier)| match earlier {
                Earlier::Candidate => {
                    Some((Point { entry, bytes: self.entry(entry).kind.size()? }, false))
                }
                &Earlier::Partial(bytes) => Some((Point { entry, bytes }, true)),
                Earlier::Whole(_) | Earlier::Opened(..) => None,
            })
            .collect();
        points.sort_unstable_by_key(|(point, _)| point.entry);
        let mut partials = 0;
        points.retain(|&(_, is_partial)| {
            partials += usize::from(is_partial);
            !is_partial || partials <= MAX_RESUMED_PARTIALS
        });
        points.into_iter().map(|(point, _)| point).collect()
    }

    /// Hashes what is there of a candidate; none if another transfer holds it, or it is shorter by
    /// now. It can take long; `stop` is asked now and then.
    ///
    /// # Errors
    /// [`Error::Stopped`] if `stop` said so, or if it cannot be read.
    pub(crate) fn hash(
        &mut self,
        Point { entry, bytes }: Point,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<[u8; 32]>, Error> {
        let hash = match self.earlier.remove(&entry) {
            Some(Earlier::Candidate) => self.hash_whole(entry, bytes, stop),
            Some(Earlier::Partial(_)) => self.hash_partial(entry, bytes, stop),
            _ => Ok(None),
        };
        let hash = hash.map_err(|source| self.failed("reading", entry, source))?;
        if stop() { Err(Error::Stopped) } else { Ok(hash) }
    }

    /// Takes notice of a candidate that is something else than what was offered: a file of that
    /// name and size is in the way after all.
    pub(crate) fn differs(&mut self, entry: usize) {
        if let Some(Earlier::Whole(_)) = self.earlier.get(&entry) {
            self.survey.alike.retain(|&alike| alike != entry);
            let place = self.survey.taken.partition_point(|&taken| taken < entry);
            self.survey.taken.insert(place, entry);
        }
    }

    /// Does with names that turned out to be taken what `existing` says.
    ///
    /// # Errors
    /// [`Error::Exists`] if that is [`Existing::Refuse`] and some are.
    pub(crate) fn settle_late(&mut self, existing: Existing) -> Result<(), Error> {
        self.options.existing = existing;
        self.check_taken()
    }

    fn check_taken(&self) -> Result<(), Error> {
        match (self.options.existing, &self.survey.taken[..]) {
            (Existing::Refuse, [first, more @ ..]) => Err(Error::Exists {
                path: self.tree.path(&self.manifest, *first),
                more: more.len(),
            }),
            _ => Ok(()),
        }
    }

    /// Looks what is under the name of entry `index`; returns how many of its bytes are there
    /// already.
    fn survey_entry(&mut self, index: usize) -> Result<u64, Error> {
        let dir = match self.tree.around(&self.manifest, index) {
            Ok(dir) => dir,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(source) => return Err(self.failed("opening the directory of", index, source)),
        };
        let name = self.tree.name(&self.manifest, index);
        let found = dir.look(name).map_err(|source| self.failed("looking for", index, source))?;
        let around = self.manifest.parent(index);
        if found.is_none()
            && around.is_some_and(|around| self.survey.merged.binary_search(&around).is_ok())
        {
            self.survey.added.push(index);
        }
        if found.is_none() {
            dir.check_writable()
                .map_err(|source| self.failed("writing into the directory of", index, source))?;
        }
        let entry = self.entry(index);
        match &entry.kind {
            Kind::Directory => self.survey_directory(index, &dir, found),
            Kind::Symlink { target } => {
                let same = found == Some(Found::Symlink)
                    && dir.read_link(&entry.name).is_ok_and(|old| old == *target);
                if cfg!(not(unix)) {
                    return Err(self.failed("linking", index, ErrorKind::Unsupported.into()));
                }
                if !same {
                    self.check_free(index, found, "link")?;
                }
                Ok(0)
            }
            Kind::File { size } if self.options.resume => {
                let size = *size;
                self.survey_resumable(index, size, &dir, found)
            }
            _ => self.check_free(index, found, "file").map(|()| 0),
        }
    }

    fn survey_directory(
        &mut self,
        index: usize,
        dir: &Dir,
        found: Option<Found>,
    ) -> Result<u64, Error> {
        let beside = self.options.existing == Existing::Rename && self.entry(index).depth == 0;
        let found = match found {
            Some(_) if beside => self.survey_beside(index, dir)?,
            found => found,
        };
        match found {
            None => {}
            Some(Found::Directory) => self.survey_entered(index, dir)?,
            Some(_) => return Err(self.in_the_way(index, "directory")),
        }
        Ok(0)
    }

    /// Finds the name of a directory that goes beside what is there: a free one, or that of one
    /// which an earlier run did not finish. Returns what has it.
    fn survey_beside(&mut self, index: usize, dir: &Dir) -> Result<Option<Found>, Error> {
        let offered = &self.entry(index).name;
        let found = Cell::new(None);
        let try_name = |name: &Name| {
            found.set(dir.look(name)?);
            match found.get() {
                None => Ok(()),
                Some(_) if self.is_unfinished(dir, name)? => Ok(()),
                Some(_) => Err(ErrorKind::AlreadyExists.into()),
            }
        };
        let name = place_named(offered, Existing::Rename, try_name)
            .map_err(|source| self.failed("renaming", index, source))?;
        if name != *offered {
            let path = self.tree.path(&self.manifest, index);
            self.notes.push(Note::Renamed { path, name: name.to_string() });
            self.tree.rename(index, name);
        }
        Ok(found.get())
    }

    /// Tells a directory that an earlier run made and did not finish from one that was there
    /// before.
    fn survey_entered(&mut self, index: usize, dir: &Dir) -> Result<(), Error> {
        let around = self.manifest.parent(index);
        if around.is_some_and(|around| self.ours.contains(&around)) {
            self.ours.insert(index);
            return Ok(());
        }
        let unfinished = self.is_unfinished(dir, self.tree.name(&self.manifest, index));
        if unfinished.map_err(|source| self.failed("looking into", index, source))? {
            self.ours.insert(index);
            self.marked.insert(index);
            self.survey.unfinished.push(index);
        } else {
            self.survey.merged.push(index)
        }
        Ok(())
    }

    /// Whether a run that is to be resumed made the directory `name`, and did not finish it.
    fn is_unfinished(&self, dir: &Dir, name: &Name) -> io::Result<bool> {
        let is_directory = dir.look(name)? == Some(Found::Directory);
        Ok(self.options.resume
            && is_directory
            && matches!(dir.child(name)?.look(MARKER)?, Some(Found::File(_))))
    }

    fn survey_resumable(
        &mut self,
        index: usize,
        size: u64,
        dir: &Dir,
        found: Option<Found>,
    ) -> Result<u64, Error> {
        if found == Some(Found::File(size)) {
            self.earlier.insert(index, Earlier::Candidate);
            self.survey.alike.push(index);
            return Ok(size);
        }
        self.check_free(index, found, "file")?;
        let partial = dir
            .look(partial_name(&self.entry(index).name))
            .map_err(|source| self.failed("looking for", index, source))?;
        match partial {
            Some(Found::File(bytes)) if bytes.min(size) > 0 => {
                let bytes = bytes.min(size);
                self.earlier.insert(index, Earlier::Partial(bytes));
                Ok(bytes)
            }
            _ => Ok(0),
        }
    }

    /// Whether something that is no directory can get the name of entry `index`, or be given
    /// another.
    fn check_free(
        &mut self,
        index: usize,
        found: Option<Found>,
        offered: &'static str,
    ) -> Result<(), Error> {
        match (found, self.options.existing) {
            (None, _) => {}
            (Some(Found::Directory | Found::Other), Existing::Refuse | Existing::Overwrite) => {
                return Err(self.in_the_way(index, offered));
            }
            (Some(_), _) => self.survey.taken.push(index),
        }
        Ok(())
    }

    fn hash_whole(
        &mut self,
        entry: usize,
        size: u64,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Option<[u8; 32]>> {
        let dir = self.tree.around(&self.manifest, entry)?;
        let mut file = dir.read(&self.entry(entry).name)?;
        let Some(hash) = hash_prefix(&mut file, size, stop)? else {
            return Ok(None);
        };
        let hash = hash.hash();
        self.earlier.insert(entry, Earlier::Whole(hash));
        Ok(Some(hash))
    }

    /// A partial that is not hashed here is begun afresh.
    fn hash_partial(
        &mut self,
        entry: usize,
        bytes: u64,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Option<[u8; 32]>> {
        let dir = self.tree.around(&self.manifest, entry)?;
        let mut partial = match Partial::open(&dir, &self.entry(entry).name) {
            Ok(partial) => partial,
            // Beginning the entry will say so.
            Err(OpenError::Busy) => return Ok(None),
            Err(OpenError::Io(error)) => return Err(error),
        };
        let Some(begun) = partial.hash(bytes, stop)? else {
            return Ok(None);
        };
        let hash = begun.hash();
        self.earlier.insert(entry, Earlier::Opened(partial, begun));
        Ok(Some(hash))
    }
}
