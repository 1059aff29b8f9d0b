//! What a world is made of: the server's settings, and the peers that come.

use std::time::Duration;

use xchg_core::wire::{Command, Greeting, Offer, Token};
use xchg_core::{Key, Limits, Realm, Side};

use super::link::{Buffers, Shape};
use super::plan::{Comes, Fate, PROXY, Part, Plan, Speaks, TOKEN, Wants};
use super::random::Random;
use super::sources::HOSTS;
use super::{SECOND, Time};
use crate::{Access, Config, Listen, Rate, Tls};

pub(super) fn config(random: &mut Random, workers: usize) -> Config {
    let limit = |random: &mut Random| {
        let is_limited = random.once_in(4);
        is_limited.then(|| Rate::new(5_000 + random.skewed(1_000_000) as u64)).flatten()
    };
    let seconds = |random: &mut Random, most| Duration::from_secs(1 + random.below(most));
    let listen = [Comes::Directly, Comes::Astray, Comes::Secured].map(|comes| Listen {
        proxy: comes == Comes::Astray,
        tls: (comes == Comes::Secured).then_some(Tls::Required),
        ..Listen::default()
    });
    Config {
        workers,
        listen: listen.into(),
        trusted_proxies: vec![PROXY.to_string().parse().expect("it is a network of one")],
        access: if random.once_in(8) { Access::Token } else { Access::Open },
        token: Token::parse(TOKEN.as_bytes()).ok(),
        max_offers_per_second: random.once_in(16).then(|| random.pick(&[1, 2])),
        max_connections: random.pick(&[2, 4, 8, 1_000, 1_000, 1_000]),
        max_connections_per_source: random.pick(&[None, None, Some(3)]),
        limits: Limits {
            waiting: random.pick(&[2, 100, 100, 100]),
            waiting_per_key: random.pick(&[1, 100, 100, 100]),
            waiting_per_origin: random.pick(&[None, None, Some(2)]),
        },
        max_exchange_bytes: random.once_in(8).then(|| random.skewed(50_000) as u64),
        limit_rate_exchange: limit(random),
        limit_rate_source: limit(random),
        limit_rate_total: limit(random),
        idle_timeout: seconds(random, 300),
        closed_wait: seconds(random, 300),
        greeting_timeout: Duration::from_secs(random.pick(&[10, 600])),
        pipe_size: random.pick(&[4 << 10, 64 << 10, 1 << 20]),
        wait_timeout: random.once_in(4).then(|| seconds(random, 200)),
        ..Config::default()
    }
}

/// How large the things of a world are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Bytes of a payload at most.
    payload: u64,
    /// No buffer is smaller than this, so that every payload passes in some dozens of steps. What
    /// the server says of its own fits, so that all that moves is payload.
    narrowest: usize,
    widest: u64,
    /// Whether what is large is as frequent as what is small.
    is_wide: bool,
}

impl Scale {
    pub(super) fn of(random: &mut Random) -> Self {
        // Some are a little more than is read at once, so that they count as bulk; or much more
        // that comes at once, so that it is spliced.
        let (payload, widest, is_wide) = match random.below(16) {
            0 | 1 => (100_000, 100_000, false),
            2 => (250_000, 400_000, true),
            _ => (5_000, 100_000, false),
        };
        let narrowest = 400 + usize::try_from(payload).unwrap_or(0) / 30;
        Self { payload, narrowest, widest, is_wide }
    }

    fn size(self, random: &mut Random, most: u64) -> usize {
        if self.is_wide {
            usize::try_from(random.below(most)).unwrap_or(0)
        } else {
            random.skewed(most)
        }
    }

    /// How a connection is made.
    pub(super) fn shape(self, random: &mut Random) -> Shape {
        let splices = match random.below(4) {
            0 => 0,
            1 => self.size(random, self.payload) as u64,
            _ => u64::MAX,
        };
        // What is large comes faster than it goes, so that some of it is held in between.
        let buffers = |random: &mut Random, widest| Buffers {
            buffer: self.narrowest + self.size(random, widest),
            window: self.narrowest + self.size(random, widest),
        };
        Shape {
            up: buffers(random, self.widest),
            down: buffers(random, if self.is_wide { self.widest / 8 } else { self.widest }),
            latency: random.below(200_000),
            splices,
        }
    }
}

/// How many pipes the workers of a world may have.
pub(super) fn pipes(random: &mut Random) -> usize {
    random.pick(&[0, 1, 4, 64, 64])
}

/// What is chosen once for all peers of a world.
struct Cast {
    scale: Scale,
    keys: u64,
    /// How many receivers those who speak http name.
    receivers: u16,
    all_play: bool,
}

/// The peers of a world, and when each comes.
pub(super) fn plans(random: &mut Random, scale: Scale) -> Vec<(Time, Plan)> {
    let keys = 1 + random.below(3);
    let count = 2 + random.below(10);
    let receivers = random.pick(&[1, 1, 1, 1, 2, 3]);
    let cast = Cast { scale, keys, receivers, all_play: random.once_in(4) };
    (0..count).map(|index| (random.below(30 * SECOND), cast.plan(index, random))).collect()
}

impl Cast {
    fn plan(&self, index: u64, random: &mut Random) -> Plan {
        let dialects = [
            Speaks::Classic,
            Speaks::Native,
            Speaks::Http,
            Speaks::HttpClosing,
            Speaks::Http10,
            Speaks::Transit,
        ];
        let is_odd = !self.all_play && random.once_in(20);
        let speaks = if is_odd { Speaks::Nonsense } else { random.pick(&dialects) };
        let fate = self.fate(random);
        let comes = self.comes(speaks, random);
        let chain = if speaks.is_http() && random.once_in(3) { 1 + random.below(4) } else { 1 };
        let mut parts: Vec<Part> =
            (0..chain).map(|nth| self.part(speaks, index * 8 + nth, chain > 1, random)).collect();
        if is_odd {
            parts[0].payload = nonsense(random);
        }
        let most = parts.iter().map(|part| part.payload.len()).max().unwrap_or(0);
        Plan {
            speaks,
            comes,
            host: u8::try_from(random.below(HOSTS as u64)).unwrap_or(0),
            token: self.token(random),
            pipelines: random.once_in(2),
            wait: random.once_in(5).then(|| u32::try_from(random.below(100)).unwrap_or(0)),
            fate,
            is_steady: self.scale.is_wide,
            pace: 1 + most / 30 + self.scale.size(random, self.scale.widest.max(200_000)),
            hesitates: random.once_in(12),
            is_wrapped: random.once_in(4)
                || matches!(fate, Fate::Breaks(_))
                || (comes == Comes::Secured && !random.once_in(4)),
            // Native peers say goodbye: an uploader closes once it has the receipt.
            stays: speaks != Speaks::Native && random.once_in(4),
            parts,
        }
    }

    fn fate(&self, random: &mut Random) -> Fate {
        let acts = |random: &mut Random| u32::try_from(random.skewed(40)).unwrap_or(0) + 1;
        match random.below(15) {
            _ if self.all_play => Fate::Plays,
            0 => Fate::Closes(acts(random)),
            1 => Fate::Resets(acts(random)),
            2 => Fate::Vanishes(acts(random)),
            3 => Fate::Halts(acts(random)),
            5 if random.once_in(2) => Fate::Breaks(random.skewed(8)),
            // Often behind the whole of it.
            4 => Fate::Ends(1 + random.skewed(200)),
            _ => Fate::Plays,
        }
    }

    fn comes(&self, speaks: Speaks, random: &mut Random) -> Comes {
        match random.below(20) {
            0..3 => Comes::Proxied { in_words: random.once_in(2) },
            3..5 if speaks.is_http() => Comes::Forwarded,
            5 => Comes::Secured,
            6 if !self.all_play => Comes::Astray,
            _ => Comes::Directly,
        }
    }

    /// Most show the right one, be it that nobody asks for it.
    fn token(&self, random: &mut Random) -> Option<&'static str> {
        match random.below(8) {
            0 => None,
            1 if !self.all_play => Some("mellon"),
            _ => Some(TOKEN),
        }
    }

    fn part(&self, speaks: Speaks, nth: u64, is_chained: bool, random: &mut Random) -> Part {
        const KEYS: [&str; 3] = ["a", "b\u{e9}", "c"];
        const PAGES: [&str; 3] = ["healthz", "help", "version"];
        const REFUSALS: [&str; 3] = ["DELETE /a", "GET /a?n=0", "PUT /help"];
        let key = KEYS[usize::try_from(random.below(self.keys)).unwrap_or(0)].to_owned();
        let wants = match random.below(8) {
            0 if is_chained => Wants::Page(random.pick(&PAGES)),
            1 if is_chained => Wants::Refusal(random.pick(&REFUSALS)),
            _ => Wants::Exchange(random.pick(&Side::BOTH)),
        };
        Part {
            wants,
            // A percent sign and the like are other tests' matter.
            key: if speaks.is_http() { key.replace('\u{e9}', "%C3%A9") } else { key },
            payload: payload(nth, self.scale.size(random, self.scale.payload)),
            receivers: if speaks.is_http() { self.receivers } else { 1 },
            announces: random.once_in(2),
            is_form: speaks.is_http() && random.once_in(4),
        }
    }
}

/// Bytes that no other part of the world has, unless there are none.
fn payload(nth: u64, len: usize) -> Vec<u8> {
    let mut bytes = Random::new(nth.wrapping_mul(0x1000) + 77);
    let tag = u8::try_from(nth).unwrap_or(0);
    std::iter::once(tag)
        .chain(std::iter::from_fn(move || Some(bytes.next().to_le_bytes()[0])))
        .take(len)
        .collect()
}

/// What somebody says who speaks nothing that is spoken here: anything, or a greeting with a
/// mistake in it. It names a key that nobody else does, for it may pass all the same.
fn nonsense(random: &mut Random) -> Vec<u8> {
    let len = 1 + random.skewed(2_000);
    let any = |random: &mut Random| random.next().to_le_bytes()[0];
    let key = Key::parse(b"zz").expect("it is short");
    let offer = Offer::new(Realm::Plain, Side::Download, key);
    let mut bytes = match random.below(5) {
        0 => return (0..len).map(|_| any(random)).collect(),
        1 => Greeting::new(Command::Offer(offer)).encode(),
        2 => b"Gzz\0\0\0\0\0\0".to_vec(),
        3 => format!("please relay {:f>64}\n", "").into_bytes(),
        _ => b"GET /zz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    };
    let at = usize::try_from(random.below(bytes.len() as u64)).unwrap_or(0);
    match random.below(3) {
        0 => bytes[at] = any(random),
        1 => drop(bytes.remove(at)),
        _ => bytes.insert(at, any(random)),
    }
    bytes
}
