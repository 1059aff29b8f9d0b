//! Any bytes at a listener for proxies.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xchg_server::fuzzing::proxy_headers(data));
