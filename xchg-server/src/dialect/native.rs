//! The native dialect: PROTOCOL.md section 1, by the core's codec.

use xchg_core::wire::{
    Answer, CounterpartDialect, Decoded, Greeting, Matched, RefusalCode, StatusReport, Waiting,
};
use xchg_core::{Error, Realm};

use super::{Dialect, Heard};

pub(super) fn hear(bytes: &[u8]) -> Heard {
    match Greeting::decode(bytes) {
        Ok(Decoded::Partial) => Heard::Partial,
        Ok(Decoded::Whole { message, len }) => Heard::Ask { ask: message.into(), len },
        Err(error) => {
            let code = match error {
                Error::Version { .. } => RefusalCode::Version,
                Error::Unsupported { .. } => RefusalCode::Unsupported,
                _ => RefusalCode::Malformed,
            };
            Heard::Malformed { code, text: error.to_string() }
        }
    }
}

pub(super) fn waiting(elsewhere: Option<Realm>) -> Vec<u8> {
    let mut waiting = Waiting::default();
    waiting.elsewhere = elsewhere;
    Answer::Waiting(waiting).encode()
}

pub(super) fn heartbeat(elsewhere: Option<Realm>) -> Vec<u8> {
    match elsewhere {
        None => Answer::Heartbeat.encode(),
        elsewhere => waiting(elsewhere),
    }
}

pub(super) fn matched(other: Dialect, length: Option<u64>) -> Vec<u8> {
    let dialect = match other {
        Dialect::Native => CounterpartDialect::Native,
        Dialect::Classic => CounterpartDialect::Classic,
        Dialect::Http => CounterpartDialect::Http,
        Dialect::Transit => unreachable!("transit peers have a realm of their own"),
    };
    Answer::Matched(Matched::new(dialect, length)).encode()
}

pub(super) fn refused(code: RefusalCode, text: &str) -> Vec<u8> {
    Answer::Refused { code, text: text.to_owned() }.encode()
}

pub(super) fn status(report: StatusReport) -> Vec<u8> {
    Answer::Status(report).encode()
}
