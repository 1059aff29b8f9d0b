//! Looks now and then whether files have changed.

use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// How often. What has changed is taken after two looks that see the same.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// The most bytes that a file may have: some 20,000 tokens, and twenty times what a bundle of all
/// authorities there are has.
const MAX_BYTES: u64 = 4 << 20;

/// What looks at a file, and takes it if it is another.
pub(crate) type Look = Box<dyn Fn() + Send>;

/// The thread that looks. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Has all of `looks` done every [`INTERVAL`]; none takes no thread.
    ///
    /// # Errors
    /// If the system has no thread.
    pub(crate) fn start(looks: Vec<Look>) -> io::Result<Self> {
        if looks.is_empty() {
            return Ok(Self { stop: None, thread: None });
        }
        let (stop, stops) = crossbeam_channel::bounded::<()>(0);
        let run = move || {
            while stops.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                for look in &looks {
                    // Unwind safe: what a look has left half done, the next begins anew.
                    if catch_unwind(AssertUnwindSafe(look)).is_err() {
                        tracing::error!(
                            "looking at a file panicked, which is a mistake in the server"
                        );
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("xchg-watch".to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Its panics are caught.
            thread.join().ok();
        }
    }
}

/// Reads a file that is looked at. Nobody is waited for, such as who would write into a pipe.
///
/// # Errors
/// Why it cannot be used, and what to do, in words.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    const IRREGULAR: &str = "it is no regular file, which could be read again when it has changed";
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "it cannot be read: let the server's user read it (chown, chmod 600)".to_owned()
        }
        _ => format!("it cannot be read: {error}"),
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A socket, or a device that nothing is behind.
        Err(Errno::NXIO | Errno::NODEV) => return Err(IRREGULAR.to_owned()),
        Err(errno) => return Err(failed(errno.into())),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(IRREGULAR.to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        Err("it is longer than 4 MiB".to_owned())
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_regular_file_of_bounded_length_is_read_and_nobody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let size = usize::try_from(MAX_BYTES).unwrap();
        std::fs::write(path("longest"), vec![b'x'; size]).unwrap();
        std::fs::write(path("longer"), vec![b'x'; size + 1]).unwrap();
        symlink("longest", path("link")).unwrap();
        symlink("loop", path("loop")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), Mode::RUSR).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for name in ["longest", "link"] {
            assert_eq!(read(&path(name)).unwrap().len(), size, "{name}");
        }
        for (name, why) in [
            ("none", "there is no such file"),
            ("longest/none", "it cannot be read: "),
            ("loop", "it cannot be read: "),
            ("longer", "it is longer than 4 MiB"),
            ("pipe", "it is no regular file"),
            ("socket", "it is no regular file"),
            ("", "it is no regular file"),
            ("/dev/zero", "it is no regular file"),
            ("/dev/null", "it is no regular file"),
        ] {
            let said = read(&path(name)).unwrap_err();
            assert!(said.starts_with(why), "{name}: {said}");
        }
    }
}
