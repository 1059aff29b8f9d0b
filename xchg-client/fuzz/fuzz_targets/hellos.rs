//! The first bytes of a stranger.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xchg_client::fuzzing::hellos(data));
