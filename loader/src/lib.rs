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
#![deny(unsafe_code)]
extern crate alloc;

#[expect(
    unsafe_code,
    reason = "what a call has left behind is found by address"
)]
mod abandoned;
#[expect(
    unsafe_code,
    reason = "callbacks are the program's, and structures it has handed over"
)]
mod address;
mod arch;
mod audit;
mod auditors;
pub mod bindings;
#[expect(unsafe_code, reason = "strings of C")]
mod c;
mod callbacks;
mod copy;
#[expect(
    unsafe_code,
    reason = "what debuggers read lies at addresses of the program's"
)]
mod debug;
#[expect(unsafe_code, reason = "the program's strings")]
mod dl;
mod elf;
#[expect(unsafe_code, reason = "the program has called, with arguments of C")]
mod enter;
mod error;
#[expect(unsafe_code, reason = "stacks are the program's memory")]
mod execstack;
mod family;
#[expect(unsafe_code, reason = "the program's `calloc` is called")]
mod first_thread;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gates;
#[expect(unsafe_code, reason = "fields of ld.so's data")]
mod glibc;
mod group;
#[expect(unsafe_code, reason = "records of threads are found by address")]
mod hold;
#[expect(unsafe_code, reason = "what hosts promise")]
mod host;
mod hunt;
mod hwcaps;
#[expect(unsafe_code, reason = "objects in memory")]
mod image;
#[expect(unsafe_code, reason = "INIT and FINI functions are called")]
mod init;
#[expect(unsafe_code, reason = "ld.so's code is called")]
mod interpreter;
#[expect(unsafe_code, reason = "stacks of interrupted code are read")]
mod interrupted;
#[expect(unsafe_code, reason = "slots of the PLT are written")]
mod lazy;
#[expect(unsafe_code, reason = "objects in memory are relocated")]
mod link;
mod link_map;
mod linker;
mod linker_object;
#[expect(unsafe_code, reason = "objects are mapped")]
mod load;
mod loaded;
mod loader;
#[expect(unsafe_code, reason = "objects are mapped")]
mod loading;
mod lookup;
mod mode;
mod namespace;
#[expect(unsafe_code, reason = "objects in memory")]
mod object;
mod observer;
mod preload;
mod primitive;
mod proxy;
#[expect(
    unsafe_code,
    reason = "what is published is freed when nobody reads it"
)]
mod publish;
mod reference;
mod registry;
#[expect(unsafe_code, reason = "objects in memory are written")]
mod relocate;
mod search;
mod session;
#[expect(unsafe_code, reason = "the mask of signals is the host's")]
mod signals;
#[expect(unsafe_code, reason = "the initial stack is the program's memory")]
mod stack;
#[expect(unsafe_code, reason = "libc's lists of stacks")]
mod stacks;
#[expect(unsafe_code, reason = "the program's memory, and its first code")]
mod start;
mod state;
#[expect(unsafe_code, reason = "locks")]
mod sync;
#[expect(unsafe_code, reason = "tables of objects in memory")]
mod tables;
mod text;
mod thread;
#[expect(unsafe_code, reason = "records of threads are found by address")]
mod threads;
#[expect(unsafe_code, reason = "blocks of thread-local storage")]
mod tls;
pub mod unwind;
#[expect(unsafe_code, reason = "tables of objects in memory")]
mod versions;
mod visibility;
mod world;
mod writable;

pub use arch::{PLT_ENTRIES, functions};
pub use error::{Error, Foreign};
pub use host::{
    Access, Errno, Event, File, FileId, Gate, Host, HostCode, InterruptedCall, PAGE_SIZE, Stack,
};
pub use init::InitOn;
pub use loader::{LoadedObject, Loader};
pub use mode::Mode;
pub use observer::write_debug;
pub use registry::Symbolised;
pub use session::{Duplicate, Session};
pub use start::{Program, is_interpreter};
pub use thread::{Ancestor, Family, ThreadId};
pub use visibility::Visibility;
