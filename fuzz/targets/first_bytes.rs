//! libFuzzer over `outrigger_sidecar::fuzz::first_bytes`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outrigger_sidecar::fuzz::first_bytes(bytes));
