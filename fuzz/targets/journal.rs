//! `cargo fuzz run --features libfuzzer journal`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::journal(data));
