#!/usr/bin/env bash
# Proves that the simulation bites: makes one mistake after another in a copy of the tree, and expects
# that some seed below 10,000 finds it. Takes some minutes; needs nothing but Rust, git and perl.
set -euo pipefail
cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'git worktree remove --force "$copy/tree" >/dev/null 2>&1; rm -rf "$copy"' EXIT
git worktree add --quiet --detach "$copy/tree" HEAD
cd "$copy/tree"
export CARGO_TARGET_DIR=$copy/target XCHG_SIM_SEEDS=0..10000
missed=0

# mutant NAME FILE FROM TO: replaces the first FROM, a literal text.
mutant() {
    local name=$1 file=$2 from=$3 to=$4 begin=$SECONDS found
    git checkout --quiet .
    FROM=$from TO=$to perl -0pi -e 's/\Q$ENV{FROM}\E/$ENV{TO}/ or exit 1' "$file" ||
        { echo "STALE   $name: $file has no such text"; missed=$((missed + 1)); return; }
    found=$(cargo test -q -p xchg-server --test sim 2>&1 || true)
    if grep -q 'test result: FAILED' <<<"$found"; then
        # A world that ends in a panic of its own has no verdict.
        printf 'found   %-45s %s (%d s)\n' "$name" "$(grep -m1 '^seed' <<<"$found" | cut -c1-70)" $((SECONDS - begin))
    else
        echo "MISSED  $name"
        grep '^error' <<<"$found" | head -3 || true
        tail -2 <<<"$found"
        missed=$((missed + 1))
    fi
}

src=xchg-server/src
mutant 'an edge is dropped' $src/engine/stream.rs \
    'if ready.is_readable || ready.has_read_end {' 'if ready.has_read_end {'
mutant 'a message is lost' $src/engine/messages.rs \
    'Message::Release(slot) => self.guard' 'Message::Release(_) if self.index == 0 => {} Message::Release(slot) => self.guard'
mutant 'a place is not freed' $src/engine/mod.rs \
    'if self.shared.broker.withdraw(waiting.place).is_some() {' 'let _ = waiting.place; {'
mutant 'a connection is not counted out' $src/engine/mod.rs \
    'self.shared.admission.leave(connection.origin, connection.standing);' ''
mutant 'a half-close is lost' $src/engine/endpoint/mod.rs \
    'self.stream.half_close()' 'Ok(())'
mutant 'a cut body passes for a whole one' $src/engine/endpoint/source.rs \
    '0 => return Err(io::ErrorKind::UnexpectedEof.into()),' '0 => return Ok(0),'
mutant 'a failed exchange ends like a whole one' $src/engine/relay.rs \
    'if !outcome.is_completed() {' 'if false {'
mutant 'what is not acknowledged counts as received' $src/engine/stream.rs \
    'Some(left == 0 && self.failure.is_none())' 'Some(left == 0 || self.failure.is_none())'
mutant 'an end within a layer is not said' $src/engine/stream.rs \
    'layer.end();' ''
mutant 'a withdrawn waiter is paired' xchg-core/src/rendezvous.rs \
    'let ring_len = self.waiters[head as usize].ring_len - 1;' \
    'let ring_len = self.waiters[head as usize].ring_len - 1; let next = if head == index { prev } else { next };'
mutant 'a heartbeat follows the match' $src/engine/relay.rs \
    'let to_download = peers.download.matched(dialects.upload, length);' \
    'let mut to_download = peers.download.matched(dialects.upload, length); if dialects.download == Dialect::Native { to_download.extend(xchg_core::wire::Answer::Heartbeat.encode()); }'
mutant 'a group forgets a receiver' $src/engine/fan.rs \
    '.map(|receiver| receiver.taken).min()' '.map(|receiver| receiver.taken).max()'
mutant 'a full server does not pair' $src/engine/greet.rs \
    'if connection.standing == Standing::Excess {' 'if connection.standing != Standing::Within {'
mutant 'who has left for good keeps its place' $src/engine/connection.rs \
    'State::Waiting(waiting) if waiting.expires > at => {' 'State::Waiting(waiting) if waiting.expires < at => {'
[ "$missed" = 0 ] || { echo "$missed were not found"; exit 1; }
