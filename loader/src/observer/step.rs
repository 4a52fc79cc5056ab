//! The steps that the loader tells of.

use core::fmt;

use super::category::{ALL, Category};
use super::times::Times;
use crate::error::Error;
use crate::text::In;

/// A step of the loader's work.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    /// A library is looked for.
    Searching(In<'a>),
    /// Directories are looked into, which somebody has asked for.
    SearchingPath(&'a dyn fmt::Display, fmt::Arguments<'a>),
    /// The system's cache is looked into.
    SearchingCache(&'a str),
    /// A file is opened.
    Trying(&'a [u8]),
    /// A library has been found or not.
    Searched,
    /// A file is needed by an object, or one has asked for it.
    Needed {
        file: In<'a>,
        by: In<'a>,
        dynamically: bool,
    },
    /// A file has been mapped.
    Mapped {
        file: In<'a>,
        dynamic: usize,
        bias: usize,
        size: usize,
        entry: usize,
        headers: (usize, usize),
    },
    /// An object has been opened, so many times by now.
    Opened(In<'a>, usize),
    /// An object is closed, and is still open so many times.
    Closing(&'a [u8], usize),
    /// An object does not want to be an auditor.
    NoAuditor(In<'a>),
    /// An object goes.
    Unmapping(In<'a>),
    /// One object needs a version of another.
    CheckingVersion {
        version: &'a [u8],
        file: In<'a>,
        by: In<'a>,
    },
    /// An object is relocated.
    Relocating { file: &'a [u8], lazy: bool },
    /// A relocation needs no symbol.
    Relative,
    /// A relocation needs the same symbol as the one before.
    FoundAgain,
    /// A symbol is looked up.
    LookingUp,
    /// A symbol is looked up in an object.
    LookingInto { file: In<'a>, symbol: &'a [u8] },
    /// A reference has been bound.
    Bound {
        from: In<'a>,
        to: In<'a>,
        symbol: &'a [u8],
        version: Option<&'a [u8]>,
        /// The object's own symbol is protected.
        protected: bool,
    },
    /// A look-up has failed.
    NotFound(&'a Error),
    /// What the program's objects search comes next.
    InitialScopes,
    /// What the references of an object search comes next.
    Scopes(In<'a>),
    /// The objects of one scope.
    Scope(usize, &'a dyn fmt::Display),
    /// That was all.
    EndOfScopes,
    /// An object joins the global scope.
    AddedToGlobal(In<'a>),
    /// The INIT functions of an object are called.
    Init(&'a [u8]),
    /// The FINI functions of an object are called.
    Fini(In<'a>),
    /// The last step before the program: its own INIT functions are libc's to run, and so it seems is the rest.
    Program(&'a [u8]),
    /// The program is ready, after so much time.
    Ready(&'a Times),
    /// The program has come to its end.
    End,
}

impl Step<'_> {
    /// Returns the categories that show the step, any of them.
    #[inline]
    pub(super) const fn categories(&self) -> u32 {
        let category = match self {
            Self::Searching(_)
            | Self::SearchingPath(..)
            | Self::SearchingCache(_)
            | Self::Trying(_)
            | Self::Searched => Category::Libs,
            Self::Needed { .. }
            | Self::Mapped { .. }
            | Self::Opened(..)
            | Self::Closing(..)
            | Self::NoAuditor(_)
            | Self::Unmapping(_) => Category::Files,
            Self::CheckingVersion { .. } => Category::Versions,
            Self::Relocating { .. } => Category::Reloc,
            Self::LookingInto { .. } => Category::Symbols,
            Self::Bound { .. } => Category::Bindings,
            Self::NotFound(_) => return ALL,
            Self::InitialScopes
            | Self::Scopes(_)
            | Self::Scope(..)
            | Self::EndOfScopes
            | Self::AddedToGlobal(_) => Category::Scopes,
            Self::Init(_) | Self::Fini(_) | Self::Program(_) => Category::Calls,
            Self::Relative | Self::FoundAgain | Self::LookingUp | Self::Ready(_) | Self::End => {
                Category::Statistics
            }
        };
        category as u32
    }
}
