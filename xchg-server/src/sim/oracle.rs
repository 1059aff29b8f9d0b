//! What may be promised to peers, held against what they saw.

use std::collections::BTreeMap;
use std::time::Duration;

use xchg_core::wire::RefusalCode;
use xchg_core::{Event, ExchangeHandle, Outcome, Side};

use super::SECOND;
use super::peer::Peer;
use super::plan::{Fate, Seen, Speaks, Wants};
use super::world::{World, Wrong};
use crate::dialect::MAX_GREETING_LEN;
use crate::dialect::http::MAX_HEAD_BYTES;
use crate::engine::shared::Shared;
use crate::{Access, Rate};

/// Whenever the world is at rest, the server's counts are those of what is there.
pub(super) fn counts_agree(world: &World) -> Result<(), Wrong> {
    let open: usize = world.servers().map(|shared| shared.admission.open()).sum();
    let held = world.held_connections();
    if open != held && !world.has_stopped() {
        return Err(world.wrong(format!("{open} connections are counted, {held} are held")));
    }
    let counts = world.shared.broker.counts();
    if counts.waiting > open as u64 {
        return Err(world.wrong(format!("{counts:?} with {open} connections")));
    }
    let panics: u64 = world.servers().map(|shared| shared.counters.panics()).sum();
    if panics > world.panics_wanted {
        return Err(world.wrong("a panic that nobody wanted"));
    }
    Ok(())
}

/// An exchange that is over has moved no more than it may, and was not given up too early. Gives
/// how much it has moved.
pub(super) fn moved_at_the_end(world: &World, event: Event) -> Result<u64, Wrong> {
    let Event::Ended(handle, ended) = event else { return Ok(0) };
    let config = &world.shared.config;
    if let Some(most) = config.max_exchange_bytes
        // What came with a greeting is moved as it is.
        && let Some(bytes) = Side::BOTH
            .map(|side| handle.moved_from(side))
            .into_iter()
            .find(|&bytes| bytes > most + 1 + MAX_GREETING_LEN as u64)
    {
        return Err(world.wrong(format!("{} has moved {bytes} bytes of {most}", handle.id())));
    }
    let time = world.since(handle.started());
    // It is seen a moment later than it was.
    if ended.outcome == Outcome::TimedOut && time < config.idle_timeout {
        return Err(world.wrong(format!("{} has timed out after {time:?}", handle.id())));
    }
    Ok(moved(&handle))
}

fn moved(handle: &ExchangeHandle) -> u64 {
    Side::BOTH.map(|side| handle.moved_from(side)).iter().sum()
}

/// No exchange, and not all together, of which those that are over have moved so much, move more
/// than their limits allow in the time that they had.
pub(super) fn limits_are_kept(world: &World, moved_before: u64) -> Result<(), Wrong> {
    // What came with a greeting leaves with the first portion, and what follows pays for it.
    let block = 1_200 + MAX_GREETING_LEN as u64;
    // What is made up for that was not used in time, and a portion of each that is about to be
    // moved.
    let most = |rate: Rate, time: Duration, exchanges: u64| {
        let millis = time.as_millis() * 102 / 100 + 100;
        let bytes = u128::from(rate.get()) * millis / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX) + exchanges * block
    };
    let config = &world.shared.config;
    if config.limit_rate_exchange.is_none() && config.limit_rate_total.is_none() {
        return Ok(());
    }
    let running = world.shared.broker.exchanges();
    for handle in &running {
        let time = world.since(handle.started());
        if let Some(rate) = config.limit_rate_exchange
            && moved(handle) > most(rate, time, 1)
        {
            let (id, bytes) = (handle.id(), moved(handle));
            return Err(
                world.wrong(format!("{id} has moved {bytes} bytes in {time:?} of {rate} a second"))
            );
        }
    }
    let all = moved_before + running.iter().map(moved).sum::<u64>();
    if let Some(rate) = config.limit_rate_total
        && all > most(rate, world.age(), 1 + running.len() as u64)
    {
        let age = world.age();
        return Err(world.wrong(format!("{all} bytes were moved in {age:?} of {rate} a second")));
    }
    Ok(())
}

/// When everybody has gone, no place, exchange or connection is left.
pub(super) fn nothing_is_left(world: &World) -> Result<(), Wrong> {
    let counts = world.shared.broker.counts();
    let open: usize = world.servers().map(|shared| shared.admission.open()).sum();
    for Shared { admission, .. } in world.servers() {
        if !admission.is_forgotten() {
            return Err(world.wrong(format!("everybody has gone: {admission:?}")));
        }
    }
    if counts.waiting + world.exchanging() > 0 || open > 0 {
        return Err(world.wrong(format!("everybody has gone: {open} open, {counts:?}")));
    }
    if world.exchanges() > 0 {
        return Err(world.wrong(format!("everybody has gone: {} exchanges", world.exchanges())));
    }
    Ok(())
}

/// Where everybody plays and nothing is lost on the way, all goes well: every exchange that has
/// ended is whole, and nobody is failed. Peers look after at most 20 s whether there is something
/// to do.
pub(super) fn all_goes_well(world: &World) -> Result<(), Wrong> {
    let config = &world.shared.config;
    let plays = |peer: &Peer| peer.plan.fate == Fate::Plays && peer.plan.speaks != Speaks::Nonsense;
    let all_play = world.peers.iter().all(plays);
    let is_patient = config.idle_timeout >= Duration::from_secs(60)
        && config.greeting_timeout >= Duration::from_secs(600)
        && config.wait_timeout.is_none();
    let is_undisturbed = world.panics_wanted + world.cancels == 0;
    if !(all_play && is_patient && is_undisturbed && config.max_exchange_bytes.is_none()) {
        return Ok(());
    }
    for event in world.events.iter().flat_map(|events| events.try_iter()) {
        if let Event::Ended(handle, ended) = event
            && ended.outcome != Outcome::Completed
        {
            return Err(world.wrong(format!("exchange {} has {ended:?}", handle.id())));
        }
    }
    let has_room = config.max_connections >= world.peers.len()
        && config.max_connections_per_source.is_none()
        && config.limits.waiting >= world.peers.len()
        && config.limits.waiting_per_key >= world.peers.len()
        && config.limits.waiting_per_origin.is_none()
        && config.max_offers_per_second.is_none();
    // The others' dialects have no word for a refusal.
    let has_words = |peer: &Peer| !matches!(peer.plan.speaks, Speaks::Classic | Speaks::Transit);
    let is_failed = |peer: &Peer| {
        has_words(peer)
            && !says_too_much(peer)
            && !is_told_too_much(peer)
            && !may_lose_what_it_has(peer)
            && is_served(world, peer)
            && peer.seen().contains(&Seen::Failed)
    };
    let failed = world.peers.iter().position(is_failed);
    match failed {
        // Whoever is about to make its next request may be told that the server goes.
        Some(index) if has_room && world.exchanged_at.is_none() => {
            Err(world.wrong(format!("peer {index} is failed, and nobody is to blame")))
        }
        None if has_room => nobody_is_forgotten(world),
        _ => Ok(()),
    }
}

/// Nobody who waits notices that the server is exchanged for another.
pub(super) fn nobody_is_let_go(world: &World) -> Result<(), Wrong> {
    let Some(at) = world.exchanged_at else { return Ok(()) };
    let is_let_go = |peer: &Peer| {
        peer.waits_since.is_some_and(|since| since < at)
            && peer.seen()[0] == Seen::Refused(Some(RefusalCode::Draining))
    };
    match world.peers.iter().position(is_let_go) {
        Some(index) => Err(world.wrong(format!("peer {index} waited, and was let go"))),
        None => Ok(()),
    }
}

/// While the server runs, whoever is let go of within records is told its end there.
pub(super) fn ends_are_said(world: &World) -> Result<(), Wrong> {
    match world.peers.iter().position(Peer::is_cut_short) {
        Some(index) if world.panics_wanted == 0 => {
            Err(world.wrong(format!("peer {index} is let go of, and its end is not said")))
        }
        _ => Ok(()),
    }
}

/// Once nothing moves any more, whoever is still to be told something waits for a counterpart.
fn nobody_is_forgotten(world: &World) -> Result<(), Wrong> {
    let awaited: Result<Vec<_>, _> = world.peers.iter().map(Peer::awaits).collect();
    let counts = world.shared.broker.counts();
    let Ok(awaited) = awaited else { return Ok(()) };
    if world.exchanging() > 0 {
        return Ok(());
    }
    let waiting = awaited.iter().flatten().count() as u64;
    if waiting != counts.waiting {
        return Err(world.wrong(format!("{waiting} wait for an answer; {counts:?}")));
    }
    Ok(())
}

/// A native peer that has ended its stream while it waits has left, and is let go of.
pub(super) fn half_closed_are_let_go(world: &World) -> Result<(), Wrong> {
    let lingers = |peer: &Peer| {
        let link = peer.link.lock();
        let is_heard = link.up.has_end && link.up.received.is_empty();
        let is_quiet = link.down.unacknowledged() == 0 && !link.is_given_up();
        let is_held = is_heard && is_quiet && !link.is_closed_by_server;
        drop(link);
        is_held
            && peer.plan.speaks == Speaks::Native
            && matches!(peer.plan.fate, Fate::Ends(_))
            && !peer.is_closed
            && !peer.has_heard_of_match()
    };
    match world.peers.iter().position(lingers) {
        Some(index) if !world.has_stopped() => {
            Err(world.wrong(format!("peer {index} has ended, and is held")))
        }
        _ => Ok(()),
    }
}

/// One part of one peer.
type Of = (usize, usize);

/// At the end every peer has had exactly one counterpart's bytes, whole and in order, or a failure
/// that it can recognise.
pub(super) fn all_is_told(world: &World) -> Result<(), Wrong> {
    let mut receivers: BTreeMap<Of, Vec<Of>> = BTreeMap::new();
    let seen: Vec<Vec<Seen>> = world.peers.iter().map(Peer::seen).collect();
    let all = seen.iter().enumerate().flat_map(|(index, parts)| {
        parts.iter().enumerate().map(move |(part, seen)| ((index, part), seen))
    });
    for (of, seen_here) in all {
        let peer = &world.peers[of.0];
        if let Seen::Whole(payload) = seen_here {
            let most = world.shared.config.max_exchange_bytes.unwrap_or(u64::MAX);
            if payload.len() as u64 > most {
                return Err(world.wrong(format!("peer {of:?} has more than {most} bytes")));
            }
            // One for whom a proxy alone has spoken has asked for nothing, and may see an end.
            let is_amid = |at| at < peer.greeting && at != peer.plan.preface().len();
            if matches!(peer.plan.fate, Fate::Ends(at) if is_amid(at)) {
                return Err(world.wrong(format!("peer {of:?} has what it did not ask for")));
            }
            // One that left first knows that nothing more was to be expected.
            if !peer.is_faithful() && payload.is_empty() {
                continue;
            }
            if !is_served(world, peer) {
                return Err(world.wrong(format!("peer {of:?} has what it has no right to")));
            }
            let from = origin_of(world, &seen, of, payload).ok_or_else(|| {
                world.wrong(format!("peer {of:?} has {} bytes that nobody sent", payload.len()))
            })?;
            // Which of several nobody can tell from nothing.
            if !payload.is_empty() {
                receivers.entry(from).or_default().push(of);
            }
        }
        if peer.is_faithful() && *seen_here == Seen::Nothing && !may_know_nothing(peer) {
            return Err(world.wrong(format!("peer {of:?} was told nothing")));
        }
    }
    for (&(peer, part), to) in &receivers {
        if to.len() > usize::from(world.peers[peer].plan.parts[part].receivers) {
            return Err(world.wrong(format!("{to:?} all have what peer {peer} sent")));
        }
    }
    // A panic ends connections at any point, also behind a success that was told.
    if world.panics_wanted == 0 {
        successes_are_true(world, &seen, &receivers)?;
    }
    waiters_are_served(world)
}

/// Whose payload this is, of those who could be the counterpart of a part.
fn origin_of(world: &World, seen: &[Vec<Seen>], to: Of, payload: &[u8]) -> Option<Of> {
    let (plan, part) = (&world.peers[to.0].plan, &world.peers[to.0].plan.parts[to.1]);
    let fits = |from: Of| {
        let peer = &world.peers[from.0];
        let one = &peer.plan.parts[from.1];
        let transit = peer.plan.speaks == Speaks::Transit;
        from != to
            // What the server had said that it would not hear is nobody's.
            && seen[from.0][from.1] != Seen::Unasked
            && (transit || (one.is(Side::Upload) && part.is(Side::Download)))
            && transit == (plan.speaks == Speaks::Transit)
            && name(&one.key) == name(&part.key)
            && one.receivers == part.receivers
            && (one.payload == payload && (peer.has_sent(from.1) || is_nothing(peer, from.1))
                || may_be_cut(peer) && one.payload.starts_with(payload))
    };
    let peers = world.peers.iter().enumerate();
    let all = peers.flat_map(|(from, peer)| (0..peer.plan.parts.len()).map(move |at| (from, at)));
    all.into_iter().find(|&from| fits(from))
}

/// Whether all that a peer has to send is nothing, as it has said at once.
fn is_nothing(peer: &Peer, part: usize) -> bool {
    let part = &peer.plan.parts[part];
    part.announces && !part.is_form && part.payload.is_empty()
}

/// Whether nobody can tell that a peer has closed before it had sent everything: where a stream's
/// end is all that ends it, and its length was not said.
fn may_be_cut(peer: &Peer) -> bool {
    let is_bare = match peer.plan.speaks {
        Speaks::Classic | Speaks::Transit => true,
        Speaks::Native => !peer.plan.parts[0].announces,
        _ => false,
    };
    // In records an end is said; and who ends its stream behind its greeting has said it.
    let ends = matches!(peer.plan.fate, Fate::Ends(_));
    is_bare && peer.left_at.is_some() && (!peer.plan.is_wrapped || ends)
}

/// Keys as the server knows them.
fn name(key: &str) -> String {
    key.replace("%C3%A9", "\u{e9}")
}

/// A classic uploader hears nothing at all, and who half-closed or lost its network may have missed
/// it.
fn may_know_nothing(peer: &Peer) -> bool {
    (peer.plan.speaks == Speaks::Classic && peer.is(Side::Upload))
        || peer.link.lock().is_cut()
        || peer.link.lock().is_given_up()
        || peer.is_closed
}

/// Whoever was told that all was received, had all received; and nobody was granted what no server
/// would do.
fn successes_are_true(
    world: &World,
    seen: &[Vec<Seen>],
    receivers: &BTreeMap<Of, Vec<Of>>,
) -> Result<(), Wrong> {
    for (index, peer) in world.peers.iter().enumerate() {
        for (at, part) in peer.plan.parts.iter().enumerate() {
            let of = (index, at);
            if matches!(part.wants, Wants::Refusal(_)) && seen[index][at] == Seen::Answered {
                return Err(world.wrong(format!("peer {of:?} was granted what it asked for")));
            }
            let is_told = seen[index][at] == Seen::Received && peer.is_faithful();
            if is_told && !is_served(world, peer) {
                return Err(world.wrong(format!("peer {of:?} was served without a right to it")));
            }
            let have = receivers.get(&of).map_or(0, Vec::len);
            let may_lack = world.peers.iter().filter(|peer| may_lose_what_it_has(peer)).count();
            if is_told && !part.payload.is_empty() && have + may_lack < usize::from(part.receivers)
            {
                return Err(
                    world.wrong(format!("peer {of:?} was told of success; {have} have all"))
                );
            }
        }
    }
    Ok(())
}

/// Whether a downloader goes on to talk behind its last request. Its system acknowledges what came,
/// and loses it again by the reset that answers what nobody hears, if it is slow to read.
fn may_lose_what_it_has(peer: &Peer) -> bool {
    let closes = matches!(peer.plan.speaks, Speaks::HttpClosing | Speaks::Http10);
    closes && peer.plan.pipelines && peer.plan.parts.len() > 1 && peer.is(Side::Download)
}

/// Whether a peer may ask for an exchange while a page fills its buffer, which no real one is too
/// narrow for: there is no room then for the word that it has to wait.
fn is_told_too_much(peer: &Peer) -> bool {
    const PAGES: usize = 4_000;
    let parts = &peer.plan.parts;
    let mut behind = parts.iter().skip_while(|part| !matches!(part.wants, Wants::Page(_))).skip(1);
    peer.plan.pipelines
        && behind.any(|part| matches!(part.wants, Wants::Exchange(_)))
        && peer.link.lock().down.buffer < PAGES
}

/// Whether a downloader may say more before it is answered than anybody listens to: its connection
/// is then closed behind the answer.
fn says_too_much(peer: &Peer) -> bool {
    let behind = peer.plan.parts.iter().skip_while(|part| !part.is(Side::Download)).skip(1);
    let bytes: usize = behind.map(|part| 200 + part.payload.len()).sum();
    peer.plan.pipelines && bytes > MAX_HEAD_BYTES
}

/// Whether a peer may exchange something where it comes to, by what it shows.
fn is_served(world: &World, peer: &Peer) -> bool {
    peer.plan.is_served(world.shared.config.access == Access::Token)
}

/// Nobody older is evicted, and a full server still pairs.
fn waiters_are_served(world: &World) -> Result<(), Wrong> {
    let refused = |peer: &Peer| match peer.seen()[0] {
        Seen::Refused(code) => code,
        _ => None,
    };
    for (index, waiter) in world.peers.iter().enumerate() {
        let Some(since) = waiter.waits_since else { continue };
        if refused(waiter) == Some(RefusalCode::Busy) {
            return Err(world.wrong(format!("peer {index} waited, and was evicted")));
        }
        // One that was matched may not have come to hear of it.
        let is_there = waiter.refused_at.is_some() && waiter.plan.fate == Fate::Plays;
        if !is_there {
            continue;
        }
        for (other, newcomer) in world.peers.iter().enumerate() {
            let fits = newcomer.is(Side::Upload) != waiter.is(Side::Upload)
                && newcomer.plan.speaks == Speaks::Native
                && newcomer.plan.parts[0].key == waiter.plan.parts[0].key;
            let is_later = newcomer.connected_at > since;
            // Its time may have come before the newcomer's greeting.
            // Peers hear of it up to 20 s late.
            let is_early = waiter
                .refused_at
                .zip(newcomer.refused_at)
                .is_some_and(|(at, by)| by + 60 * SECOND < at);
            let config = &world.shared.config;
            let of_its_source = config.max_connections_per_source.is_some()
                || config.max_offers_per_second.is_some();
            if fits
                && is_later
                && is_early
                && !of_its_source
                && is_served(world, newcomer)
                && refused(newcomer) == Some(RefusalCode::Busy)
            {
                return Err(world.wrong(format!("peer {other} was refused, and {index} waited")));
            }
        }
    }
    Ok(())
}
