//! Any plaintext of a record.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xchg_client::fuzzing::messages(data));
