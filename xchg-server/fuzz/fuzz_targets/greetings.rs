//! Any bytes to a server in a dialect but http.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xchg_server::fuzzing::greetings(data));
