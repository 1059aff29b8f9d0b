//! The directories of a manifest, held open along one path.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::dir::Dir;
use crate::files::Name;
use crate::files::manifest::Manifest;

/// A destination, and the directories between it and the entry that was asked for last.
///
/// Entries come depth first, so that going through a manifest in either order opens each directory
/// once.
pub(super) struct Tree {
    root: Arc<Dir>,
    /// The open directory of each depth, with its entry.
    open: Vec<(usize, Arc<Dir>)>,
    /// Top-level directories that have another name here than in the manifest.
    renamed: HashMap<usize, Name>,
}

impl Tree {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { root: Arc::new(Dir::open(path)?), open: Vec::new(), renamed: HashMap::new() })
    }

    pub(super) fn root(&self) -> &Dir {
        &self.root
    }

    /// Gives the directory `index` another name here.
    pub(super) fn rename(&mut self, index: usize, name: Name) {
        self.renamed.insert(index, name);
        // It may be open under the name that it had before.
        self.open.clear();
    }

    /// The name of directory `index` here.
    pub(super) fn name<'a>(&'a self, manifest: &'a Manifest, index: usize) -> &'a Name {
        match self.renamed.get(&index) {
            Some(name) => name,
            None => &manifest.entries()[index].name,
        }
    }

    /// The path of entry `index` here, to tell a person.
    pub(super) fn path(&self, manifest: &Manifest, index: usize) -> String {
        let mut names = vec![self.name(manifest, index).to_string_lossy()];
        let mut above = manifest.parent(index);
        while let Some(directory) = above {
            names.push(self.name(manifest, directory).to_string_lossy());
            above = manifest.parent(directory);
        }
        names.reverse();
        names.join("/")
    }

    /// The path of what is called `name` beside entry `index`, to tell a person.
    pub(super) fn beside(&self, manifest: &Manifest, index: usize, name: &Name) -> String {
        match manifest.parent(index) {
            Some(directory) => format!("{}/{name}", self.path(manifest, directory)),
            None => name.to_string(),
        }
    }

    /// The directory that entry `index` is in.
    pub(super) fn around(&mut self, manifest: &Manifest, index: usize) -> io::Result<Arc<Dir>> {
        match manifest.parent(index) {
            Some(directory) => self.directory(manifest, directory),
            None => Ok(Arc::clone(&self.root)),
        }
    }

    /// The directory that is entry `index`.
    pub(super) fn directory(&mut self, manifest: &Manifest, index: usize) -> io::Result<Arc<Dir>> {
        let mut missing = Vec::new();
        let mut next = Some(index);
        while let Some(entry) = next {
            let depth = manifest.entries()[entry].depth;
            if self.open.get(depth).is_some_and(|open| open.0 == entry) {
                break;
            }
            missing.push(entry);
            next = manifest.parent(entry);
        }
        let kept = next.map_or(0, |entry| manifest.entries()[entry].depth + 1);
        self.open.truncate(kept);
        for entry in missing.into_iter().rev() {
            let child = self.last().child(self.name(manifest, entry))?;
            self.open.push((entry, Arc::new(child)));
        }
        Ok(Arc::clone(self.last()))
    }

    fn last(&self) -> &Arc<Dir> {
        self.open.last().map_or(&self.root, |(_, dir)| dir)
    }
}
