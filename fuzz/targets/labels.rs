//! libFuzzer over [`outrigger_fuzz::labels`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outrigger_fuzz::labels(bytes));
