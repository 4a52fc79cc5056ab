//! Command lines as a shell takes them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Quotes a word for a shell, if it needs that.
pub(crate) fn quote(word: &OsStr) -> String {
    let Some(word) = word.to_str() else {
        return format!("$'{}'", word.as_bytes().escape_ascii());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A program and its arguments.
pub(crate) fn line(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(quote(OsStr::new("a/b-c,d=e")), "a/b-c,d=e");
        assert_eq!(quote(OsStr::new("")), "''");
        assert_eq!(quote(OsStr::new("a b")), "'a b'");
        assert_eq!(quote(OsStr::from_bytes(b"a'\xff")), r"$'a\'\xff'");
        assert_eq!(line(&["a".into(), "b c".into()]), "a 'b c'");
    }
}
