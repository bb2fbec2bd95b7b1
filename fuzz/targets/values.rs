//! `cargo fuzz run --features libfuzzer values`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::values(data));
