//! What a world is made of: the server's settings, and the peers that come.

use std::time::Duration;

use xchg_core::{Limits, Side};

use super::peer::{Fate, Plan, Speaks};
use super::random::Random;
use super::{SECOND, Time};
use crate::{Config, Rate};

pub(super) fn config(random: &mut Random, workers: usize) -> Config {
    let limit = |random: &mut Random| {
        let is_limited = random.once_in(4);
        is_limited.then(|| Rate::new(5_000 + random.skewed(1_000_000) as u64)).flatten()
    };
    let seconds = |random: &mut Random, most| Duration::from_secs(1 + random.below(most));
    Config {
        workers,
        max_connections: *random.pick(&[2, 4, 8, 1_000, 1_000, 1_000]),
        max_connections_per_source: *random.pick(&[None, None, Some(3)]),
        limits: Limits {
            waiting: *random.pick(&[2, 100, 100, 100]),
            waiting_per_key: *random.pick(&[1, 100, 100, 100]),
            waiting_per_origin: *random.pick(&[None, None, Some(2)]),
        },
        limit_rate_exchange: limit(random),
        limit_rate_source: limit(random),
        limit_rate_total: limit(random),
        idle_timeout: seconds(random, 300),
        closed_wait: seconds(random, 300),
        greeting_timeout: Duration::from_secs(*random.pick(&[10, 600])),
        wait_timeout: random.once_in(4).then(|| seconds(random, 200)),
        ..Config::default()
    }
}

/// The peers of a world, and when each comes.
pub(super) fn plans(random: &mut Random) -> Vec<(Time, Plan)> {
    const KEYS: [&str; 3] = ["a", "b\u{e9}", "c"];
    let keys = 1 + random.below(3);
    let count = 2 + random.below(10);
    let groups = random.once_in(3);
    let all_play = random.once_in(4);
    (0..count)
        .map(|index| {
            let dialects = [
                Speaks::Classic,
                Speaks::Native,
                Speaks::Http,
                Speaks::HttpClosing,
                Speaks::Http10,
                Speaks::Transit,
            ];
            let speaks = *random.pick(&dialects);
            let acts = |random: &mut Random| u32::try_from(random.skewed(40)).unwrap_or(0) + 1;
            let fate = match random.below(12) {
                _ if all_play => Fate::Plays,
                0 => Fate::Closes(acts(random)),
                1 => Fate::Resets(acts(random)),
                2 => Fate::Vanishes(acts(random)),
                3 => Fate::Halts(acts(random)),
                _ => Fate::Plays,
            };
            let key = KEYS[usize::try_from(random.below(keys)).unwrap_or(0)].to_owned();
            let is_http = matches!(speaks, Speaks::Http | Speaks::HttpClosing | Speaks::Http10);
            let receivers = if groups && is_http { 2 } else { 1 };
            let payload = payload(index, random);
            let plan = Plan {
                speaks,
                side: *random.pick(&Side::BOTH),
                // A percent sign and the like are other tests' matter.
                key: if is_http { key.replace('\u{e9}', "%C3%A9") } else { key },
                pace: 1 + payload.len() / 30 + random.skewed(200_000),
                payload,
                receivers,
                announces: random.once_in(2),
                wait: random.once_in(5).then(|| u32::try_from(random.below(100)).unwrap_or(0)),
                fate,
                // Native peers say goodbye: an uploader closes once it has the receipt.
                is_wrapped: random.once_in(4),
                stays: speaks != Speaks::Native && random.once_in(4),
            };
            (random.below(30 * SECOND), plan)
        })
        .collect()
}

/// Bytes that no other peer of the world has, unless there are none.
fn payload(peer: u64, random: &mut Random) -> Vec<u8> {
    // Some more than is read at once, so that they count as bulk.
    let most = if random.once_in(8) { 100_000 } else { 5_000 };
    let len = random.skewed(most);
    let mut bytes = Random::new(peer.wrapping_mul(0x1000) + 77);
    let tag = u8::try_from(peer).unwrap_or(0);
    std::iter::once(tag)
        .chain(std::iter::from_fn(move || Some(bytes.next().to_le_bytes()[0])))
        .take(len)
        .collect()
}
