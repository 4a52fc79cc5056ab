//! Elfin's dynamic linker.
//!
//! It does what `ld.so` does for an unmodified Linux program (maps it and what it needs, resolves symbols, lays out
//! thread-local storage, runs INIT functions, serves `dlopen`), without being a program itself: it runs inside Elfin's
//! kernel and, for tests, inside an ordinary Linux process. What it needs of its surroundings it asks of a [`Host`].
#![no_std]
extern crate alloc;

mod address;
mod arch;
mod debug;
mod dl;
mod elf;
mod enter;
mod error;
mod family;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gates;
mod glibc;
mod host;
mod image;
mod init;
mod lazy;
mod link_map;
mod load;
mod loader;
mod lookup;
mod mode;
mod namespace;
mod object;
mod primitive;
mod proxy;
mod publish;
mod registry;
mod relocate;
mod search;
mod session;
mod stack;
mod start;
mod state;
mod sync;
mod tables;
mod text;
mod thread;
mod tls;
mod visibility;
mod world;

pub use error::{Error, Foreign};
pub use host::{Access, Errno, Event, File, FileId, Gate, Host, PAGE_SIZE, Vdso};
pub use init::InitOn;
pub use loader::{LoadedObject, Loader, Program};
pub use mode::Mode;
pub use registry::Symbolised;
pub use session::{Duplicate, Session};
