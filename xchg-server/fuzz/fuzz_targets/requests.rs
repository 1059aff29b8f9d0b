//! Any bytes to a server from a web client.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xchg_server::fuzzing::requests(data));
