//! `cargo fuzz run --features libfuzzer settings`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::settings(data));
