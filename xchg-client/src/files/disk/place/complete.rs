//! After all content: links, and the modes and times of directories.

use std::io::{self, ErrorKind};
use std::mem;

use super::{Existing, MARKER, Placement};
use crate::files::disk::dir::Dir;
use crate::files::disk::finish::{Note, place_named};
use crate::files::disk::partial::partial_name;
use crate::files::manifest::Kind;
use crate::files::{Error, Name};

impl Placement {
    /// Waits until every file is on the disk under its name, makes the links, and restores the
    /// directories' modes and times.
    pub(crate) fn finish(&mut self) -> Result<Vec<Note>, Error> {
        self.notes.extend(self.finisher.wait()?);
        for index in 0..self.manifest.entries().len() {
            if let Kind::Symlink { target } = &self.entry(index).kind {
                let target = target.clone();
                self.make_link(index, &target)?;
            }
        }
        // Backwards, so that a directory's time is set after those of the directories in it.
        for index in (0..self.manifest.entries().len()).rev() {
            if self.entry(index).kind == Kind::Directory {
                self.finish_directory(index)?;
            }
        }
        self.tree.root().sync().map_err(|source| Error::io("syncing", ".".into(), source))?;
        Ok(mem::take(&mut self.notes))
    }

    fn make_link(&mut self, index: usize, target: &Name) -> Result<(), Error> {
        let dir = self.around(index)?;
        let name = self.entry(index).name.clone();
        if dir.read_link(&name).is_ok_and(|old| old == *target) {
            return Ok(());
        }
        let made = match self.options.existing {
            Existing::Overwrite => replace_with_link(&dir, target, &name).map(|()| name.clone()),
            existing => place_named(&name, existing, |name| dir.symlink(target, name)),
        };
        let placed = made.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => self.exists(index),
            _ => self.failed("linking", index, source),
        })?;
        self.set_link_time(index, &dir, &placed);
        if placed != name {
            let path = self.tree.path(&self.manifest, index);
            self.notes.push(Note::Renamed { path, name: placed.to_string() });
        }
        Ok(())
    }

    fn set_link_time(&mut self, index: usize, dir: &Dir, name: &Name) {
        if let Err(source) = dir.set_link_time(name, self.entry(index).modified) {
            self.notes.push(Note::Metadata { path: self.tree.path(&self.manifest, index), source });
        }
    }

    fn finish_directory(&mut self, index: usize) -> Result<(), Error> {
        let dir = self
            .tree
            .directory(&self.manifest, index)
            .map_err(|source| self.failed("opening", index, source))?;
        if self.ours.contains(&index) {
            let mode = self.mode(index, &dir)?;
            if self.marked.remove(&index) {
                dir.remove_file(MARKER)
                    .map_err(|source| self.failed("finishing", index, source))?;
            }
            let modified = self.entry(index).modified;
            if let Err(source) = dir.set_metadata(mode, modified) {
                let path = self.tree.path(&self.manifest, index);
                self.notes.push(Note::Metadata { path, source });
            }
        }
        dir.sync().map_err(|source| self.failed("syncing", index, source))
    }
}

/// Makes the link under another name first: there is no moment without the one or the other.
fn replace_with_link(dir: &Dir, target: &Name, name: &Name) -> io::Result<()> {
    let beside = partial_name(name);
    match dir.remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    dir.symlink(target, &beside)?;
    dir.rename_over(&beside, name)
}
