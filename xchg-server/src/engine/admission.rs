//! How many connections are open, in all and of one source, and how a newcomer stands to that.
//!
//! A full server still pairs: a reserve hears newcomers, and whoever's counterpart waits is served.
//! Only those who would have to wait are refused. Nobody who waits is ever evicted for a newcomer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::origin::Origin;
use crate::{Config, Network};

/// Connections of one source, unless the configuration has another number.
const PER_SOURCE: usize = 256;

/// Connections of one source over its limit that are held for the time that it takes to tell them
/// so, and one more of each worker. Further ones take the place of the oldest of these.
const EXCESS: usize = 16;

/// Connections of one proxy that have not said yet for whom they are. A proxy says so with the
/// connection's first bytes; so these are those that a stranger makes it open within a moment, or a
/// proxy that is set up wrongly.
const UNNAMED: usize = 1024;

/// Connections over the limit of the whole server that are heard at a time.
pub(crate) const RESERVE: usize = 256;

/// How a connection stands to the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Within all of them.
    Within,
    /// The server is full: it is heard, and served if its counterpart waits.
    Reserve,
    /// Its source has more than it may: it is heard, and told so.
    Excess,
    /// A proxy is to say whose it is.
    Unnamed,
}

/// The open connections.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    /// If everybody within the limit waits, each may be joined by a counterpart, and the reserve
    /// goes on hearing others; as far as there are descriptors for that.
    most_at_all: usize,
    per_source: usize,
    /// Who is exempt from the limit of one source, if it is the default: others stand behind them.
    exempt: Option<Vec<Network>>,
    open: AtomicUsize,
    reserve: AtomicUsize,
    sources: Mutex<HashMap<xchg_core::Origin, usize>>,
    /// Connections that are [`Standing::Unnamed`], by the proxy.
    unnamed: Mutex<HashMap<xchg_core::Origin, usize>>,
}

// Relaxed throughout: the counters guard no other memory.
impl Admission {
    /// The bounds of `config`, for a process that may have so many connections at all.
    pub(crate) fn new(config: &Config, descriptors: usize) -> Self {
        let most = config.max_connections;
        Self {
            most,
            most_at_all: most.saturating_mul(2).saturating_add(reserve(most)).min(descriptors),
            per_source: config.max_connections_per_source.unwrap_or(PER_SOURCE),
            exempt: match config.max_connections_per_source {
                Some(_) => None,
                None => Some(config.trusted_proxies.clone()),
            },
            open: AtomicUsize::new(0),
            reserve: AtomicUsize::new(0),
            sources: Mutex::default(),
            unnamed: Mutex::default(),
        }
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether one more may be accepted without closing another.
    pub(crate) fn has_room(&self) -> bool {
        let open = self.open();
        open < self.most_at_all && (open < self.most || !self.is_reserve_full())
    }

    /// Whether no newcomer is heard any more until one of the reserve has been served or has left.
    pub(crate) fn is_reserve_full(&self) -> bool {
        self.reserve.load(Ordering::Relaxed) >= reserve(self.most)
    }

    /// Whether nothing is counted.
    #[cfg(feature = "sim")]
    pub(crate) fn is_forgotten(&self) -> bool {
        let counts = [&self.open, &self.reserve];
        let by_source = [&self.sources, &self.unnamed];
        counts.iter().all(|count| count.load(Ordering::Relaxed) == 0)
            && by_source.iter().all(|counts| counts.lock().is_empty())
    }

    /// Counts a newcomer, and says how it stands.
    pub(crate) fn enter(&self, origin: Origin) -> Standing {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        self.judge(origin, open)
    }

    /// Counts one of `origin`, beside which so many are `open`.
    fn judge(&self, origin: Origin, open: usize) -> Standing {
        match self.count(origin) {
            count if count > self.per_source => Standing::Excess,
            _ if open >= self.most => {
                self.reserve.fetch_add(1, Ordering::Relaxed);
                Standing::Reserve
            }
            _ => Standing::Within,
        }
    }

    /// Counts a newcomer of whom `proxy` is to say who it is; `None` if that has too many of them.
    pub(crate) fn enter_unnamed(&self, proxy: Origin) -> Option<Standing> {
        let mut unnamed = self.unnamed.lock();
        let count = unnamed.entry(proxy.source()).or_insert(0);
        if *count >= UNNAMED {
            return None;
        }
        *count += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Standing::Unnamed)
    }

    /// Counts a connection of `proxy` for the `peer` that it is now known to be for.
    pub(crate) fn name(&self, proxy: Origin, peer: Origin) -> Standing {
        forget(&self.unnamed, proxy);
        // It counts among those that are open already.
        self.judge(peer, self.open().saturating_sub(1))
    }

    /// Counts a connection for another peer, as whose it was counted until now.
    pub(crate) fn rename(&self, from: Origin, to: Origin, standing: &mut Standing) {
        self.uncount(from);
        if self.count(to) > self.per_source {
            self.serve(standing);
            *standing = Standing::Excess;
        } else if *standing == Standing::Excess {
            *standing = Standing::Within;
        }
    }

    /// Whether more connections of one source than are heard over its limit are open.
    pub(crate) fn is_flooded(&self, origin: Origin) -> bool {
        let most = self.per_source.saturating_add(EXCESS);
        self.counts(origin)
            && self.sources.lock().get(&origin.source()).is_some_and(|&count| count > most)
    }

    /// Counts a connection that is served though it came over the limit no longer to the reserve.
    pub(crate) fn serve(&self, standing: &mut Standing) {
        if std::mem::replace(standing, Standing::Within) == Standing::Reserve {
            self.reserve.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection that is gone no more.
    pub(crate) fn leave(&self, origin: Origin, mut standing: Standing) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if standing == Standing::Unnamed {
            return forget(&self.unnamed, origin);
        }
        self.serve(&mut standing);
        self.uncount(origin);
    }

    fn uncount(&self, origin: Origin) {
        if self.counts(origin) {
            forget(&self.sources, origin);
        }
    }

    /// Counts one more of its source, and gives how many that makes.
    fn count(&self, origin: Origin) -> usize {
        if !self.counts(origin) {
            return 0;
        }
        let mut sources = self.sources.lock();
        let count = sources.entry(origin.source()).or_insert(0);
        *count += 1;
        *count
    }

    fn counts(&self, origin: Origin) -> bool {
        self.exempt.as_ref().is_none_or(|proxies| !origin.is_local() && !origin.is_in(proxies))
    }
}

/// Counts one of `origin` less.
fn forget(counts: &Mutex<HashMap<xchg_core::Origin, usize>>, origin: Origin) {
    let mut counts = counts.lock();
    if let Some(count) = counts.get_mut(&origin.source()) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&origin.source());
        }
    }
}

/// How many are heard when `most` are open.
fn reserve(most: usize) -> usize {
    most.min(RESERVE)
}

/// Peers of one source that may wait, unless the configuration has another number. Peers on this
/// machine and trusted proxies are exempt from this default, for others stand behind them; a number
/// that is set is for everybody.
pub(crate) const WAITING_PER_SOURCE: usize = 128;

/// Whom a peer that waits is counted with.
pub(crate) fn waits_for(origin: Origin, config: &Config) -> Option<xchg_core::Origin> {
    let counts = config.limits.waiting_per_origin.is_some() || !config.may_be_many(origin);
    counts.then(|| origin.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(most: usize, per_source: Option<usize>) -> Admission {
        let config = Config {
            max_connections: most,
            max_connections_per_source: per_source,
            ..Config::default()
        };
        Admission::new(&config, usize::MAX)
    }

    fn origin(address: &str) -> Origin {
        Origin::of(address.parse().unwrap())
    }

    #[test]
    fn one_source_takes_no_more_than_its_share() {
        let admission = admission(1_000, None);
        let (greedy, other) = (origin("192.0.2.1"), origin("192.0.2.2"));
        let stands: Vec<_> = (0..300).map(|_| admission.enter(greedy)).collect();
        assert!(stands[..256].iter().all(|&standing| standing == Standing::Within));
        assert!(stands[256..].iter().all(|&standing| standing == Standing::Excess));
        assert_eq!(admission.enter(other), Standing::Within);
        assert!(admission.is_flooded(greedy) && !admission.is_flooded(other));
        stands.into_iter().for_each(|standing| admission.leave(greedy, standing));
        assert_eq!(admission.enter(greedy), Standing::Within);
    }

    #[test]
    fn this_machine_is_exempt_from_the_default_only() {
        for local in [origin("127.0.0.1"), origin("::1"), Origin::UNIX] {
            let default = admission(1_000, None);
            assert!((0..600).all(|_| default.enter(local) == Standing::Within));
            let set = admission(1_000, Some(1));
            assert_eq!(set.enter(local), Standing::Within);
            assert_eq!(set.enter(local), Standing::Excess);
        }
    }

    #[test]
    fn a_proxys_connections_count_for_whom_they_are() {
        let admission = admission(10_000, None);
        let (proxy, peer) = (origin("127.0.0.1"), origin("192.0.2.1"));
        let enter = || {
            assert_eq!(admission.enter_unnamed(proxy), Some(Standing::Unnamed));
            admission.name(proxy, peer)
        };
        let stands: Vec<_> = (0..300).map(|_| enter()).collect();
        assert!(stands[..256].iter().all(|&standing| standing == Standing::Within));
        assert!(stands[256..].iter().all(|&standing| standing == Standing::Excess));
        assert_eq!(admission.name(proxy, origin("192.0.2.2")), Standing::Within);
        // Those that it says nothing of are bounded, for each proxy.
        let unnamed = (0..2_000).map_while(|_| admission.enter_unnamed(proxy)).count();
        assert_eq!(unnamed, UNNAMED);
        assert!(admission.enter_unnamed(origin("192.0.2.9")).is_some());
        (0..unnamed).for_each(|_| admission.leave(proxy, Standing::Unnamed));
        assert!(admission.enter_unnamed(proxy).is_some());
        stands.into_iter().for_each(|standing| admission.leave(peer, standing));
        assert_eq!(enter(), Standing::Within);
    }

    #[test]
    fn a_connection_is_counted_for_each_of_its_requests() {
        let admission = admission(1_000, Some(1));
        let (proxy, peer) = (origin("192.0.2.9"), origin("192.0.2.1"));
        let [mut first, mut second] = [(); 2].map(|()| {
            let mut standing = admission.enter(proxy);
            admission.rename(proxy, peer, &mut standing);
            standing
        });
        assert_eq!((first, second), (Standing::Within, Standing::Excess));
        admission.rename(peer, proxy, &mut first);
        admission.rename(peer, origin("192.0.2.2"), &mut second);
        assert_eq!((first, second), (Standing::Within, Standing::Within));
        admission.leave(proxy, first);
        admission.leave(origin("192.0.2.2"), second);
        assert!(admission.sources.lock().is_empty() && admission.open() == 0);
    }

    #[test]
    fn a_full_server_hears_as_many_as_its_reserve_holds_at_a_time() {
        let admission = admission(300, None);
        let local = origin("127.0.0.1");
        (0..300).for_each(|_| assert_eq!(admission.enter(local), Standing::Within));
        for _ in 0..300 {
            // Each is heard, and paired with one of those who wait.
            assert!(admission.has_room());
            let mut standing = admission.enter(local);
            assert_eq!(standing, Standing::Reserve);
            admission.serve(&mut standing);
        }
        let silent: Vec<_> = (0..256).map(|_| admission.enter(local)).collect();
        assert!(!admission.has_room() && admission.is_reserve_full());
        silent.into_iter().for_each(|standing| admission.leave(local, standing));
        (0..600).for_each(|_| admission.leave(local, Standing::Within));
        assert_eq!((admission.open(), admission.is_reserve_full()), (0, false));
    }
}
