//! `cargo fuzz run --features libfuzzer http_call`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::http_call(data));
