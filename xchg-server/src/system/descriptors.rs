//! How many connections and pipes the process's limit of descriptors allows.

use rustix::process::{Resource, getrlimit};

use crate::Config;
use crate::engine::admission::RESERVE;

/// Descriptors that a server needs beside those of its workers and connections: standard streams,
/// signals, and what it and its host open now and then.
const OTHERS: usize = 16;

/// Descriptors of a worker: its poll, and what wakes that.
const OF_A_WORKER: usize = 2;

/// The descriptors of a server, shared out. Pipes make bulk cheaper, and it is copied where there
/// are none; so they get no more than a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections open at once, with those of the reserve.
    pub(crate) connections: usize,
    /// Pipes of each worker.
    pub(crate) pipes: usize,
}

impl Descriptors {
    /// The fewest connections that are any use. If there are no descriptors for them, the kernel
    /// says so at each, and so does the log.
    const FEWEST: usize = 2;

    /// What this process's limit leaves for `workers` and so many `listeners`.
    pub(crate) fn here(workers: usize, listeners: usize) -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        Self::within(limit.unwrap_or(usize::MAX), workers, listeners)
    }

    fn within(limit: usize, workers: usize, listeners: usize) -> Self {
        let fixed = OTHERS + OF_A_WORKER * workers + listeners;
        let left = limit.saturating_sub(fixed);
        let pipes = left / 4 / 2 / workers;
        let connections = left - pipes * workers * 2;
        Self { connections: connections.max(Self::FEWEST), pipes }
    }

    /// Lowers the connections that `config` allows to as many as there are descriptors for, and
    /// says so.
    pub(crate) fn bound(self, config: &mut Config) {
        // Of a few connections half are the reserve.
        let reserve = RESERVE.min(self.connections / 2);
        let most = (self.connections - reserve).max(Self::FEWEST);
        if most < config.max_connections {
            tracing::warn!(
                max_connections = config.max_connections,
                lowered_to = most,
                "the limit of descriptors allows fewer connections than are configured; raise it \
                 (`ulimit -n`, or LimitNOFILE= of a systemd unit)"
            );
            config.max_connections = most;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_out_is_never_more_than_there_is() {
        for limit in [0, 1, 20, 40, 64, 100, 1024, 4096, 20_000, 65_536, 1 << 20, usize::MAX] {
            for (workers, listeners) in [(1, 1), (2, 2), (8, 24), (1024, 1024)] {
                let shares = Descriptors::within(limit, workers, listeners);
                let fixed = OTHERS + OF_A_WORKER * workers + listeners;
                let all = shares.connections + 2 * workers * shares.pipes;
                let left = limit.saturating_sub(fixed);
                assert!(all <= left.max(2), "{limit} {workers}: {shares:?}");
                assert!(shares.connections >= all / 4 * 3, "{limit} {workers}: {shares:?}");
            }
        }
    }

    #[test]
    fn two_peers_may_meet_however_few_descriptors_there_seem_to_be() {
        for limit in 0..40 {
            let shares = Descriptors::within(limit, 2, 2);
            assert!(shares.connections >= 2, "{limit}: {shares:?}");
        }
    }

    #[test]
    fn the_configuration_is_lowered_only_where_it_must_be() {
        let lowered = |limit| {
            let mut config = Config::default();
            Descriptors::within(limit, 2, 2).bound(&mut config);
            config.max_connections
        };
        assert_eq!(lowered(usize::MAX), 65_536);
        assert_eq!(lowered(1 << 20), 65_536);
        assert_eq!(lowered(20_000), 14_730);
        assert_eq!(lowered(1024), 498);
        assert_eq!(lowered(40), 7);
        assert_eq!(lowered(0), 2, "and the kernel says the rest");
    }
}
