//! Where an uploaded payload comes from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::framing::read_some;
use crate::Error;
use crate::files::may_be_made_up;

/// Where an uploaded payload comes from.
#[non_exhaustive]
pub enum Source {
    /// A file. One that is no regular file, such as a named pipe, is read to its end.
    File(PathBuf),
    /// The standard input, to its end.
    Stdin,
    /// Anything, to its end. A read that blocks delays a cancellation.
    Reader(Box<dyn Read + Send>),
}

impl Source {
    /// The same once more, if it can be opened again.
    pub(crate) fn again(&self) -> Option<Source> {
        match self {
            Source::File(path) => Some(Source::File(path.clone())),
            Source::Stdin | Source::Reader(_) => None,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => f.debug_tuple("File").field(path).finish(),
            Source::Stdin => f.write_str("Stdin"),
            Source::Reader(_) => f.write_str("Reader(..)"),
        }
    }
}

/// An opened source.
pub(crate) enum Input {
    /// Of known length.
    Whole(WholeFile),
    /// Of unknown length, and perhaps slow.
    Stream(Stream),
}

impl Input {
    pub(crate) fn open(source: Source) -> Result<Input, Error> {
        match source {
            Source::File(path) => open_file(path),
            Source::Stdin => Ok(Input::Stream(stdin()?)),
            Source::Reader(reader) => {
                Ok(Input::Stream(Stream { path: "the input".into(), reader: Reader::Any(reader) }))
            }
        }
    }

    /// Opens a file again, now that somebody is there to take it: it may be another by that name.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] if it has not the length that was announced.
    pub(crate) fn renew(self) -> Result<Input, Error> {
        let Input::Whole(old) = self else { return Ok(self) };
        match File::open(&old.path).and_then(|file| Ok((file.metadata()?, file))) {
            Ok((metadata, file)) if metadata.is_file() && metadata.len() == old.length => {
                Ok(Input::Whole(WholeFile::new(old.path, file, old.length)))
            }
            Ok(_) => Err(old.changed()),
            // It lost its name, and is still what was offered.
            Err(_) => Ok(Input::Whole(old)),
        }
    }

    /// The payload's length in bytes, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Input::Whole(file) => Some(file.length),
            Input::Stream(_) => None,
        }
    }
}

fn open_file(path: PathBuf) -> Result<Input, Error> {
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = match opened {
        Ok(opened) => opened,
        Err(source) if path.is_dir() => {
            drop(source);
            return Err(Error::SourceIsFolder { path });
        }
        Err(source) => return Err(Error::Source { path, source }),
    };
    if metadata.is_dir() {
        return Err(Error::SourceIsFolder { path });
    }
    // Only reading the others to their ends tells how long they are.
    if metadata.is_file() && metadata.len() > 0 && !may_be_made_up(&metadata) {
        return Ok(Input::Whole(WholeFile::new(path, file, metadata.len())));
    }
    Ok(Input::Stream(Stream { path, reader: Reader::File(file) }))
}

fn stdin() -> Result<Stream, Error> {
    let path = PathBuf::from("the standard input");
    #[cfg(unix)]
    {
        // Past the buffer of `io::stdin`, so that it can be waited for.
        use std::os::fd::AsFd;
        match io::stdin().as_fd().try_clone_to_owned() {
            Ok(file) => Ok(Stream { path, reader: Reader::File(file.into()) }),
            Err(source) => Err(Error::Source { path, source }),
        }
    }
    #[cfg(not(unix))]
    Ok(Stream { path, reader: Reader::Any(Box::new(io::stdin())) })
}

/// A regular file, to be sent as it was when it was opened.
#[derive(Debug)]
pub(crate) struct WholeFile {
    path: PathBuf,
    file: File,
    length: u64,
    /// Bytes sent so far.
    sent: u64,
    /// Whether the kernel may still be asked to send by itself.
    zero_copy: bool,
}

impl WholeFile {
    fn new(path: PathBuf, file: File, length: u64) -> WholeFile {
        WholeFile { path, file, length, sent: 0, zero_copy: true }
    }

    /// Bytes still to be sent.
    pub(crate) fn left(&self) -> u64 {
        self.length - self.sent
    }

    /// Whether the file has grown: then it is sent as far as it went when it was opened.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] if it is shorter by now.
    pub(crate) fn has_grown(&self) -> Result<bool, Error> {
        match self.file.metadata() {
            Ok(metadata) if metadata.len() >= self.length => Ok(metadata.len() > self.length),
            Ok(_) => Err(self.changed()),
            Err(source) => Err(Error::Source { path: self.path.clone(), source }),
        }
    }

    /// The error of a file that ended early.
    pub(crate) fn changed(&self) -> Error {
        Error::SourceChanged { path: self.path.clone() }
    }

    /// Lets the kernel send up to `most` bytes; `None` if it will not. What is wrong shows when
    /// they are copied instead.
    pub(crate) fn send_by_kernel(
        &mut self,
        connection: &mut crate::net::Connection,
        most: usize,
    ) -> Result<Option<usize>, Error> {
        if !self.zero_copy {
            return Ok(None);
        }
        if let Ok(count) = connection.send_file(&self.file, &mut self.sent, most) {
            return Ok(Some(count));
        }
        self.zero_copy = false;
        match io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.sent)) {
            Ok(_) => Ok(None),
            Err(source) => Err(Error::Source { path: self.path.clone(), source }),
        }
    }

    /// Reads the next bytes to be sent; 0 at the file's end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = read_some(&mut self.file, buffer)
            .map_err(|source| Error::Source { path: self.path.clone(), source })?;
        self.sent += count as u64;
        Ok(count)
    }
}

/// Something that is read until it ends.
pub(crate) struct Stream {
    path: PathBuf,
    reader: Reader,
}

enum Reader {
    File(File),
    Any(Box<dyn Read + Send>),
}

impl Stream {
    /// Reads some bytes; 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let read = match &mut self.reader {
            Reader::File(file) => read_some(file, buffer),
            Reader::Any(reader) => read_some(reader, buffer),
        };
        read.map_err(|source| Error::Source { path: self.path.clone(), source })
    }

    /// What can be waited for, if anything.
    pub(crate) fn file(&self) -> Option<&File> {
        match &self.reader {
            Reader::File(file) => Some(file),
            Reader::Any(_) => None,
        }
    }
}

/// The key of an upload whose person names none: the file's name.
///
/// # Errors
/// [`Error::SourceIsFolder`] if the path has none, as `..`.
pub fn key_for(path: &Path) -> Result<crate::Key, Error> {
    path.file_name()
        .and_then(|name| crate::Key::parse(name.as_encoded_bytes()).ok())
        .ok_or_else(|| Error::SourceIsFolder { path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Input {
        Input::open(Source::File(path.into())).unwrap()
    }

    #[test]
    fn only_a_regular_file_with_something_in_it_has_a_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "").unwrap();
        assert_eq!(open(&path).length(), None);
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(open(&path).length(), Some(3));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_the_kernel_makes_up_is_read_to_its_end() {
        let Input::Stream(mut stream) = open(Path::new("/proc/self/comm")) else {
            panic!("its length is not known");
        };
        let mut buffer = [0; 64];
        assert!(stream.read(&mut buffer).unwrap() > 1);
        assert_eq!(stream.read(&mut buffer).unwrap(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_kernel_will_not_send_is_copied_from_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "0123456789").unwrap();
        let Input::Whole(mut file) = open(&path) else { panic!("its length is known") };
        file.sent = 4;
        let mut closed = crate::net::connection::tests::closed();
        assert!(matches!(file.send_by_kernel(&mut closed, 6), Ok(None)));
        let mut buffer = [0; 3];
        assert_eq!(file.read(&mut buffer).unwrap(), 3);
        assert_eq!((&buffer, file.left()), (b"456", 3));
        assert!(matches!(file.send_by_kernel(&mut closed, 6), Ok(None)), "not asked again");
    }

    #[test]
    fn a_file_that_changed_is_told_from_one_that_did_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "abc").unwrap();
        let Input::Whole(file) = open(&path) else { panic!("its length is known") };
        assert!(!file.has_grown().unwrap());
        std::fs::write(&path, "abcd").unwrap();
        assert!(file.has_grown().unwrap());
        std::fs::write(&path, "ab").unwrap();
        assert!(matches!(file.has_grown(), Err(Error::SourceChanged { .. })));
    }

    #[test]
    fn the_key_is_the_files_name() {
        assert_eq!(key_for(Path::new("a/stocks.txt")).unwrap().as_bytes(), b"stocks.txt");
        assert!(matches!(key_for(Path::new("..")), Err(Error::SourceIsFolder { .. })));
    }
}
