//! `elfin run` with a network: behind QEMU's router only, and with other machines.

mod machine;
mod many;
mod named;
mod peer;
mod user;
