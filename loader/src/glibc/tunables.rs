//! Tunables: `GLIBC_TUNABLES`, and older variables for some of them (`MALLOC_ARENA_MAX`).
//!
//! They are a table in `ld.so`, which libc reads through `ld.so`'s `__tunable_get_val`, and so does `ld.so`'s IFUNC
//! resolver for the features of the CPU. `ld.so` would enter what the environment says before it does anything else;
//! here that is done from outside. Each entry begins with its name, which is how the table is found
//! (`elf/dl-tunables.c`, `dl-tunable-types.h`).

use alloc::ffi::CString;
use core::ffi::CStr;
use core::ops::Range;

use crate::object::Object;
use crate::stack::InitialStack;

const PREFIX: &[u8] = b"glibc.";
/// The tunable whose bounds and default value, the same in all versions, show where entries have theirs.
const KNOWN: &[u8] = b"glibc.rtld.nns";
const KNOWN_BOUNDS: [usize; 2] = [1, 16];
const KNOWN_VALUE: usize = 4;
/// A tunable that there is in all versions, and the variable that it was before, which shows where entries have such.
const RENAMED: &[u8] = b"glibc.malloc.arena_max";
const VARIABLE: &[u8] = b"MALLOC_ARENA_MAX\0";

/// `tunable_type_code_t`; the other two types are unsigned numbers.
const TYPE_INT_32: u32 = 0;
const TYPE_STRING: u32 = 3;

/// The table of a mapped `ld.so`.
pub(crate) struct Tunables {
    entries: Range<usize>,
    /// How large an entry is.
    stride: usize,
    /// Where an entry has its bounds; the word before is its type.
    bounds: usize,
    /// Where it has its value.
    value: usize,
    /// Where it says whether the value is not the default.
    initialized: usize,
    /// Where it has the name of the older variable; the entry's end if none has one.
    variable: usize,
}

impl Tunables {
    /// Finds the table, in `ld.so` of glibc 2.`minor`; `None` if there is none of known form.
    pub(crate) fn find(rtld: &Object, minor: u32) -> Option<Self> {
        let data = rtld.relro()?;
        let is_entry = |&at: &usize| {
            data.end - at >= PREFIX.len() && {
                // SAFETY: the bytes lie in the object's data, which nobody writes to meanwhile.
                unsafe { core::slice::from_raw_parts(at as *const u8, PREFIX.len()) == PREFIX }
            }
        };
        let next = |from: usize| {
            (0..data.end.saturating_sub(from) / 8)
                .map(|word| from + 8 * word)
                .find(is_entry)
        };
        let first = next(data.start)?;
        let second = next(first + 8)?;
        let stride = second - first;
        let count = (first..data.end)
            .step_by(stride)
            .take_while(is_entry)
            .count();
        let entries = first..first + count * stride;
        if !rtld.is_writable(first, entries.len()) {
            return None;
        }
        let table = Self {
            entries,
            stride,
            bounds: 0,
            value: 0,
            initialized: 0,
            variable: stride,
        };
        let known = table.entry(KNOWN)?;
        // SAFETY: see below: the last words read lie before the entry's end.
        let word = |offset: usize| unsafe { *((known + offset) as *const usize) };
        let last = stride.checked_sub(48)?;
        let bounds = (8..last)
            .step_by(8)
            .find(|&at| [word(at), word(at + 8)] == KNOWN_BOUNDS)?;
        // From 2.39 on a value is two words, for a string and its length; later entries have the default value first.
        let size = if minor >= 39 { 16 } else { 8 };
        let values = bounds + 16;
        let value = if word(values + size) == KNOWN_VALUE {
            values + size
        } else {
            values
        };
        let initialized = value + size;
        (word(value) == KNOWN_VALUE && initialized < stride).then_some(())?;
        let renamed = table.entry(RENAMED);
        let variable = renamed.and_then(|entry| {
            let rest = table.rest(entry, initialized);
            rest.windows(VARIABLE.len())
                .position(|bytes| bytes == VARIABLE)
        });
        Some(Self {
            bounds,
            value,
            initialized,
            variable: variable.map_or(stride, |at| initialized + at),
            ..table
        })
    }

    /// Enters what the environment says.
    pub(crate) fn set_from(&self, stack: &InitialStack) {
        if stack.is_secure() {
            return;
        }
        for entry in self.entries.clone().step_by(self.stride) {
            let variable = self.variable(entry);
            if !variable.is_empty()
                && let Some(value) = stack.variable(variable)
            {
                self.set(entry, value);
            }
        }
        let listed = stack.variable(b"GLIBC_TUNABLES").unwrap_or(b"");
        for item in listed.split(|&byte| byte == b':') {
            let Some(at) = item.iter().position(|&byte| byte == b'=') else {
                continue;
            };
            let (name, value) = item.split_at(at);
            if let Some(entry) = self.entry(name) {
                self.set(entry, value.get(1..).unwrap_or(b""));
            }
        }
    }

    /// Returns the value of a tunable that is a number.
    pub(crate) fn number(&self, name: &[u8]) -> Option<usize> {
        let entry = self.entry(name)?;
        // SAFETY: inside the table, aligned as `find` found it.
        Some(unsafe { *((entry + self.value) as *const usize) })
    }

    fn entry(&self, name: &[u8]) -> Option<usize> {
        let mut entries = self.entries.clone().step_by(self.stride);
        entries.find(|&entry| {
            // SAFETY: the table's; an entry begins with a C string, which stays as it is.
            let bytes = unsafe { core::slice::from_raw_parts(entry as *const u8, self.stride) };
            bytes.strip_prefix(name).and_then(<[u8]>::first) == Some(&0)
        })
    }

    /// Returns the name of the older variable for an entry; empty if there is none.
    fn variable(&self, entry: usize) -> &'static [u8] {
        let name = self.rest(entry, self.variable);
        CStr::from_bytes_until_nul(name).map_or(b"", CStr::to_bytes)
    }

    /// Returns an entry from `at` on, which lies behind its value.
    fn rest(&self, entry: usize, at: usize) -> &'static [u8] {
        // SAFETY: the table's, and stays. Nobody writes to it but `set` to the byte that says so, which is before all
        // that is kept of this.
        unsafe { core::slice::from_raw_parts((entry + at) as *const u8, self.stride - at) }
    }

    /// Enters a value, unless it is out of bounds.
    fn set(&self, entry: usize, value: &[u8]) {
        // SAFETY: inside the table, aligned as `find` found it.
        let (kind, [least, most]) = unsafe {
            (
                *((entry + self.bounds - 8) as *const u32),
                *((entry + self.bounds) as *const [usize; 2]),
            )
        };
        let words = if kind == TYPE_STRING {
            let Ok(string) = CString::new(value) else {
                return;
            };
            // Kept: libc may look at it at any time.
            [string.into_raw().expose_provenance(), value.len()]
        } else {
            let number = number(value);
            let within = if kind == TYPE_INT_32 {
                (least.cast_signed()..=most.cast_signed()).contains(&number.cast_signed())
            } else {
                (least..=most).contains(&number)
            };
            if !within {
                return;
            }
            [number, 0]
        };
        for at in (self.value..self.initialized).step_by(8) {
            // SAFETY: the value in the table, which is writable until RELRO is applied and which nobody else uses yet.
            unsafe { *((entry + at) as *mut usize) = words[(at - self.value) / 8] };
        }
        // SAFETY: another field of the entry, a `bool`.
        unsafe { *((entry + self.initialized) as *mut u8) = 1 };
    }
}

/// Reads a number as `_dl_strtoul` does: 0x or 0 at its front says what base it has; without any digit it is 0, and too
/// large a one is the largest.
fn number(text: &[u8]) -> usize {
    let text = text.trim_ascii_start();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (base, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', rest @ ..] => (8, rest),
        _ => (10, text),
    };
    let mut result = 0usize;
    for digit in digits
        .iter()
        .map_while(|&byte| char::from(byte).to_digit(base))
    {
        let next = result
            .checked_mul(base as usize)
            .and_then(|more| more.checked_add(digit as usize));
        match next {
            Some(next) => result = next,
            None => return usize::MAX,
        }
    }
    if negative {
        result.wrapping_neg()
    } else {
        result
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read_as_ld_so_reads_them() {
        for (text, value) in [
            ("12", 12),
            (" \t+0x1F", 31),
            ("017", 15),
            ("018", 1),
            ("-1", usize::MAX),
            ("3k", 3),
            ("", 0),
            ("k", 0),
            ("99999999999999999999", usize::MAX),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
    }
}
