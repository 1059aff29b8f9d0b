//! Bytes that are read to their end, and places that they are written to as they come.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::sys;

/// Bytes that are read to their end: how many there are, nobody knows before.
///
/// Of a file, such as a named pipe, a plain transfer waits for bytes and for the counterpart at
/// once. A read that blocks otherwise delays what ends the transfer.
///
/// ```
/// use std::io::Read;
/// use xchg_client::files::Stream;
///
/// let mut text = String::new();
/// Stream::new(&b"from memory"[..]).read_to_string(&mut text)?;
/// assert_eq!(text, "from memory");
/// # Ok::<_, std::io::Error>(())
/// ```
pub struct Stream(Kind);

enum Kind {
    File(File),
    Any(Box<dyn Read + Send>),
}

impl Stream {
    /// What `reader` gives.
    pub fn new(reader: impl Read + Send + 'static) -> Self {
        Self(Kind::Any(Box::new(reader)))
    }

    /// The standard input, without the small buffer that [`io::stdin`] has.
    ///
    /// # Errors
    /// If it is closed.
    pub fn stdin() -> io::Result<Self> {
        sys::stdin().map(Self::from)
    }

    /// The file at `path`, if only reading it to its end tells how long it is: a named pipe, a
    /// device, or a file that the system makes up as it is read, as in `/proc`, and whose length it
    /// says is 0. `None` if it is anything else, or cannot be looked at.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let Ok(metadata) = fs::metadata(path) else {
            return Ok(None);
        };
        let says_nothing = metadata.is_file() && metadata.len() == 0;
        let has_content =
            || File::open(path).is_ok_and(|mut file| matches!(file.read(&mut [0]), Ok(1)));
        if sys::is_stream(&metadata) || (says_nothing && has_content()) {
            return File::open(path).map(|file| Some(file.into()));
        }
        Ok(None)
    }

    /// What can be waited for, if anything.
    pub(crate) fn file(&self) -> Option<&File> {
        match &self.0 {
            Kind::File(file) => Some(file),
            Kind::Any(_) => None,
        }
    }
}

impl From<File> for Stream {
    fn from(file: File) -> Self {
        Self(Kind::File(file))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::File(file) => file.read(buffer),
            Kind::Any(reader) => reader.read(buffer),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream(..)")
    }
}

/// The standard output, without the buffer that [`io::stdout`] has for lines.
///
/// # Errors
/// If it is closed.
pub fn stdout() -> io::Result<File> {
    sys::stdout()
}

/// The device or named pipe at `path`, to be written to as it is. `None` if it is anything else, or
/// nothing.
///
/// # Errors
/// If it cannot be opened.
pub fn open_output(path: &Path) -> io::Result<Option<File>> {
    match fs::metadata(path) {
        Ok(metadata) if sys::is_stream(&metadata) => {
            File::options().write(true).open(path).map(Some)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_how_long_it_is_is_no_stream() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        assert!(Stream::open(&path).unwrap().is_none(), "there is none");
        for content in ["", "abc"] {
            fs::write(&path, content).unwrap();
            assert!(Stream::open(&path).unwrap().is_none(), "{content:?}");
        }
        assert!(open_output(&path).unwrap().is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_makes_up_and_devices_are_streams() {
        let mut stream = Stream::open(Path::new("/proc/self/comm")).unwrap().unwrap();
        let mut buffer = [0; 64];
        assert!(stream.read(&mut buffer).unwrap() > 1);
        assert_eq!(stream.read(&mut buffer).unwrap(), 0);
        assert!(open_output(Path::new("/dev/null")).unwrap().is_some());
    }
}
