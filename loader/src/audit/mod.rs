//! Auditors: objects that are told what the loader does, and may change some of it (`rtld-audit(7)`).
//!
//! They are named by LD_AUDIT, and by the program's DT_AUDIT and DT_DEPAUDIT. Each is loaded before everything that the
//! program needs, into a namespace of its own, with a C library of its own ([`load`]). From then on the loader tells
//! them of searches, objects and the state of namespaces ([`notices`]), of bindings ([`bind`])
//! and of calls through PLT slots ([`calls`]).
//!
//! Auditors' functions are the program's code. Where what loads know is locked while they are told, they may look up
//! symbols and addresses, but not load or close.

mod bind;
mod calls;
mod load;
mod names;
#[expect(unsafe_code, reason = "auditors' functions are called")]
mod notices;

pub(crate) use self::bind::{LateBinding, Way};
pub(crate) use self::names::names;
pub(crate) use self::notices::{Activity, Ear, Notices, Source};
