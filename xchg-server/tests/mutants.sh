#!/usr/bin/env bash
# Proves that the simulation bites: some seed below 10,000 finds every mistake below. Takes some minutes.
source "$(dirname "$0")/../../.ci/mutants"
export XCHG_SIM_SEEDS=0..10000
# As a library, and optimised: what is built and what is run take some seconds each.
judge=(cargo test -q --profile model -p xchg-server --no-default-features --test sim)
telling='^seed'

src=xchg-server/src
mutant 'an edge is dropped' $src/engine/stream.rs \
    'if ready.is_readable || ready.has_read_end {' 'if ready.has_read_end {'
mutant 'a message is lost' $src/engine/messages.rs \
    'Message::Release(slot) => self.guard' 'Message::Release(_) if self.index == 0 => {} Message::Release(slot) => self.guard'
mutant 'a place is not freed' $src/engine/mod.rs \
    'if self.shared.broker.withdraw(place).is_some() {' 'let _ = place; {'
mutant 'a connection is not counted out' $src/engine/table.rs \
    'self.shared.admission.leave(connection.origin, connection.standing);' ''
mutant 'a half-close is lost' $src/engine/endpoint/mod.rs \
    'self.stream.half_close()' 'Ok(())'
mutant 'a cut body passes for a whole one' $src/engine/endpoint/source.rs \
    '0 => return Err(io::ErrorKind::UnexpectedEof.into()),' '0 => return Ok(0),'
mutant 'a failed exchange ends like a whole one' $src/engine/exchange.rs \
    'if !outcome.is_completed() {' 'if false {'
mutant 'what is not acknowledged counts as received' $src/engine/stream.rs \
    'if self.unacknowledged()? > 0 {' 'if false {'
mutant 'an end within a layer is not said' $src/engine/stream.rs \
    'layer.end();' ''
mutant 'a limit of bandwidth is not kept' $src/engine/relay.rs \
    'allowance::budget(&mut running.allowance, time).unwrap_or(0)' 'u64::MAX'
mutant 'an end does not wait for what is unsent' $src/engine/stream.rs \
    'socket.push(layer)?;
        }
        self.transport.half_close()' 'socket.push(layer).ok(); } self.transport.half_close()'
mutant 'a layer is closed with no end within' $src/engine/exchange.rs \
    '} else if self.connections[slot as usize].stream.is_wrapped() {' '} else if false {'
mutant 'a withdrawn waiter is paired' xchg-core/src/rendezvous/rings.rs \
    'let old = *first.get();' 'let old = *first.get(); let next = if old == index { prev } else { next };'
mutant 'a heartbeat follows the match' $src/engine/exchange.rs \
    'let to_download = connections[first as usize].voice.matched(upload, length);' \
    'let mut to_download = connections[first as usize].voice.matched(upload, length); if download == crate::Dialect::Native { to_download.extend(xchg_core::wire::Answer::Heartbeat.encode()); }'
mutant 'a group forgets a receiver' xchg-core/src/relay/group.rs \
    '.map(|member| member.ahead).min()' '.map(|member| member.ahead).max()'
mutant 'a full server does not pair' $src/engine/greet.rs \
    'if connection.standing == Standing::Excess {' 'if connection.standing != Standing::Within {'
mutant 'who has left for good keeps its place' $src/engine/connection.rs \
    'State::Waiting(waiting) if waiting.expires.tick() > at => {' 'State::Waiting(waiting) if waiting.expires.tick() < at => {'
mutant 'a timer fires a fraction of a tick early' $src/engine/timers.rs \
    'timeout.as_nanos().div_ceil(1_000_000)' 'timeout.as_nanos() / 1_000_000'
mutant 'a request behind an upload is lost' $src/engine/http.rs \
    'self.keep(slot, Reply { words: unsaid, sent: 0, rest: framing.rest() });' \
    'self.keep(slot, Reply { words: unsaid, sent: 0, rest: Vec::new() });'
mutant 'a request behind the last is heard' $src/engine/http.rs \
    'if !keep_alive {' 'if false {'
mutant 'a layer does not outlive a request' $src/engine/http.rs \
    'connection.state = State::Replying(Box::new(reply));
        let by' 'if connection.stream.is_wrapped() { return drop(self.remove(slot)); }
        connection.state = State::Replying(Box::new(reply));
        let by'
mutant 'a byte is left in a pipe' xchg-core/src/relay/pump.rs \
    'Ok(n) => {
                self.flow.on_read(n as u64);' 'Ok(n) => {
                self.flow.on_read(n as u64 - 1);'
mutant 'what a pipe holds is lost if it cannot be spliced' xchg-core/src/relay/pump.rs \
    'self.held = Held::Bytes { bytes, from: 0 };
        Ok(())' 'self.held = Held::Bytes { bytes: vec![0; bytes.len()], from: 0 };
        Ok(())'
mutant 'a block in pipes is forgotten before all have it' xchg-core/src/relay/group.rs \
    'self.group.piped -= taken;' 'self.group.piped = 0;'
mutant 'a limit of a source is not the downloader'"'"'s' $src/engine/allowance.rs \
    'for (origin, bearer) in peers {' 'for (origin, bearer) in peers.take(1) {'
mutant 'a limit of a source is not the uploader'"'"'s' $src/engine/allowance.rs \
    'for (origin, bearer) in peers {' 'for (origin, bearer) in peers.skip(1) {'
mutant 'who half-closes keeps its place' $src/dialect/mod.rs \
    'Self::Native | Self::Http | Self::Transit => true,' 'Self::Native => false, Self::Http | Self::Transit => true,'
mutant 'a cut greeting ends like an empty payload' $src/engine/greet.rs \
    'State::Greeting(heard) if !heard.is_empty() => self' 'State::Greeting(_) if false => self'
mutant 'nonsense is more than a worker can take' $src/engine/greet.rs \
    'Heard::Malformed { code, text } => self.refuse(slot, code, &text),' 'Heard::Malformed { .. } => unreachable!("nobody would"),'
mutant 'a byte of a slow greeting is lost' $src/engine/greet.rs \
    'heard.extend_from_slice(bytes);' 'heard.extend_from_slice(bytes); if earlier > 20 && bytes.len() == 1 { heard.pop(); }'
mutant 'a peer that is taken in is not watched' $src/engine/waiter.rs \
    'if engine.register(slot) {' 'if true {'
mutant 'a peer that is taken in waits for ever, and in silence' $src/engine/waiter.rs \
    'let next = next.min(engine.next_beat(slot)).min(expires);' 'let next = Tick::NEVER;'
mutant 'a peer that is given out counts still' $src/engine/waiter.rs \
    'self.shared.admission.leave(origin, standing);' ''
verdict
