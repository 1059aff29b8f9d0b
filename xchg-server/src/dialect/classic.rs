//! The classic dialect: a command byte and a key of eight bytes, NUL-padded, then at once the
//! payload. There are no answers.
//!
//! **A classic uploader's end is no farewell.** Classic clients send all, close, and know of no
//! waiting. So its end-of-stream while it waits stays in the socket to be relayed later, for
//! `closed_wait` at most. A reset is leaving; and for all others the end of the stream is, too.

use xchg_core::wire::RefusalCode;
use xchg_core::{Key, Realm, Side};

use super::{Arrival, Ask, Heard, offer};

pub(super) const GREETING_LEN: usize = 9;

pub(super) fn hear(bytes: &[u8]) -> Heard {
    let Some((greeting, behind)) = bytes.split_at_checked(GREETING_LEN) else {
        return Heard::Partial;
    };
    if greeting[0] != b'P' && !behind.is_empty() {
        // Another protocol's, most likely: whoever downloads or terminates has nothing else to say.
        return malformed("something follows its nine bytes".to_owned());
    }
    let side = match greeting[0] {
        b'P' => Side::Upload,
        b'G' => Side::Download,
        _ => return Heard::Ask { ask: Ask::Terminate { token: None }, len: GREETING_LEN },
    };
    let padded = &greeting[1..];
    let key_len = padded.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    match Key::parse(&padded[..key_len]) {
        Ok(key) => offer(Arrival::new(Realm::Plain, key, side), GREETING_LEN),
        Err(error) => malformed(error.to_string()),
    }
}

fn malformed(text: String) -> Heard {
    Heard::Malformed { code: RefusalCode::Malformed, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(bytes: &[u8]) -> Option<(Vec<u8>, xchg_core::Role, usize)> {
        match hear(bytes) {
            Heard::Ask { ask: Ask::Offer(arrival), len } => {
                Some((arrival.key.as_bytes().to_vec(), arrival.role, len))
            }
            _ => None,
        }
    }

    #[test]
    fn keys_lose_the_nuls_at_their_end_only() {
        for (greeting, key) in [
            (&b"Pabc\0\0\0\0\0payload"[..], &b"abc"[..]),
            (b"Pabcdefgh", b"abcdefgh"),
            (b"P\0a\0\0\0\0\0\0", b"\0a"),
            (b"PUT\0\0\0\0\0\0", b"UT"),
        ] {
            let (heard, role, len) = arrival(greeting).unwrap();
            assert_eq!((&heard[..], role, len), (key, Side::Upload.into(), 9));
        }
    }

    #[test]
    fn a_greeting_cut_short_is_partial_and_an_empty_key_malformed() {
        for len in 0..GREETING_LEN {
            assert!(matches!(hear(&b"Gabcdefgh"[..len]), Heard::Partial));
        }
        assert!(matches!(hear(b"G\0\0\0\0\0\0\0\0"), Heard::Malformed { .. }));
        assert!(matches!(
            hear(b"F\0\0\0\0\0\0\0\0"),
            Heard::Ask { ask: Ask::Terminate { .. }, .. }
        ));
    }

    #[test]
    fn only_an_uploader_has_more_to_say() {
        assert!(arrival(b"Pabcdefgh more").is_some());
        for greeting in [&b"Gabc\0\0\0\0\0"[..], b"Fabc\0\0\0\0\0"] {
            assert!(!matches!(hear(greeting), Heard::Malformed { .. }));
            for behind in [&b"\0"[..], b"\n", b" / HTTP/1.1\r\n"] {
                let heard = hear(&[greeting, behind].concat());
                assert!(matches!(heard, Heard::Malformed { .. }), "{heard:?}");
            }
        }
    }
}
