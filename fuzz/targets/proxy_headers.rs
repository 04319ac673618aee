//! libFuzzer over `outrigger_sidecar::fuzz::proxy_headers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outrigger_sidecar::fuzz::proxy_headers(bytes));
