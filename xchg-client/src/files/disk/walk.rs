//! Walking the directories that are to be sent.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::peculiar::{HardLinks, MadeUp};
use crate::files::manifest::{Entry, Kind, Manifest, Modified};
use crate::files::names::link_stays_inside;
use crate::files::{Error, Name};
use crate::sys;

/// How to treat what is neither file nor directory.
///
/// A link that is named itself is always followed. One in a directory is sent as a link if it stays
/// inside what is sent.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct WalkOptions {
    pub(crate) outside_links: OutsideLinks,
    pub(crate) special_files: SpecialFiles,
}

impl WalkOptions {
    /// What to do with links that lead elsewhere. Default: refuse to send anything.
    pub fn outside_links(self, outside_links: OutsideLinks) -> Self {
        Self { outside_links, ..self }
    }

    /// What to do with devices, sockets and pipes. Default: refuse to send anything.
    pub fn special_files(self, special_files: SpecialFiles) -> Self {
        Self { special_files, ..self }
    }
}

/// What to do with links that lead out of the directory that is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller offers all to its person")]
pub enum OutsideLinks {
    /// Refuse to send anything, and say which link it was.
    #[default]
    Refuse,
    /// Send what they lead to.
    Follow,
    /// Send everything else.
    LeaveOut,
}

/// What to do with devices, sockets and pipes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller offers both to its person")]
pub enum SpecialFiles {
    /// Refuse to send anything, and say which file it was.
    #[default]
    Refuse,
    /// Send everything else.
    LeaveOut,
}

/// What is in some paths.
pub(super) struct Collected {
    pub(super) manifest: Manifest,
    /// The path of each top-level entry.
    pub(super) tops: BTreeMap<usize, PathBuf>,
    /// The content of files that the system makes up as they are read, so that only reading them
    /// tells how long they are.
    pub(super) made_up: BTreeMap<usize, Vec<u8>>,
    /// How many files are another name of one that is among the entries before them.
    pub(super) hard_links: usize,
}

/// Collects what is in `paths`.
pub(super) fn collect<P: AsRef<Path>>(
    paths: &[P],
    options: WalkOptions,
) -> Result<Collected, Error> {
    let mut walk = Walk {
        options,
        manifest: Manifest::new(),
        around: Vec::new(),
        made_up: MadeUp::default(),
        hard_links: HardLinks::default(),
    };
    let mut names: BTreeMap<Name, &Path> = BTreeMap::new();
    let mut tops = BTreeMap::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let name = top_name(path)?;
        if let Some(first) = names.insert(name.clone(), path) {
            let name = name.to_string();
            return Err(Error::Duplicate { name, first: first.into(), second: path.into() });
        }
        tops.insert(walk.manifest.entries().len(), path.into());
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        walk.add(path, &name, &metadata, 0)?;
    }
    match walk.manifest.entries() {
        [] => Err(Error::Nothing),
        _ => Ok(Collected {
            manifest: walk.manifest,
            tops,
            made_up: walk.made_up.contents,
            hard_links: walk.hard_links.count,
        }),
    }
}

struct Walk {
    options: WalkOptions,
    manifest: Manifest,
    /// The directories around the next entry. As many as its depth.
    around: Vec<PathBuf>,
    made_up: MadeUp,
    hard_links: HardLinks,
}

impl Walk {
    /// Adds what `path` leads to. Links in it that stay inside the entry at depth `floor` are sent
    /// as such.
    fn add(
        &mut self,
        path: &Path,
        name: &Name,
        metadata: &Metadata,
        floor: usize,
    ) -> Result<(), Error> {
        if metadata.is_file() {
            // Better known now than when its turn comes, perhaps hours after the other peer has
            // come.
            sys::check_readable(path).map_err(|source| unreadable(path, source))?;
            let index = self.manifest.entries().len();
            let size = self.made_up.size(index, path, metadata)?;
            self.hard_links.see(metadata);
            self.push(path, Kind::File { size }, name, metadata)
        } else if metadata.is_dir() {
            self.push(path, Kind::Directory, name, metadata)?;
            self.around.push(path.into());
            self.add_content(path, floor)?;
            self.around.pop();
            Ok(())
        } else if self.options.special_files == SpecialFiles::LeaveOut {
            Ok(())
        } else {
            Err(Error::Special { path: path.into() })
        }
    }

    /// Adds what is in the directory `path`, in the order of its names.
    fn add_content(&mut self, path: &Path, floor: usize) -> Result<(), Error> {
        let read = || -> io::Result<Vec<OsString>> {
            let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
            names.collect()
        };
        let mut names = read().map_err(|source| unreadable(path, source))?;
        names.sort_unstable();
        for name in names {
            let path = path.join(&name);
            let Some(name) = Name::of_os(&name) else {
                return Err(Error::NotUnicode { path });
            };
            let metadata =
                fs::symlink_metadata(&path).map_err(|source| unreadable(&path, source))?;
            if metadata.is_symlink() {
                self.add_link(&path, &name, &metadata, floor)?;
            } else {
                self.add(&path, &name, &metadata, floor)?;
            }
        }
        Ok(())
    }

    fn add_link(
        &mut self,
        path: &Path,
        name: &Name,
        metadata: &Metadata,
        floor: usize,
    ) -> Result<(), Error> {
        let target = fs::read_link(path).map_err(|source| unreadable(path, source))?;
        let depth = self.around.len();
        let inside = plain_target(&target)
            .filter(|target| link_stays_inside(depth - floor, target))
            .or_else(|| self.target_inside(&target, floor));
        if let Some(target) = inside {
            return self.push(path, Kind::Symlink { target }, name, metadata);
        }
        match self.options.outside_links {
            OutsideLinks::Refuse => return Err(Error::LinkLeaves { path: path.into(), target }),
            OutsideLinks::LeaveOut => return Ok(()),
            OutsideLinks::Follow => {}
        }
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if metadata.is_dir() {
            self.check_no_loop(path)?;
        }
        // What it leads to is a place of its own: steps upwards from there lead elsewhere than from
        // here.
        self.add(path, name, &metadata, depth)
    }

    /// A link's target without detours, if it is relative and leads into the entry at depth
    /// `floor`: such as `sub/../file`.
    fn target_inside(&self, target: &Path, floor: usize) -> Option<Name> {
        let here = self.around.last().filter(|_| target.is_relative())?;
        let whole = here.join(target);
        // What the target names may be a link itself, or missing; what is around it must be there.
        let place = match (whole.parent(), whole.file_name()) {
            (Some(parent), Some(name)) => fs::canonicalize(parent).ok()?.join(name),
            _ => fs::canonicalize(&whole).ok()?,
        };
        let (here, top) =
            (fs::canonicalize(here).ok()?, fs::canonicalize(&self.around[floor]).ok()?);
        if !place.starts_with(&top) {
            return None;
        }
        let common = here.ancestors().find(|above| place.starts_with(above))?;
        let ups = here.strip_prefix(common).ok()?.components().map(|_| Component::ParentDir);
        let relative: PathBuf = ups.chain(place.strip_prefix(common).ok()?.components()).collect();
        plain_target(&relative)
            .filter(|target| link_stays_inside(self.around.len() - floor, target))
    }

    fn check_no_loop(&self, link: &Path) -> Result<(), Error> {
        let real = |path: &Path| fs::canonicalize(path).map_err(|source| unreadable(path, source));
        let target = real(link)?;
        for directory in &self.around {
            if real(directory)? == target {
                return Err(Error::LinkLoop { path: link.into() });
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        path: &Path,
        kind: Kind,
        name: &Name,
        metadata: &Metadata,
    ) -> Result<(), Error> {
        let entry = Entry {
            mode: sys::mode(metadata),
            kind,
            depth: self.around.len(),
            name: name.clone(),
            modified: Modified::of(metadata),
        };
        match self.manifest.push(entry) {
            Ok(_) => Ok(()),
            Err(Error::Manifest(why)) => Err(Error::NotOffered { path: path.into(), why }),
            Err(error) => Err(error),
        }
    }
}

/// The last component of `path`, or of what it leads to if it is written without one (`.`, `a/..`).
fn top_name(path: &Path) -> Result<Name, Error> {
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        None => fs::canonicalize(path)
            .map_err(|source| unreadable(path, source))?
            .file_name()
            .ok_or(Error::NoName { path: path.into() })?
            .to_owned(),
    };
    Name::of_os(&name).ok_or(Error::NotUnicode { path: path.into() })
}

/// A link's target without components that say nothing; none if it is absolute, or cannot be sent.
fn plain_target(target: &Path) -> Option<Name> {
    let mut names = Vec::new();
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => names.push("..".into()),
            Component::Normal(name) => names.push(Name::of_os(name)?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    match &names[..] {
        [] => Some(".".into()),
        names => Some(names.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/').into()),
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.into(), source }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
