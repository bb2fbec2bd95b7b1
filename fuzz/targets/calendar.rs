//! `cargo fuzz run --features libfuzzer calendar`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::calendar(data));
