//! `cargo fuzz run --features libfuzzer redact`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::redact(data));
