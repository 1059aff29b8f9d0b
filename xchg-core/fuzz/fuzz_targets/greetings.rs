//! Any bytes to a server.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xchg_core::fuzzing::greetings(data));
