//! `cargo fuzz run --features libfuzzer answer`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::answer(data));
