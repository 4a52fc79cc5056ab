//! What LD_DEBUG can ask for, and what it has asked for.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::text::Text;

/// What lines are about: glibc's `DL_DEBUG_` bits.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Category {
    /// Where libraries are looked for.
    Libs = 1 << 0,
    /// INIT and FINI functions, which every category but a few brings with it.
    Calls = 1 << 1,
    /// What symbols are bound to.
    Bindings = 1 << 2,
    /// Which objects are searched for a symbol.
    Symbols = 1 << 3,
    /// Checks of versions.
    Versions = 1 << 4,
    /// Which objects are relocated.
    Reloc = 1 << 5,
    /// What is mapped, opened and closed.
    Files = 1 << 6,
    /// Counts and times.
    Statistics = 1 << 7,
    /// Objects nobody needs: `ldd -u` says which. For programs it has everything bound at once, and that is all.
    Unused = 1 << 8,
    /// Who searches what.
    Scopes = 1 << 9,
    /// The list of categories, instead of the program.
    Help = 1 << 10,
}

use Category::{
    Bindings, Calls, Files, Help, Libs, Reloc, Scopes, Statistics, Symbols, Unused, Versions,
};

/// The words of LD_DEBUG, what they stand for, and what they are good for.
const WORDS: [(&str, u32, &str); 11] = [
    ("libs", Libs as u32 | CALLS, "display library search paths"),
    (
        "reloc",
        Reloc as u32 | CALLS,
        "display relocation processing",
    ),
    (
        "files",
        Files as u32 | CALLS,
        "display progress for input file",
    ),
    (
        "symbols",
        Symbols as u32 | CALLS,
        "display symbol table processing",
    ),
    (
        "bindings",
        Bindings as u32 | CALLS,
        "display information about symbol binding",
    ),
    (
        "versions",
        Versions as u32 | CALLS,
        "display version dependencies",
    ),
    ("scopes", Scopes as u32, "display scope information"),
    ("all", ALL, "all previous options combined"),
    (
        "statistics",
        Statistics as u32,
        "display relocation statistics",
    ),
    ("unused", Unused as u32, "determined unused DSOs"),
    ("help", Help as u32, "display this help message and exit"),
];

const CALLS: u32 = Calls as u32;
/// What `all` stands for.
pub(super) const ALL: u32 = Libs as u32
    | Reloc as u32
    | Files as u32
    | Symbols as u32
    | Bindings as u32
    | Versions as u32
    | Scopes as u32
    | CALLS;

/// The categories that are on. There is one environment, and so one of these.
static MASK: AtomicU32 = AtomicU32::new(0);

/// Switches on what the value of LD_DEBUG asks for; `unknown` is told of words that are none.
pub(crate) fn switch_on(value: &[u8], unknown: impl Fn(Text<'_>)) {
    let separator = |byte: &u8| matches!(byte, b' ' | b',' | b':');
    let mut mask = 0;
    for word in value.split(separator).filter(|word| !word.is_empty()) {
        match WORDS.iter().find(|(known, ..)| known.as_bytes() == word) {
            Some((_, categories, _)) => mask |= categories,
            None => unknown(Text(word)),
        }
    }
    MASK.store(mask, Ordering::Relaxed);
}

/// Says whether one of these categories is on.
#[inline]
pub(super) fn is_any_on(categories: u32) -> bool {
    MASK.load(Ordering::Relaxed) & categories != 0
}

/// Says whether anything is to be told.
pub(crate) fn is_watched() -> bool {
    is_any_on(u32::MAX)
}

/// Says whether a category is on.
pub(crate) fn is_on(category: Category) -> bool {
    is_any_on(category as u32)
}

/// Says whether every symbol is to be bound at once: only then it shows what is unused.
pub(crate) fn binds_now() -> bool {
    is_on(Unused)
}

/// Displays the list of categories.
pub(crate) struct HelpText;

impl fmt::Display for HelpText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Valid options for the LD_DEBUG environment variable are:\n\n")?;
        for (word, _, purpose) in WORDS {
            writeln!(f, "  {word:<10}  {purpose}")?;
        }
        f.write_str(
            "\nTo direct the debugging output into a file instead of standard output\n\
             a filename can be specified using the LD_DEBUG_OUTPUT environment variable.",
        )
    }
}
