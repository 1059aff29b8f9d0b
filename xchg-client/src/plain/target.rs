//! Where a downloaded payload goes: never under its final name before it is whole, and never over
//! anything unasked.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::files::Existing;
#[cfg(unix)]
use crate::files::available_bytes;
use crate::files::folder_of;
use crate::files::names::is_device;
use crate::sys::Pipe;
use crate::terminal::is_deceptive;
use crate::{Error, Key};

/// The longest file name in bytes that common file systems take.
const MAX_NAME_LEN: usize = 255;

/// The greatest number that is put behind a name.
const MAX_NUMBER: u32 = 9999;

/// Where a downloaded payload goes.
#[non_exhaustive]
pub enum Target {
    /// A file, or an existing folder, in which the file is named after the key. A device or a named
    /// pipe is written to as it is.
    Path {
        /// Its name.
        path: PathBuf,
        /// What to do if there is something already under the name.
        existing: Existing,
    },
    /// The standard output.
    Stdout,
    /// Anything. A write that blocks delays a cancellation.
    Writer(Box<dyn Write + Send>),
}

impl Target {
    /// The same once more, if it can be opened again.
    pub(crate) fn again(&self) -> Option<Target> {
        match self {
            Target::Path { path, existing } => {
                Some(Target::Path { path: path.clone(), existing: *existing })
            }
            Target::Stdout => Some(Target::Stdout),
            Target::Writer(_) => None,
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Path { path, existing } => {
                f.debug_struct("Path").field("path", path).field("existing", existing).finish()
            }
            Target::Stdout => f.write_str("Stdout"),
            Target::Writer(_) => f.write_str("Writer(..)"),
        }
    }
}

/// A target that was looked at, and found good as far as one can tell before the payload comes.
pub(crate) enum Output {
    /// A new file, or a replaced one.
    File {
        path: PathBuf,
        existing: Existing,
    },
    Writer(Sink),
}

impl Output {
    pub(crate) fn open(target: Target, key: &Key) -> Result<Output, Error> {
        match target {
            Target::Path { path, existing } => open_path(path, existing, key),
            Target::Stdout => Ok(Output::Writer(Sink::writer(None, stdout()?))),
            Target::Writer(writer) => Ok(Output::Writer(Sink::writer(None, writer))),
        }
    }

    /// Makes room for a payload of `length` bytes, if that is known.
    pub(crate) fn start(self, length: Option<u64>) -> Result<Sink, Error> {
        match self {
            Output::Writer(sink) => Ok(sink),
            Output::File { path, existing } => {
                if let Some(needed) = length {
                    check_space(folder_of(&path), needed)?;
                }
                let file = temporary_file(&path)?;
                Ok(Sink(Kind::File { path, existing, file }))
            }
        }
    }
}

fn open_path(path: PathBuf, existing: Existing, key: &Key) -> Result<Output, Error> {
    let path = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {
            let name = file_name(key).ok_or_else(|| Error::UnsafeName { key: key.clone() })?;
            if path == Path::new(".") { name.into() } else { path.join(name) }
        }
        Ok(metadata) if is_stream(&metadata) => {
            return match File::options().write(true).open(&path) {
                Ok(file) => Ok(Output::Writer(Sink::writer(Some(path), Box::new(file)))),
                Err(source) => Err(Error::Target { path: Some(path), source }),
            };
        }
        _ => path,
    };
    if ends_in_separator(&path) || path.file_name().is_none() {
        return Err(Error::Target { path: Some(path), source: io::ErrorKind::NotFound.into() });
    }
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {
            Err(Error::Target { path: Some(path), source: io::ErrorKind::IsADirectory.into() })
        }
        Ok(_) if existing == Existing::Refuse => Err(Error::TargetExists { path }),
        _ => {
            // Better to learn now than after a long wait that nothing can be written there.
            drop(temporary_file(&path)?);
            Ok(Output::File { path, existing })
        }
    }
}

/// The name under which a download of `key` is kept if nobody names another: the key's last
/// component, as in a path. `None` if that is not safe to show and to create.
pub fn file_name(key: &Key) -> Option<String> {
    let name = str::from_utf8(key.as_bytes()).ok()?.rsplit(['/', '\\']).next()?;
    let is_safe = !matches!(name, "" | "." | "..")
        && name.len() <= MAX_NAME_LEN
        && !name.contains(is_deceptive)
        && (cfg!(not(windows)) || fits_windows(name));
    is_safe.then(|| name.to_owned())
}

/// Whether Windows takes the name for a file and keeps it as it is
/// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
fn fits_windows(name: &str) -> bool {
    !name.contains(['<', '>', ':', '"', '|', '?', '*'])
        && !name.ends_with(['.', ' '])
        && !is_device(name)
}

#[cfg(unix)]
fn is_stream(metadata: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_char_device() || metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_stream(_: &Metadata) -> bool {
    false
}

fn ends_in_separator(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last();
    last.is_some_and(|&byte| std::path::is_separator(byte.into()))
}

/// The standard output without the buffer that `io::stdout` has for lines.
fn stdout() -> Result<Box<dyn Write + Send>, Error> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(file) => Ok(Box::new(File::from(file))),
            Err(source) => Err(Error::Target { path: None, source }),
        }
    }
    #[cfg(not(unix))]
    Ok(Box::new(io::stdout()))
}

/// Hidden, in the folder of `path` so that renaming it is one step, and removed when dropped.
fn temporary_file(path: &Path) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".xchg-").suffix(".part");
    #[cfg(unix)]
    {
        // What any new file gets: the process's umask is taken away from this.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder_of(path))
        .map_err(|source| Error::Target { path: Some(path.into()), source })
}

#[cfg(unix)]
fn check_space(folder: &Path, needed: u64) -> Result<(), Error> {
    // Some file systems cannot tell. Then writing will.
    match rustix::fs::statvfs(folder).ok().as_ref().and_then(available_bytes) {
        Some(available) if needed > available => {
            Err(Error::NoSpace { folder: folder.into(), needed, available })
        }
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_space(_: &Path, _: u64) -> Result<(), Error> {
    Ok(())
}

/// Takes a payload.
pub(crate) struct Sink(Kind);

enum Kind {
    File { path: PathBuf, existing: Existing, file: NamedTempFile },
    Writer { path: Option<PathBuf>, writer: Box<dyn Write + Send> },
}

impl Sink {
    fn writer(path: Option<PathBuf>, writer: Box<dyn Write + Send>) -> Sink {
        Sink(Kind::Writer { path, writer })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (path, written) = match &mut self.0 {
            Kind::File { path, file, .. } => (Some(&*path), file.write_all(bytes)),
            Kind::Writer { path, writer } => (path.as_ref(), writer.write_all(bytes)),
        };
        written.map_err(|source| Error::Target { path: path.cloned(), source })
    }

    /// Whether [`write_from`](Self::write_from) can be asked.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.0, Kind::File { .. })
    }

    /// Writes the `count` bytes that are in `pipe`, without copying them through this process where
    /// the file system can.
    pub(crate) fn write_from(&mut self, pipe: &Pipe, mut count: usize) -> Result<(), Error> {
        while count > 0 {
            let moved = match &self.0 {
                Kind::File { file, .. } => pipe.drain_into(file.as_file(), count),
                Kind::Writer { .. } => Err(io::ErrorKind::Unsupported.into()),
            };
            count -= match moved {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    let mut bytes = vec![0; count];
                    let read = pipe.read(&mut bytes).map_err(|error| self.failed(error))?;
                    self.write(&bytes[..read])?;
                    read
                }
                moved => moved.map_err(|error| self.failed(error))?,
            };
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> Error {
        let path = match &self.0 {
            Kind::File { path, .. } => Some(path.clone()),
            Kind::Writer { path, .. } => path.clone(),
        };
        Error::Target { path, source }
    }

    /// The payload is whole: makes it last, and gives the file its name, which it returns.
    ///
    /// # Errors
    /// [`Error::TargetExists`] if somebody else took the name meanwhile.
    pub(crate) fn keep(self) -> Result<Option<PathBuf>, Error> {
        match self.0 {
            Kind::File { path, existing, file } => match persist(&path, existing, file) {
                Ok(path) => Ok(Some(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Err(Error::TargetExists { path })
                }
                Err(source) => Err(Error::Target { path: Some(path), source }),
            },
            Kind::Writer { path, mut writer } => match writer.flush() {
                Ok(()) => Ok(path),
                Err(source) => Err(Error::Target { path, source }),
            },
        }
    }
}

/// Gives `file` the name, or a numbered one, and makes that last.
fn persist(path: &Path, existing: Existing, mut file: NamedTempFile) -> io::Result<PathBuf> {
    file.as_file().sync_all()?;
    let mut named = path.to_owned();
    if existing == Existing::Overwrite {
        file.persist(path)?;
    } else {
        let mut number = 0;
        while let Err(failed) = file.persist_noclobber(&named) {
            let is_taken = failed.error.kind() == io::ErrorKind::AlreadyExists;
            if !is_taken || existing == Existing::Refuse || number == MAX_NUMBER {
                return Err(failed.error);
            }
            number += 1;
            file = failed.file;
            named.set_file_name(numbered(path, number));
        }
    }
    // The new name lasts only once the folder is on the disk too.
    if cfg!(unix) {
        File::open(folder_of(path))?.sync_all()?;
    }
    Ok(named)
}

/// The last component of `path` with a number before its extension: `a (1).txt`.
fn numbered(path: &Path, number: u32) -> OsString {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(" ({number})"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_the_last_part_of_its_key() {
        for (key, name) in [
            (&b"stocks.txt"[..], Some("stocks.txt")),
            (b"a/b/stocks.txt", Some("stocks.txt")),
            (b"/etc/passwd", Some("passwd")),
            (b"..\\..\\boot.ini", Some("boot.ini")),
            (b"../x", Some("x")),
            (b".hidden", Some(".hidden")),
            (b"with space", Some("with space")),
            ("ünï 日本".as_bytes(), Some("ünï 日本")),
            (b".", None),
            (b"..", None),
            (b"a/", None),
            (b"a/..", None),
            (b"/", None),
            (b"nul\0byte", None),
            (b"new\nline", None),
            (b"\x1b[31m", None),
            ("\u{202e}txt.exe".as_bytes(), None),
            ("zero\u{200b}width".as_bytes(), None),
            (b"not utf-8 \xff", None),
        ] {
            let key = Key::parse(key).unwrap();
            assert_eq!(file_name(&key).as_deref(), name);
        }
    }

    #[test]
    fn windows_takes_fewer_names() {
        for (name, fits) in [
            ("stocks.txt", true),
            ("console", true),
            ("com10", true),
            ("COMMON", true),
            ("CON", false),
            ("con.txt", false),
            ("nul .tar.gz", false),
            ("Com1", false),
            ("LPT9.x", false),
            ("COM\u{b9}", false),
            ("CONIN$", false),
            ("trailing.", false),
            ("trailing ", false),
            ("file:stream", false),
            ("what?", false),
        ] {
            assert_eq!(fits_windows(name), fits, "{name}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_in_a_pipe_reaches_files_and_whatever_else() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::parse(b"k").unwrap();
        let path = folder.path().join("new");
        let other = folder.path().join("other");
        let writer = File::create(&other).unwrap();
        for (target, path) in [
            (Target::Path { path: path.clone(), existing: Existing::Refuse }, &path),
            (Target::Writer(Box::new(writer)), &other),
        ] {
            let (mut peer, socket) = std::os::unix::net::UnixStream::pair().unwrap();
            peer.write_all(b"in the pipe").unwrap();
            let pipe = Pipe::new().unwrap();
            assert_eq!(pipe.fill(&socket.into(), 100).unwrap(), 11);
            let mut sink = Output::open(target, &key).unwrap().start(None).unwrap();
            sink.write(b"copied, ").unwrap();
            sink.write_from(&pipe, 11).unwrap();
            sink.keep().unwrap();
            assert_eq!(fs::read(path).unwrap(), b"copied, in the pipe");
        }
    }

    #[test]
    fn what_is_not_kept_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let key = Key::parse(b"k").unwrap();
        let open = || {
            let target = Target::Path { path: path.clone(), existing: Existing::Refuse };
            Output::open(target, &key).unwrap().start(Some(3)).unwrap()
        };
        let names = || fs::read_dir(folder.path()).unwrap().count();

        let mut sink = open();
        sink.write(b"abc").unwrap();
        assert!(!path.exists());
        drop(sink);
        assert_eq!(names(), 0);

        let mut sink = open();
        sink.write(b"abc").unwrap();
        assert_eq!(sink.keep().unwrap().as_ref(), Some(&path));
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert_eq!(names(), 1);
    }
}
