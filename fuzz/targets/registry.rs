//! `cargo fuzz run --features libfuzzer registry`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::registry(data));
