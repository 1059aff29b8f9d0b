//! [`Dir`] by paths, for systems without `openat`.
//!
//! It looks before it acts, so somebody who swaps a directory for a link at the right moment could
//! lead it astray; Windows lets only administrators make links. Modes do not exist here, nor can
//! directories be synced.

use std::ffi::OsStr;
#[cfg(not(unix))]
use std::fs::FileTimes;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Found;
use crate::files::{Modified, Name};

/// A directory, by its path.
pub(crate) struct Dir(PathBuf);

#[cfg_attr(unix, expect(dead_code, reason = "on Unix the tests alone use it, and not all of it"))]
impl Dir {
    /// The directory at `path`, which is the caller's own: links in it are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(fs::canonicalize(path)?))
    }

    /// The directory `name` in this one.
    pub(crate) fn child(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        match self.look(&name)? {
            Some(Found::Directory) => Ok(Self(self.0.join(name.as_ref()))),
            Some(_) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Makes a directory.
    pub(crate) fn make_child(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        fs::create_dir(self.0.join(name.as_ref()))
    }

    /// Modes do not exist here.
    pub(crate) fn allowed_mode(&self, _trial: impl AsRef<OsStr>) -> io::Result<u16> {
        Ok(0o777)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_child(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        fs::remove_dir(self.0.join(name.as_ref()))
    }

    /// Not known here: it is found out when something is made.
    pub(crate) fn check_writable(&self) -> io::Result<()> {
        Ok(())
    }

    /// What has this name, if anything.
    pub(crate) fn look(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Found>> {
        let metadata = match fs::symlink_metadata(self.0.join(name.as_ref())) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        Ok(Some(match metadata.file_type() {
            kind if kind.is_symlink() => Found::Symlink,
            kind if kind.is_dir() => Found::Directory,
            kind if kind.is_file() => Found::File(metadata.len()),
            _ => Found::Other,
        }))
    }

    /// What is in it, in no order.
    pub(crate) fn list(&self) -> io::Result<Vec<Name>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            Ok(Name::of_os(&entry?.file_name()).unwrap_or("\u{fffd}".into()))
        };
        fs::read_dir(&self.0)?.map(name).collect()
    }

    /// Opens a regular file to read it.
    pub(crate) fn read(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        match self.look(&name)? {
            Some(Found::File(_)) => File::open(self.0.join(name.as_ref())),
            _ => Err(io::Error::other("it is no regular file")),
        }
    }

    /// Opens a regular file to read and write it, and makes it if there is none.
    pub(crate) fn read_write(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match self.look(&name)? {
            Some(Found::File(_)) => options.open(self.0.join(name.as_ref())),
            None => options.create_new(true).open(self.0.join(name.as_ref())),
            Some(_) => Err(io::Error::other("something else has its name; remove that first")),
        }
    }

    /// Whether `file` still has this name. Windows keeps the names of open files.
    pub(crate) fn names(&self, _name: impl AsRef<OsStr>, _file: &File) -> io::Result<bool> {
        Ok(true)
    }

    /// Renames a file, unless the new name is taken ([`ErrorKind::AlreadyExists`]).
    pub(crate) fn rename_new(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        match fs::hard_link(self.0.join(from.as_ref()), self.0.join(to.as_ref())) {
            Ok(()) => self.remove_file(from),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
            // The file system has no hard links.
            Err(_) if self.look(&to)?.is_some() => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => self.rename_over(from, to),
        }
    }

    /// Renames a file, and replaces the file or link that has the new name.
    pub(crate) fn rename_over(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        fs::rename(self.0.join(from.as_ref()), self.0.join(to.as_ref()))
    }

    /// Removes a file or link.
    pub(crate) fn remove_file(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        fs::remove_file(self.0.join(name.as_ref()))
    }

    /// Symbolic links need rights here that programs do not usually have.
    pub(crate) fn symlink(
        &self,
        _target: impl AsRef<OsStr>,
        _name: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// There are no links whose time could be set.
    pub(crate) fn set_link_time(
        &self,
        _name: impl AsRef<OsStr>,
        _modified: Modified,
    ) -> io::Result<()> {
        Ok(())
    }

    /// Where a symbolic link points to, as far as it is Unicode.
    pub(crate) fn read_link(&self, name: impl AsRef<OsStr>) -> io::Result<Name> {
        let target = fs::read_link(self.0.join(name.as_ref()))?;
        Ok(target.to_string_lossy().into_owned().into())
    }

    /// Directories cannot be synced here.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Directories have neither modes nor settable times here.
    pub(crate) fn set_metadata(&self, _mode: u16, _modified: Modified) -> io::Result<()> {
        Ok(())
    }

    /// Not known here: the disk is found full when it is.
    pub(crate) fn available_bytes(&self) -> Option<u64> {
        None
    }
}

/// Sets a file's time; modes do not exist here.
#[cfg(not(unix))]
pub(crate) fn set_metadata(file: &File, _mode: u16, modified: Modified) -> io::Result<()> {
    file.set_times(FileTimes::new().set_modified(modified.to_system()))
}
