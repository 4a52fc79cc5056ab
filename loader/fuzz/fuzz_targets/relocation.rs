//! `cargo fuzz run relocation`: see the function of that name.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| loader_fuzz::relocation(input));
