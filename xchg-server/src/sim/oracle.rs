//! What may be promised to peers, held against what they saw.

use std::collections::BTreeMap;
use std::time::Duration;

use xchg_core::wire::RefusalCode;
use xchg_core::{Event, ExchangeHandle, Outcome, Side};

use super::SECOND;
use super::peer::{Fate, Peer, Seen, Speaks};
use super::world::{World, Wrong};
use crate::Rate;
use crate::dialect::MAX_GREETING_LEN;

/// Whenever the world is at rest, the server's counts are those of what is there.
pub(super) fn counts_agree(world: &World) -> Result<(), Wrong> {
    let (open, held) = (world.shared.admission.open(), world.held_connections());
    if open != held && !world.has_stopped() {
        return Err(world.wrong(format!("{open} connections are counted, {held} are held")));
    }
    let counts = world.shared.broker.counts();
    if counts.waiting > open as u64 {
        return Err(world.wrong(format!("{counts:?} with {open} connections")));
    }
    let panics = world.shared.counters.panics();
    if panics > world.panics_wanted {
        return Err(world.wrong("a panic that nobody wanted"));
    }
    Ok(())
}

/// What an exchange had moved that is over.
pub(super) fn moved_at_the_end(event: Event) -> u64 {
    match event {
        Event::Ended(handle, _) => moved(&handle),
        _ => 0,
    }
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
    let open = world.shared.admission.open();
    if counts.waiting + counts.exchanging > 0 || open > 0 {
        return Err(world.wrong(format!("everybody has gone: {open} open, {counts:?}")));
    }
    if world.holdings().iter().any(|&holds| holds != (0, 0)) {
        return Err(world.wrong(format!("everybody has gone: {:?}", world.holdings())));
    }
    Ok(())
}

/// Where everybody plays and nothing is lost on the way, all goes well: every exchange that has
/// ended is whole, and nobody is failed. Peers look after at most 20 s whether there is something
/// to do.
pub(super) fn all_goes_well(world: &World) -> Result<(), Wrong> {
    let config = &world.shared.config;
    let all_play = world.peers.iter().all(|peer| peer.plan.fate == Fate::Plays);
    let is_patient = config.idle_timeout >= Duration::from_secs(60)
        && config.greeting_timeout >= Duration::from_secs(600)
        && config.wait_timeout.is_none();
    let is_undisturbed = world.panics_wanted + world.cancels == 0;
    if !(all_play && is_patient && is_undisturbed) {
        return Ok(());
    }
    for event in world.events.try_iter() {
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
        && config.limits.waiting_per_origin.is_none();
    // The others' dialects have no word for a refusal.
    let has_words = |peer: &Peer| !matches!(peer.plan.speaks, Speaks::Classic | Speaks::Transit);
    let is_failed = |peer: &Peer| has_words(peer) && peer.seen() == Seen::Failed;
    let failed = world.peers.iter().position(is_failed);
    match failed {
        Some(index) if has_room => {
            Err(world.wrong(format!("peer {index} is failed, and nobody is to blame")))
        }
        _ => Ok(()),
    }
}

/// At the end every peer has had exactly one counterpart's bytes, whole and in order, or a failure
/// that it can recognise.
pub(super) fn all_is_told(world: &World) -> Result<(), Wrong> {
    let mut receivers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, peer) in world.peers.iter().enumerate() {
        let seen = peer.seen();
        if let Seen::Whole(payload) = &seen {
            // One that left first knows that nothing more was to be expected.
            if !peer.is_faithful() && payload.is_empty() {
                continue;
            }
            let from = origin_of(world, index, payload).ok_or_else(|| {
                world.wrong(format!("peer {index} has {} bytes that nobody sent", payload.len()))
            })?;
            // Which of several nobody can tell from nothing.
            if !payload.is_empty() {
                receivers.entry(from).or_default().push(index);
            }
        }
        if peer.is_faithful() && seen == Seen::Nothing && !may_know_nothing(peer) {
            return Err(world.wrong(format!("peer {index} was told nothing")));
        }
    }
    for (from, to) in &receivers {
        let most = usize::from(world.peers[*from].plan.receivers);
        if to.len() > most {
            return Err(world.wrong(format!("{to:?} all have what peer {from} sent")));
        }
    }
    // A panic ends connections at any point, also behind a success that was told.
    if world.panics_wanted == 0 {
        successes_are_true(world, &receivers)?;
    }
    waiters_are_served(world)
}

/// Whose payload this is, of those who could be the counterpart of peer `index`.
fn origin_of(world: &World, index: usize, payload: &[u8]) -> Option<usize> {
    let to = &world.peers[index].plan;
    world.peers.iter().enumerate().position(|(from, peer)| {
        let plan = &peer.plan;
        let transit = plan.speaks == Speaks::Transit;
        let fits = transit || (plan.side, to.side) == (Side::Upload, Side::Download);
        from != index
            && fits
            && transit == (to.speaks == Speaks::Transit)
            && name(&plan.key) == name(&to.key)
            && plan.receivers == to.receivers
            && (plan.payload == payload && (peer.has_sent_all() || is_nothing(peer))
                || may_be_cut(peer) && plan.payload.starts_with(payload))
    })
}

/// Whether all that a peer has to send is nothing, as it has said at once.
fn is_nothing(peer: &Peer) -> bool {
    peer.plan.announces && peer.plan.payload.is_empty()
}

/// Whether nobody can tell that a peer has closed before it had sent everything: where a stream's
/// end is all that ends it, and its length was not said.
fn may_be_cut(peer: &Peer) -> bool {
    let is_bare = match peer.plan.speaks {
        Speaks::Classic | Speaks::Transit => true,
        Speaks::Native => !peer.plan.announces,
        _ => false,
    };
    // In records an end is said.
    is_bare && peer.left_at.is_some() && !peer.plan.is_wrapped
}

/// Keys as the server knows them.
fn name(key: &str) -> String {
    key.replace("%C3%A9", "\u{e9}")
}

/// A classic uploader hears nothing at all, and who half-closed or lost its network may have missed
/// it.
fn may_know_nothing(peer: &Peer) -> bool {
    (peer.plan.speaks == Speaks::Classic && peer.plan.side == Side::Upload)
        || peer.link.lock().is_cut()
        || peer.link.lock().is_given_up()
        || peer.is_closed
}

/// Whoever was told that all was received, had all received.
fn successes_are_true(world: &World, receivers: &BTreeMap<usize, Vec<usize>>) -> Result<(), Wrong> {
    for (index, peer) in world.peers.iter().enumerate() {
        let plan = &peer.plan;
        if peer.seen() != Seen::Received || plan.payload.is_empty() || !peer.is_faithful() {
            continue;
        }
        let have = receivers.get(&index).map_or(0, Vec::len);
        if have < usize::from(plan.receivers) {
            return Err(world.wrong(format!("peer {index} was told of success; {have} have all")));
        }
    }
    Ok(())
}

/// Nobody older is evicted, and a full server still pairs.
fn waiters_are_served(world: &World) -> Result<(), Wrong> {
    let refused = |peer: &Peer| match peer.seen() {
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
            let fits = newcomer.plan.side != waiter.plan.side
                && newcomer.plan.speaks == Speaks::Native
                && newcomer.plan.key == waiter.plan.key;
            let is_later = newcomer.connected_at > since;
            // Its time may have come before the newcomer's greeting.
            // Peers hear of it up to 20 s late.
            let is_early = waiter
                .refused_at
                .zip(newcomer.refused_at)
                .is_some_and(|(at, by)| by + 60 * SECOND < at);
            let of_its_source = world.shared.config.max_connections_per_source.is_some();
            if fits
                && is_later
                && is_early
                && !of_its_source
                && refused(newcomer) == Some(RefusalCode::Busy)
            {
                return Err(world.wrong(format!("peer {other} was refused, and {index} waited")));
            }
        }
    }
    Ok(())
}
