//! The processor: everything below this module knows x86-64, nothing above it needs to.
pub mod x86_64;
pub use x86_64::*;
