//! libFuzzer over `outrigger_sidecar::fuzz::health_answers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outrigger_sidecar::fuzz::health_answers(bytes));
