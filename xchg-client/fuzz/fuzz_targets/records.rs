//! Any records, sealed by a stranger or altered.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xchg_client::fuzzing::records(data));
