//! `cargo fuzz run --features libfuzzer audit`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::audit(data));
