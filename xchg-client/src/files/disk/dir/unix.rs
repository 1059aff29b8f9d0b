//! [`Dir`] by file descriptors: a path is never looked up twice, so nobody can swap its components
//! in between.

use std::ffi::OsStr;
use std::fs::{File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{
    Access, AtFlags, FileType, Mode, OFlags, StatVfs, Timespec, Timestamps, UTIME_OMIT,
};
use rustix::io::Errno;

use super::Found;
use crate::files::{Modified, Name};

/// What every opening has: no link is followed, no child process inherits it, and no pipe that was
/// put there blocks it.
const SAFELY: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A directory that is held open.
pub(crate) struct Dir(File);

impl Dir {
    /// The directory at `path`, which is the caller's own: links in it are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?.into()))
    }

    /// The directory `name` in this one.
    pub(crate) fn child(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let flags = SAFELY | OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(Self(rustix::fs::openat(&self.0, name.as_ref(), flags, Mode::empty())?.into()))
    }

    /// Makes a directory that only its owner may use, until its mode is [set](Self::set_metadata).
    pub(crate) fn make_child(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name.as_ref(), Mode::RWXU)?)
    }

    /// The permission bits that what is made here may have: those that the process's umask leaves,
    /// or the directory's own rules. Found out by making a directory `trial`, for the umask cannot
    /// be read without setting it for all threads.
    pub(crate) fn allowed_mode(&self, trial: impl AsRef<OsStr>) -> io::Result<u16> {
        rustix::fs::mkdirat(&self.0, trial.as_ref(), Mode::RWXU | Mode::RWXG | Mode::RWXO)?;
        let stat = rustix::fs::statat(&self.0, trial.as_ref(), AtFlags::SYMLINK_NOFOLLOW);
        self.remove_child(trial)?;
        Ok(u16::try_from(stat?.st_mode & 0o777).unwrap_or(0))
    }

    /// Removes an empty directory.
    pub(crate) fn remove_child(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name.as_ref(), AtFlags::REMOVEDIR)?)
    }

    /// Whether this user may make something here.
    pub(crate) fn check_writable(&self) -> io::Result<()> {
        let rights = Access::WRITE_OK | Access::EXEC_OK;
        Ok(rustix::fs::accessat(&self.0, ".", rights, AtFlags::EACCESS)?)
    }

    /// What has this name, if anything.
    pub(crate) fn look(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Found>> {
        let stat = match rustix::fs::statat(&self.0, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::File(u64::try_from(stat.st_size).unwrap_or(0)),
            FileType::Directory => Found::Directory,
            FileType::Symlink => Found::Symlink,
            _ => Found::Other,
        }))
    }

    /// What is in it, in no order.
    pub(crate) fn list(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            match entry?.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(name.into()),
            }
        }
        Ok(names)
    }

    /// Opens a regular file to read it.
    pub(crate) fn read(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = SAFELY | OFlags::RDONLY;
        let file = File::from(rustix::fs::openat(&self.0, name.as_ref(), flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        Ok(file)
    }

    /// Opens a regular file to read and write it, and makes it, readable to its owner only, if
    /// there is none.
    ///
    /// One that somebody else made, or that has a second name, is refused: writing could change a
    /// file elsewhere, or show the content to others.
    pub(crate) fn read_write(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = SAFELY | OFlags::RDWR | OFlags::CREATE;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(rustix::fs::openat(&self.0, name.as_ref(), flags, mode)?);
        let metadata = file.metadata()?;
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_file() || metadata.nlink() > 1 || !ours {
            return Err(io::Error::other("something else has its name; remove that first"));
        }
        Ok(file)
    }

    /// Whether `file` still has this name.
    pub(crate) fn names(&self, name: impl AsRef<OsStr>, file: &File) -> io::Result<bool> {
        let named = match rustix::fs::statat(&self.0, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            stat => stat?,
        };
        let open = rustix::fs::fstat(file)?;
        Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino))
    }

    /// Renames a file, unless the new name is taken ([`io::ErrorKind::AlreadyExists`]).
    pub(crate) fn rename_new(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            match renameat_with(&self.0, from, &self.0, to, RenameFlags::NOREPLACE) {
                // The kernel or the file system does not know the flag.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                done => return Ok(done?),
            }
        }
        rustix::fs::linkat(&self.0, from, &self.0, to, AtFlags::empty())?;
        self.remove_file(from)
    }

    /// Renames a file, and replaces the file or link that has the new name.
    pub(crate) fn rename_over(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from.as_ref(), &self.0, to.as_ref())?)
    }

    /// Removes a file or link.
    pub(crate) fn remove_file(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name.as_ref(), AtFlags::empty())?)
    }

    /// Makes a symbolic link, unless its name is taken.
    pub(crate) fn symlink(
        &self,
        target: impl AsRef<OsStr>,
        name: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target.as_ref(), &self.0, name.as_ref())?)
    }

    /// Sets a symbolic link's own time.
    pub(crate) fn set_link_time(
        &self,
        name: impl AsRef<OsStr>,
        modified: Modified,
    ) -> io::Result<()> {
        let Modified { seconds, nanos } = modified;
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
        };
        Ok(rustix::fs::utimensat(&self.0, name.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Where a symbolic link points to.
    pub(crate) fn read_link(&self, name: impl AsRef<OsStr>) -> io::Result<Name> {
        let target = rustix::fs::readlinkat(&self.0, name.as_ref(), Vec::new())?;
        Ok(target.to_bytes().into())
    }

    /// Writes the directory's names to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// Sets the directory's [permissions](restored) and time.
    pub(crate) fn set_metadata(&self, mode: u16, modified: Modified) -> io::Result<()> {
        // Entering takes the right to execute. A group that is handed down to what is made here
        // stays so.
        let handed_down = self.0.metadata()?.permissions().mode() & 0o2000;
        self.0.set_times(FileTimes::new().set_modified(modified.to_system()))?;
        let mode = u32::from(restored(mode | 0o100));
        self.0.set_permissions(Permissions::from_mode(mode | handed_down))
    }

    /// Bytes that this user may still write to the directory's file system, if it can tell.
    pub(crate) fn available_bytes(&self) -> Option<u64> {
        available_bytes(&rustix::fs::fstatvfs(&self.0).ok()?)
    }
}

/// Bytes that this user may still write to a file system. Some, mounted from elsewhere or made of
/// several, report 0 of 0 blocks: they do not know.
fn available_bytes(status: &StatVfs) -> Option<u64> {
    (status.f_blocks > 0).then(|| status.f_bavail.saturating_mul(status.f_frsize))
}

/// Sets a file's [permissions](restored) and time.
pub(crate) fn set_metadata(file: &File, mode: u16, modified: Modified) -> io::Result<()> {
    file.set_times(FileTimes::new().set_modified(modified.to_system()))?;
    file.set_permissions(Permissions::from_mode(u32::from(restored(mode))))
}

/// What is restored of a mode that the other peer sent: nothing that lends this user's rights
/// (set-user-id and its like), and nothing that lets everybody on this machine write. This user may
/// read it in any case, or could not resume.
fn restored(mode: u16) -> u16 {
    mode & 0o775 | 0o400
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_blocks_does_not_know_what_is_free() {
        let temp = tempfile::tempdir().unwrap();
        let mut status = rustix::fs::statvfs(temp.path()).unwrap();
        (status.f_blocks, status.f_bavail, status.f_frsize) = (10, 3, 4096);
        assert_eq!(available_bytes(&status), Some(3 * 4096));
        status.f_bavail = 0;
        assert_eq!(available_bytes(&status), Some(0));
        status.f_blocks = 0;
        assert_eq!(available_bytes(&status), None);
    }
}
