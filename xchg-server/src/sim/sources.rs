//! What each source of a world moves, held against the limit of a source.

use super::link::Link;
use super::peer::Peer;
use super::plan::Speaks;
use super::world::{World, Wrong};
use super::{SECOND, Time};
use crate::dialect::MAX_GREETING_LEN;

/// How many sources the peers of a world come from.
pub(super) const HOSTS: usize = 3;

/// What each source has moved, up and down, beyond what its limit has allowed for meanwhile: a
/// bucket that leaks at the limit's rate.
#[derive(Debug, Default)]
pub(super) struct Sources {
    at: Time,
    buckets: [[Bucket; 2]; HOSTS],
}

#[derive(Debug, Default, Clone, Copy)]
struct Bucket {
    moved: u64,
    level: u64,
}

impl Sources {
    /// No source moves more than its limit allows, whenever one looks.
    pub(super) fn are_within_their_limit(&mut self, world: &World) -> Result<(), Wrong> {
        let passed = world.now - self.at;
        self.at = world.now;
        let Some(rate) = world.shared.config.limit_rate_source.map(|rate| rate.get()) else {
            return Ok(());
        };
        let of_host = |host: usize| {
            world.peers.iter().filter(move |peer| usize::from(peer.plan.host) == host)
        };
        for (host, buckets) in self.buckets.iter_mut().enumerate() {
            // What is made up for that was not used in time, what each begins with, and what came
            // with its greeting.
            let parts: usize = of_host(host).map(|peer| peer.plan.parts.len()).sum();
            let slack = rate / 5 + parts as u64 * (1_500 + MAX_GREETING_LEN as u64);
            for (bucket, moved) in buckets.iter_mut().zip([up, down]) {
                let all: u64 = of_host(host).map(|peer| moved(peer, &peer.link.lock())).sum();
                let leaks = rate.saturating_mul(passed) / SECOND;
                bucket.level = bucket.level.saturating_sub(leaks) + all - bucket.moved;
                bucket.moved = all;
                if bucket.level > slack {
                    let level = bucket.level;
                    let what = format!("source {host} is {level} bytes above {rate} a second");
                    return Err(world.wrong(what));
                }
            }
        }
        Ok(())
    }
}

/// What a peer has sent, of those that send payload only once they are matched.
fn up(peer: &Peer, link: &Link) -> u64 {
    let waits = matches!(peer.plan.speaks, Speaks::Native | Speaks::Transit);
    if waits && !peer.plan.is_wrapped { link.taken_by_server() } else { 0 }
}

/// What a peer has been sent, of those that get it as it is.
fn down(peer: &Peer, link: &Link) -> u64 {
    let is_bare = !peer.plan.speaks.is_http() && !peer.plan.is_wrapped;
    if is_bare { link.given_by_server() } else { 0 }
}
