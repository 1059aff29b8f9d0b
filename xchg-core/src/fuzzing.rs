//! What the fuzz targets run, for any bytes; see `fuzz/`. The tests run the same over its seeds.

use std::fmt::Debug;

use crate::Error;
use crate::wire::{Answer, Decoded, Greeting, MAX_BODY_LEN};

/// Takes `data` for what a peer sends to a server.
pub fn greetings(data: &[u8]) {
    whole_and_split(data, Greeting::decode);
    if let Ok(Decoded::Whole { message, .. }) = Greeting::decode(data) {
        let written = message.encode();
        let len = written.len();
        assert_eq!(
            Greeting::decode(&written).expect("it was just written"),
            Decoded::Whole { message, len }
        );
    }
}

/// Takes `data` for what a server sends to a peer.
pub fn answers(mut data: &[u8]) {
    whole_and_split(data, Answer::decode);
    while let Ok(Decoded::Whole { message, len }) = Answer::decode(data) {
        if let Some(answer) = &message {
            let written = answer.encode();
            let len = written.len();
            assert_eq!(
                Answer::decode(&written).expect("it was just written"),
                Decoded::Whole { message, len }
            );
        }
        data = &data[len..];
    }
}

/// What the first bytes say, the following do not change: a message is partial until it is whole,
/// and takes the same bytes however many are behind it; a mistake stays one. None is partial beyond
/// all bounds.
fn whole_and_split<T: Debug + PartialEq>(
    data: &[u8],
    decode: impl Fn(&[u8]) -> Result<Decoded<T>, Error>,
) {
    /// Header, body, and room for neither to be exact.
    const MOST: usize = MAX_BODY_LEN + 64;
    let all = decode(data);
    assert!(!matches!(all, Ok(Decoded::Partial)) || data.len() < MOST);
    let needed = match &all {
        Ok(Decoded::Whole { len, .. }) => *len,
        _ => data.len().min(MOST),
    };
    assert!(needed <= data.len());
    for cut in 0..=needed {
        let part = decode(&data[..cut]);
        match (&part, &all) {
            (Ok(Decoded::Partial), _) => {}
            (Ok(part @ Decoded::Whole { .. }), Ok(all)) => assert_eq!(part, all),
            (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
            _ => panic!("{part:?} of the first {cut} bytes, {all:?} of all"),
        }
    }
    if matches!(all, Ok(Decoded::Whole { .. })) {
        assert_eq!(decode(&data[..needed]).ok(), all.ok());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn replay(target: &str, body: fn(&[u8])) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut count = 0;
        for seed in fs::read_dir(seeds).unwrap() {
            body(&fs::read(seed.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "no seeds of {target}");
    }

    #[test]
    fn greetings_of_the_seeds() {
        replay("greetings", greetings);
    }

    #[test]
    fn answers_of_the_seeds() {
        replay("answers", answers);
    }
}
