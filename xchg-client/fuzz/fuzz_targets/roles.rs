//! What a peer may say that knows the secret.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xchg_client::fuzzing::roles(data));
