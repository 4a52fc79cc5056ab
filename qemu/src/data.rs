//! What stays, under `${XDG_DATA_HOME:-~/.local/share}/elfin`: volumes and networks, by name.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Whether a volume or a network may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    first && name.len() <= 200 && name.chars().all(plain)
}

/// The directory of all `kind`, which is made if it is not there.
pub(crate) fn directory(kind: &str) -> Result<PathBuf> {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/share")))
        .with_context(|| format!("neither XDG_DATA_HOME nor HOME says where {kind} are kept"))?;
    let dir = base.join("elfin").join(kind);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["a", "data-1", "A.b_c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".a", "-a", "a/b", "a b", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
