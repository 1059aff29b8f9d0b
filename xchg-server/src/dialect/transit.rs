//! The transit dialect: the relay protocol of magic-wormhole, so that its clients can use this
//! server as their transit relay.
//!
//! `please relay TOKEN for side SIDE\n`, or without `for side SIDE`; then `ok\n` to both of a pair
//! and the glue. The wording and the limits are those of magic-wormhole-transit-relay
//! (`docs/transit.md`, `src/wormhole_transit_relay/transit_server.py`).

use xchg_core::wire::RefusalCode;
use xchg_core::{Key, Realm, Role};

use super::{Arrival, Heard, Wait, offer};

pub(super) const FIRST_BYTES: &[u8] = b"please r";
pub(super) const MATCHED: &[u8] = b"ok\n";
pub(super) const IMPATIENT: &[u8] = b"impatient\n";
pub(super) const BAD_HANDSHAKE: &[u8] = b"bad handshake\n";

const TOKEN_LEN: usize = 64;
const SIDE_LEN: usize = 16;

/// A line longer than that is no handshake.
const MAX_LINE_LEN: usize = 1024;

pub(super) fn hear(bytes: &[u8]) -> Heard {
    let Some(end) = bytes.iter().take(MAX_LINE_LEN).position(|&byte| byte == b'\n') else {
        return if bytes.len() < MAX_LINE_LEN {
            Heard::Partial
        } else {
            malformed("no newline within 1024 bytes")
        };
    };
    match parse(&bytes[..end]) {
        Some((token, label)) => {
            let role = Role::Label(label);
            let arrival = Arrival {
                realm: Realm::Transit,
                key: Key::parse(token).expect("a token has 64 bytes"),
                role,
                wait: Wait::Forever,
                length: None,
                buffer_bytes: None,
                receivers: 1,
                twin: None,
                token: None,
            };
            offer(arrival, end + 1)
        }
        None => malformed("not `please relay TOKEN [for side SIDE]`"),
    }
}

fn malformed(why: &str) -> Heard {
    Heard::Malformed { code: RefusalCode::Malformed, text: why.to_owned() }
}

type Label = Option<Box<[u8; SIDE_LEN]>>;

fn parse(line: &[u8]) -> Option<(&[u8], Label)> {
    let (token, rest) = line.strip_prefix(b"please relay ")?.split_at_checked(TOKEN_LEN)?;
    let label = match rest {
        b"" => None,
        rest => {
            let side: &[u8; SIDE_LEN] = rest.strip_prefix(b" for side ")?.try_into().ok()?;
            is_word(side).then(|| Some(Box::new(*side)))?
        }
    };
    is_word(token).then_some((token, label))
}

fn is_word(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Ask;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDE_";

    fn heard(line: &str) -> Option<(Vec<u8>, Role, usize)> {
        match hear(line.as_bytes()) {
            Heard::Ask { ask: Ask::Offer(arrival), len } => {
                Some((arrival.key.as_bytes().to_vec(), arrival.role, len))
            }
            _ => None,
        }
    }

    #[test]
    fn handshakes_with_and_without_a_side() {
        let label = Role::Label(Some(Box::new(*b"0123456789abcdef")));
        let line = format!("please relay {TOKEN} for side 0123456789abcdef\nearly");
        assert_eq!(heard(&line), Some((TOKEN.into(), label, line.len() - 5)));
        let line = format!("please relay {TOKEN}\n");
        assert_eq!(heard(&line), Some((TOKEN.into(), Role::Label(None), line.len())));
    }

    #[test]
    fn other_lines_are_bad_handshakes() {
        for line in [
            format!("please relay {}\n", &TOKEN[1..]),
            format!("please relay {TOKEN}x\n"),
            format!("please relay {TOKEN} \n"),
            format!("please relay {TOKEN} for side 0123456789abcde\n"),
            format!("please relay {TOKEN} for side 0123456789abcdef \n"),
            format!("please relay {TOKEN} for side 0123456789abcde-\n"),
            format!("please relay {}-\n", &TOKEN[1..]),
            "please receive\n".to_owned(),
            format!("please relay {}\n", "a".repeat(2000)),
        ] {
            assert!(matches!(hear(line.as_bytes()), Heard::Malformed { .. }), "{line}");
        }
    }

    #[test]
    fn a_line_without_its_end_is_partial_up_to_1024_bytes() {
        let line = "please relay ".to_owned() + &"a".repeat(2000);
        for len in 0..MAX_LINE_LEN {
            assert!(matches!(hear(&line.as_bytes()[..len]), Heard::Partial));
        }
        assert!(matches!(hear(&line.as_bytes()[..MAX_LINE_LEN]), Heard::Malformed { .. }));
    }
}
