//! Bytes that are usually, but not always, UTF-8: paths and symbol names.

use core::fmt;

use crate::namespace::NamespaceId;

/// Displays bytes as text, with replacement characters where they are not UTF-8.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

/// Displays a name with the number of its namespace: `libm.so.6 [0]`.
#[derive(Clone, Copy)]
pub(crate) struct In<'a>(pub(crate) &'a [u8], pub(crate) NamespaceId);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", Text(self.0), self.1.lmid())
    }
}
