//! Where what arrives goes.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::dir::Dir;
use crate::files::Error;

/// Where what arrives shall go.
#[expect(clippy::exhaustive_enums, reason = "a caller offers all to its person")]
pub enum Destination<'a> {
    /// Into this directory, which exists; a text is not written to it but returned.
    Directory(PathBuf),
    /// To this path, which becomes the one file, text or stream that is offered. Its directory
    /// exists.
    File(PathBuf),
    /// To this writer goes the content of the one file, text or stream that is offered. It gets
    /// bytes before their hash can be checked: an error afterwards says that they are not to be
    /// used.
    Writer(&'a mut (dyn Write + Send)),
}

impl fmt::Debug for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Writer(_) => f.write_str("Writer(..)"),
        }
    }
}

impl Destination<'_> {
    /// Whether anything can be put there: what this side can know before it takes the other's time.
    ///
    /// # Errors
    /// [`Error::Destination`] if not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (path, folder) = match self {
            Self::Directory(path) => (path, path.as_path()),
            Self::File(path) => {
                let is_named = path.file_name().is_some() && !path.is_dir();
                if !is_named {
                    let source = io::ErrorKind::IsADirectory.into();
                    return Err(Error::Destination { path: path.into(), source });
                }
                (path, folder_of(path))
            }
            Self::Writer(_) => return Ok(()),
        };
        let unusable = |source| Error::Destination { path: path.into(), source };
        let folder = Dir::open(folder).map_err(unusable)?;
        folder.check_writable().map_err(unusable)
    }

    /// The same destination once more, for another attempt.
    pub(crate) fn again(&mut self) -> Destination<'_> {
        match self {
            Self::Directory(path) => Destination::Directory(path.clone()),
            Self::File(path) => Destination::File(path.clone()),
            Self::Writer(writer) => Destination::Writer(&mut **writer),
        }
    }
}

/// The folder that `path` is in, or is to be in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
