//! `cargo fuzz run --features libfuzzer workflow`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aos_fuzz::workflow(data));
