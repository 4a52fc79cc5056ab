//! Elfin's dynamic linker.
#![no_std]
extern crate alloc;
