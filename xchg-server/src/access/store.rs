//! The tokens of a file, exchanged when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::tokens::Tokens;
use crate::{Error, watch};

/// The tokens in use, and the file that the next come from.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    current: Mutex<Arc<Tokens>>,
    reloads: AtomicU64,
    failures: AtomicU64,
    /// Whether the file holds what cannot be used.
    is_outdated: AtomicBool,
    watch: Mutex<Watch>,
}

/// What the last looks have found.
struct Watch {
    text: Result<String, String>,
    /// Whether that was dealt with: taken, or complained of.
    is_settled: bool,
}

impl Store {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) fn open(path: &Path) -> Result<Self, Vec<Error>> {
        let text = read(path).map_err(|why| vec![wrong(path, &why)])?;
        let tokens = Tokens::parse(&text);
        let tokens =
            tokens.map_err(|all| all.iter().map(|why| wrong(path, why)).collect::<Vec<_>>())?;
        let watch = Watch { text: Ok(text), is_settled: true };
        Ok(Self {
            path: path.to_owned(),
            current: Mutex::new(Arc::new(tokens)),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            is_outdated: AtomicBool::new(false),
            watch: Mutex::new(watch),
        })
    }

    /// The tokens that count now.
    pub(crate) fn current(&self) -> Arc<Tokens> {
        self.current.lock().clone()
    }

    /// How often others were taken.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// How often some were found that cannot be used.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether the file holds what cannot be used, so that older tokens are in use.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Relaxed)
    }

    /// Takes what the file holds once two looks have seen the same: whoever writes it may be in the
    /// midst of that. If it cannot be used, the old tokens stay.
    pub(crate) fn look(&self) {
        let mut watch = self.watch.lock();
        let text = read(&self.path);
        if text != watch.text {
            *watch = Watch { text, is_settled: false };
        } else if !watch.is_settled {
            watch.is_settled = true;
            let path = self.path.display();
            match text.map_err(|why| vec![why]).and_then(|text| Tokens::parse(&text)) {
                Ok(tokens) => {
                    let mut current = self.current.lock();
                    tracing::info!(%path, tokens = tokens.len(), "took the changed token file");
                    *current = Arc::new(tokens.after(&current));
                    self.reloads.fetch_add(1, Ordering::Relaxed);
                    self.is_outdated.store(false, Ordering::Relaxed);
                }
                Err(mistakes) => {
                    let mistakes = mistakes.join("; ");
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    self.is_outdated.store(true, Ordering::Relaxed);
                    tracing::error!(%path, mistakes, "the changed token file cannot be used; the old tokens stay");
                }
            }
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("is_settled", &self.is_settled).finish_non_exhaustive()
    }
}

fn wrong(path: &Path, why: &str) -> Error {
    Error::Config { setting: "token-file", why: format!("{}: {why}", path.display()) }
}

fn read(path: &Path) -> Result<String, String> {
    String::from_utf8(watch::read(path)?).map_err(|_| "it is no text in UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use xchg_core::wire::Token;

    use super::*;

    fn knows(store: &Store, token: &str) -> bool {
        store.current().find(&Token::parse(token.as_bytes()).unwrap()).is_some()
    }

    #[test]
    fn a_changed_file_is_taken_once_it_is_at_rest_and_a_broken_one_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("first");
        let store = Store::open(&path).unwrap();
        store.look();
        assert!(knows(&store, "first") && !knows(&store, "second"));
        write("second");
        store.look();
        assert!(!knows(&store, "second"), "it may be written on");
        store.look();
        assert!(knows(&store, "second") && !knows(&store, "first"));
        for broken in ["", "third oops", "# nothing", "third\nthird", "third \u{0}name"] {
            write(broken);
            (0..3).for_each(|_| store.look());
            assert!(knows(&store, "second") && !knows(&store, "third"), "{broken:?}");
            assert!(store.is_outdated());
        }
        assert_eq!((store.reloads(), store.failures()), (1, 5), "each is complained of once");
        std::fs::write(&path, b"third \xff").unwrap();
        (0..3).for_each(|_| store.look());
        std::fs::remove_file(&path).unwrap();
        (0..3).for_each(|_| store.look());
        std::fs::create_dir(&path).unwrap();
        (0..3).for_each(|_| store.look());
        assert!(knows(&store, "second"));
        std::fs::remove_dir(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        (0..3).for_each(|_| store.look());
        assert!(knows(&store, "second"));
        std::fs::remove_file(&path).unwrap();
        // As a link to another file, as secrets are mounted.
        std::fs::write(folder.path().join("new"), "third").unwrap();
        std::os::unix::fs::symlink("new", &path).unwrap();
        (0..2).for_each(|_| store.look());
        assert!(knows(&store, "third") && !knows(&store, "second"));
        assert!(!store.is_outdated());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let told = || {
            let mistakes = Store::open(&path).unwrap_err();
            mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let expect = |parts: &[&str]| {
            let told = told();
            let name = path.display().to_string();
            assert!(told.starts_with("token-file: ") && told.contains(&name), "{told}");
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        };
        expect(&["no such file"]);
        std::fs::create_dir(&path).unwrap();
        expect(&["no regular file"]);
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "a b\nc d").unwrap();
        expect(&["line 1: ", "line 2: "]);
        std::fs::write(&path, b"a\xff").unwrap();
        expect(&["UTF-8"]);
        std::fs::write(&path, vec![b'#'; (4 << 20) + 1]).unwrap();
        expect(&["longer than"]);
    }
}
