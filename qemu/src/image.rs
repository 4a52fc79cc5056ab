//! Writing EROFS images: uncompressed, with file data on block boundaries so that the kernel maps
//! them without copying, and with modification times kept (else Python would compile everything
//! anew at each boot).

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::tool;

/// Images are padded to this, the page size the machine may map them with.
const ALIGN: u64 = 2 << 20;
/// Where EROFS keeps its superblock, and what that starts with.
const SUPERBLOCK: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// Equal trees shall give equal images: no random file system id.
const UUID: &str = "e1f10000-0000-4000-8000-000000000000";

/// Whose the files of an image are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Root's, all of them.
    Root,
    /// As in the tree.
    Kept,
}

/// Packs the tree at `root` into `image`, which appears complete or not at all.
pub(crate) fn write(root: &Path, image: &Path, owners: Owners) -> Result<()> {
    let mkfs = tool::find("mkfs.erofs", "erofs-utils")?;
    let dir = match image.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let file = tempfile::Builder::new()
        .prefix(".elfin-")
        .tempfile_in(dir)
        .with_context(|| format!("cannot write to {}", dir.display()))?;
    tool::output(
        Command::new(mkfs)
            .args(["--quiet", "--preserve-mtime", "-x-1", "-U", UUID])
            .args((owners == Owners::Root).then_some("--all-root"))
            .args(["-E", "force-inode-extended,noinline_data"])
            .env("SOURCE_DATE_EPOCH", newest(root)?.to_string())
            .arg(file.path())
            .arg(root),
    )?;
    // mkfs.erofs may have replaced the file behind our handle.
    let packed = fs::OpenOptions::new().write(true).open(file.path())?;
    let size = packed.metadata()?.len();
    packed
        .set_len(size.next_multiple_of(ALIGN))
        .with_context(|| format!("cannot write {}", image.display()))?;
    use std::os::unix::fs::PermissionsExt;
    packed.set_permissions(fs::Permissions::from_mode(0o644))?;
    drop(packed);
    file.persist(image)
        .with_context(|| format!("cannot write {}", image.display()))?;
    Ok(())
}

/// The newest modification time in the tree: the image's own date, since mkfs.erofs cuts times
/// down to it.
fn newest(root: &Path) -> Result<u64> {
    let mut newest = 0;
    for entry in WalkDir::new(root) {
        let entry = entry.with_context(|| format!("cannot read {}", root.display()))?;
        let modified = entry.metadata()?.modified()?;
        newest = newest.max(
            modified
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_secs()),
        );
    }
    Ok(newest)
}

/// Checks that `image` is a readable root image; returns its size.
pub(crate) fn check(image: &Path) -> Result<u64> {
    let name = image.display();
    let file = File::open(image).with_context(|| format!("cannot open the image {name}"))?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        bail!("{name} is not an image file (for a directory, use --root)");
    }
    let mut magic = [0; 4];
    if file.read_exact_at(&mut magic, SUPERBLOCK).is_err() || u32::from_le_bytes(magic) != MAGIC {
        bail!("{name} is not an EROFS image; `elfin build -o {name} …` makes one");
    }
    Ok(meta.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_no_images() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert!(
            check(&path)
                .unwrap_err()
                .to_string()
                .contains("cannot open")
        );
        fs::write(&path, vec![0; 4096]).unwrap();
        assert!(
            check(&path)
                .unwrap_err()
                .to_string()
                .contains("not an EROFS image")
        );
        assert!(
            check(dir.path())
                .unwrap_err()
                .to_string()
                .contains("--root")
        );
    }
}
