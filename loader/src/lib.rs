//! Elfin's dynamic linker.
//!
//! It does what `ld.so` does for an unmodified Linux program (maps it and what it needs, resolves symbols, lays out
//! thread-local storage, runs INIT functions, serves `dlopen`), without being a program itself: it runs inside Elfin's
//! kernel and, for tests, inside an ordinary Linux process. What it needs of its surroundings it asks of a [`Host`].
//!
//! A [`Loader`] is made for a host, once. [`Loader::load_program`] and [`Loader::run_init`] start a program, which
//! comes back through the host's gates into [`Loader::enter`]. Rust code opens objects by [`Loader::open`], and keeps
//! apart what must not meet in a [`Session`]:
//!
//! ```
//! # use loader::{InitOn, Mode};
//! # use std::os::unix::ffi::OsStrExt;
//! // A host that is an ordinary process, for objects that need no C library, and a C compiler.
//! use loader_process::{LOADER, compile};
//!
//! let one = compile("M", "int x(void) { return 1; }")?;
//! let two = compile("M", "int x(void) { return 2; }")?;
//! let (first, second) = (LOADER.session(&[])?, LOADER.session(&[])?);
//! first.load(one.as_os_str().as_bytes(), Mode::NOW, InitOn::Caller)?;
//! second.load(two.as_os_str().as_bytes(), Mode::NOW, InitOn::Caller)?;
//! let x = |session: &loader::Session<'_>| -> Result<i32, loader::Error> {
//!     let address = session.symbol(b"x")?;
//!     // SAFETY: `x` is a function of this type, and its object is loaded for as long as the session is open.
//!     let x: extern "C" fn() -> i32 = unsafe { std::mem::transmute(address as *const ()) };
//!     Ok(x())
//! };
//! assert_eq!([x(&first)?, x(&second)?, x(&first)?], [1, 2, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
#![no_std]
extern crate alloc;

mod abandoned;
mod address;
mod arch;
mod c;
mod callbacks;
mod debug;
mod dl;
mod elf;
mod enter;
mod error;
mod execstack;
mod family;
mod first_thread;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gates;
mod glibc;
mod hold;
mod host;
mod hunt;
mod hwcaps;
mod image;
mod init;
mod interpreter;
mod interrupted;
mod lazy;
mod link;
mod link_map;
mod linker;
mod linker_object;
mod load;
mod loaded;
mod loader;
mod loading;
mod lookup;
mod mode;
mod namespace;
mod object;
mod observer;
mod preload;
mod primitive;
mod proxy;
mod publish;
mod registry;
mod relocate;
mod search;
mod session;
mod signals;
mod stack;
mod stacks;
mod start;
mod state;
mod sync;
mod tables;
mod text;
mod thread;
mod threads;
mod tls;
pub mod unwind;
mod versions;
mod visibility;
mod world;
mod writable;

pub use arch::functions;
pub use error::{Error, Foreign};
pub use host::{
    Access, Errno, Event, File, FileId, Gate, Host, HostCode, InterruptedCall, PAGE_SIZE, Stack,
    Vdso,
};
pub use init::InitOn;
pub use loader::{LoadedObject, Loader, Program};
pub use mode::Mode;
pub use observer::write_debug;
pub use registry::Symbolised;
pub use session::{Duplicate, Session};
pub use start::is_interpreter;
pub use thread::{Ancestor, Family, ThreadId};
pub use visibility::Visibility;
