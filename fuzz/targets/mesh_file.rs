//! libFuzzer over [`outrigger_fuzz::mesh_file`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outrigger_fuzz::mesh_file(bytes));
