#!/usr/bin/env bash
# Proves that tests/races.rs bites: every mistake below is found in some order of events. Takes some minutes.
source "$(dirname "$0")/../../.ci/mutants"
export RUSTFLAGS='--cfg model'
judge=(cargo test -q --profile model -p xchg-core --test races)
telling='^    [a-z_]+$'

src=xchg-core/src
mutant 'an exchange starts once a drain may have looked' $src/broker.rs \
    'let exchange = registry.start' 'drop(matcher); let exchange = registry.start'
mutant 'an end comes between the look and the wait of a drain' $src/exchange/registry.rs \
    'drop(registry.drain.lock());' ''
mutant 'a drain may not see what ended exchanges have counted' $src/exchange/registry.rs \
    'running.fetch_sub(1, Ordering::Release)' 'running.fetch_sub(1, Ordering::Relaxed)'
mutant 'an exclusive offer looks before it locks' $src/broker.rs \
    'let mut matcher = shards[shard].lock();
        if offer.exclusive && registry.is_held(hash, realm, &offer.key) {' \
    'let is_held = registry.is_held(hash, realm, &offer.key);
        let mut matcher = shards[shard].lock();
        if offer.exclusive && is_held {'
mutant 'a place is taken in two steps' $src/quota.rs \
    'self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .map_err(|_| Refusal::Full)?;' \
    'let waiting = room(self.waiting.load(Ordering::Relaxed)).ok_or(Refusal::Full)?;
        self.waiting.store(waiting, Ordering::Relaxed);'
mutant 'a place of an origin is taken in two steps' $src/quota.rs \
    'let mut per_origin = self.of(origin).lock();
        let count = per_origin.get(&origin).copied().unwrap_or(0);' \
    'let count = self.of(origin).lock().get(&origin).copied().unwrap_or(0);
        let mut per_origin = self.of(origin).lock();'
mutant 'a hook that comes late looks before it locks' $src/exchange/mod.rs \
    'let mut slot = self.shared.on_cancel.lock();
        if self.is_cancelled() {
            hook();
        }' \
    'if self.is_cancelled() {
            hook();
        }
        let mut slot = self.shared.on_cancel.lock();'
mutant 'a hook outlives its exchange' $src/exchange/mod.rs \
    '*self.on_cancel.lock() = None;' ''
mutant 'an end is told before it is counted' $src/exchange/mod.rs \
    'registered.finish(self, ended);
        drop(end);' \
    'drop(end);
        registered.finish(self, ended);'
mutant 'an end wakes nobody' $src/exchange/mod.rs \
    'self.has_ended.notify_all();' ''
mutant 'who subscribes is announced before being there' $src/exchange/events.rs \
    'self.senders.lock().push(sender);
        self.are_any.store(true, Ordering::Release);' \
    'self.are_any.store(true, Ordering::Release);
        self.senders.lock().push(sender);'
verdict
