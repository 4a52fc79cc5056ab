//! How large files may become (`RLIMIT_FSIZE`): who writes past that is sent SIGXFSZ.
use crate::{
    fs::{OpenFile, tree::Kind},
    process::{self, signal::send_current},
};
use abi::Errno;
use linux_raw_sys::general as linux;

fn exceeded() -> Errno {
    send_current(linux::SIGXFSZ.cast_signed());
    Errno::EFBIG
}

fn limit() -> Option<u64> {
    process::with_current(|process| process.limits.file_size())
}

/// How many of `len` bytes may be written at `at`, or at the end (`None`); none of them is `EFBIG`, with the signal if
/// nothing `is_written` yet.
#[doc(alias = "generic_write_check_limits")]
#[inline]
pub(super) fn may_write(
    open: &OpenFile,
    at: Option<u64>,
    len: usize,
    is_written: bool,
) -> Result<usize, Errno> {
    match limit() {
        Some(limit) => check(open, limit, at, len, is_written),
        None => Ok(len),
    }
}

#[cold]
fn check(
    open: &OpenFile,
    limit: u64,
    at: Option<u64>,
    len: usize,
    is_written: bool,
) -> Result<usize, Errno> {
    let Some(Kind::Regular(content)) = open.file.node().map(|node| &node.kind) else {
        return Ok(len);
    };
    match limit.saturating_sub(at.unwrap_or_else(|| content.size())) {
        0 if len > 0 && is_written => Err(Errno::EFBIG),
        0 if len > 0 => Err(exceeded()),
        left => Ok(usize::try_from(left).map_or(len, |left| len.min(left))),
    }
}

/// Whether a file of `size` bytes may have so many more; `EFBIG`, with the signal.
#[doc(alias = "inode_newsize_ok")]
pub(super) fn may_grow(size: u64, to: u64) -> Result<(), Errno> {
    match limit() {
        Some(limit) if to > size && to > limit => Err(exceeded()),
        _ => Ok(()),
    }
}
