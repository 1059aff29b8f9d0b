//! The certificate that newcomers are served with, exchanged when its files change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustls::ServerConfig;

use super::files::{Files, Material, Problem};

/// How long before its end a certificate is warned of: whoever renews does so weeks before.
const SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How often that is said.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificate in use, and where the next comes from. Connections keep what they began with.
#[derive(Debug)]
pub(crate) struct Store {
    files: Files,
    current: Mutex<Material>,
    reloads: AtomicU64,
    failures: AtomicU64,
    /// Whether the files hold what cannot be used.
    is_outdated: AtomicBool,
    watch: Mutex<Watch>,
}

#[derive(Debug)]
struct Watch {
    /// What the last look has found: a digest of it, for there is a private key in it.
    seen: Result<Vec<u8>, Problem>,
    /// Why that is not in use, and whether it was said.
    problem: Option<(Problem, bool)>,
    /// When the certificate's end was last warned of.
    warned: Option<SystemTime>,
}

/// How a certificate's end stands to the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    Far,
    Soon,
    Over,
}

impl Expiry {
    pub(crate) fn of(not_after: SystemTime, now: SystemTime) -> Self {
        match not_after.duration_since(now) {
            Err(_) => Self::Over,
            Ok(left) if left < SOON => Self::Soon,
            Ok(_) => Self::Far,
        }
    }

    /// What is to be said of it, if anything.
    pub(crate) fn warning(self) -> Option<&'static str> {
        match self {
            Self::Far => None,
            Self::Soon => Some("the TLS certificate expires within a week; renew it"),
            Self::Over => {
                Some("the TLS certificate has expired; clients refuse it until it is renewed")
            }
        }
    }
}

impl Store {
    /// Reads the files.
    ///
    /// # Errors
    /// If they cannot be used.
    pub(crate) fn open(files: Files) -> Result<Self, Problem> {
        let contents = files.read()?;
        let material = files.parse(&contents)?;
        let seen = Ok(contents.digest().as_ref().to_vec());
        Ok(Self {
            files,
            current: Mutex::new(material),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            is_outdated: AtomicBool::new(false),
            watch: Mutex::new(Watch { seen, problem: None, warned: None }),
        })
    }

    /// What the next connection is made with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.current.lock().config.clone()
    }

    /// Until when the certificate in use holds.
    pub(crate) fn not_after(&self) -> SystemTime {
        self.current.lock().not_after
    }

    /// What is to be said of that, if anything.
    pub(crate) fn warning(&self, now: SystemTime) -> Option<&'static str> {
        Expiry::of(self.not_after(), now).warning()
    }

    /// How often another certificate was taken.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// How often one was found that cannot be used.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether the last one that was found cannot be used, so that an older one is in use.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Relaxed)
    }

    /// Takes what the files hold if that has changed and can be used. What cannot is complained of
    /// at the second look only: a renewal changes one file after the other.
    pub(crate) fn look(&self, now: SystemTime) {
        let mut watch = self.watch.lock();
        let contents = self.files.read();
        let seen = match &contents {
            Ok(contents) => Ok(contents.digest().as_ref().to_vec()),
            Err(problem) => Err(problem.clone()),
        };
        if seen != watch.seen {
            watch.seen = seen;
            watch.problem = match contents.and_then(|contents| self.files.parse(&contents)) {
                Ok(material) => {
                    self.take(material);
                    self.is_outdated.store(false, Ordering::Relaxed);
                    watch.warned = None;
                    None
                }
                Err(problem) => Some((problem, false)),
            };
        } else if let Some((problem, told @ false)) = &mut watch.problem {
            *told = true;
            self.is_outdated.store(true, Ordering::Relaxed);
            self.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%problem, "the new TLS certificate cannot be used; the old one stays");
        }
        self.warn(&mut watch, now);
    }

    /// Says what certificate is in use.
    #[expect(clippy::disallowed_methods, reason = "for the log alone")]
    pub(crate) fn tell(&self) {
        let current = self.current.lock();
        let left = current.not_after.duration_since(SystemTime::now()).unwrap_or_default();
        let days_left = left.as_secs() / DAY.as_secs();
        tracing::info!(sha256 = current.fingerprint, days_left, "TLS certificate");
    }

    fn take(&self, material: Material) {
        *self.current.lock() = material;
        self.reloads.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    /// Warns of the certificate's end, once a day.
    fn warn(&self, watch: &mut Watch, now: SystemTime) {
        let Some(warning) = self.warning(now) else { return };
        let is_due = |then| now.duration_since(then).is_ok_and(|passed| passed >= DAY);
        if watch.warned.is_none_or(is_due) {
            watch.warned = Some(now);
            tracing::warn!("{warning}");
        }
    }
}
