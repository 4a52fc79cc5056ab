//! Linux programs run on Linux itself and in the guest: what the harness `tests/guest.rs` is made of.
//!
//! Every file in `programs/` and `python/` is a test; [`case`] says what the comments at its head mean, [`compile`]
//! turns sources into programs, [`process`] runs them, [`difference`] shows where two runs part. [`bindings`]
//! compares a table of the image with what it stands for.

pub mod bindings;
pub mod case;
pub mod compile;
pub mod difference;
pub mod process;
