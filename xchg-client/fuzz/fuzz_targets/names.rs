//! Any name of a file.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xchg_client::fuzzing::names(data));
