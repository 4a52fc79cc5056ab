//! What fallocate(2) does to a range of a file, and truncate(2) to its end.
use super::{Mounted, Shared};
use abi::Errno;
use alloc::vec;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use rsext4::{
    ErrorContext, Ext4Error, Ext4Result, FileExtentState, FileExtentTarget, InodeNumber,
    PreallocationOptions, RangeOperation, ZeroRangeOptions,
};

/// Zeros written at a time.
const ZEROS: u16 = 1 << 15;

/// Whether a hole would part an extent in two for which its node of the tree has no room, or take all that an inner
/// node leads to: the crate makes none.
fn is_refused(error: Ext4Error) -> bool {
    ["extent:node_capacity", "extent:empty_index"]
        .map(|op| Some(ErrorContext::Operation { op }))
        .contains(&error.context())
}

/// Of a file in so many pieces the crate may cut the end off in more than one transaction, which a failure does not
/// undo.
const MANY: usize = 2048;

/// Gives a file another size. The crate cannot take all from a file that an inner node of its extent tree leads to. But
/// where it takes a range out of a file, it makes a new tree of what remains: so the end is made no end for a moment,
/// and taken out.
pub(super) fn truncate(fs: &mut Mounted, number: InodeNumber, size: u64) -> Ext4Result<()> {
    let old = fs.inode(number)?.size;
    if size >= old {
        return fs.truncate_inode(number, size);
    }
    let pieces = fs.inode_extents(number, 0, old, FileExtentTarget::Data, 0)?;
    if pieces.mapped_extents < MANY {
        let cut = fs.truncate_inode(number, size);
        if !cut.is_err_and(is_refused) {
            return cut;
        }
    }
    let block = fs.statfs().block_size;
    let (start, end) = (size.next_multiple_of(block), old.next_multiple_of(block));
    if start < end {
        fs.truncate_inode(number, end + block)?;
        fs.operate_inode_range(number, start, end - start, RangeOperation::Collapse)?;
    }
    fs.truncate_inode(number, size)
}

/// Writes zeros where a range has data, which is as good as a hole to who reads.
fn write_zeros(fs: &mut Mounted, number: InodeNumber, start: u64, len: u64) -> Ext4Result<()> {
    let end = start.saturating_add(len).min(fs.inode(number)?.size);
    if start >= end {
        return Ok(());
    }
    let map = fs.inode_extents(
        number,
        start,
        end - start,
        FileExtentTarget::Data,
        usize::MAX,
    )?;
    let zeros = vec![0; usize::from(ZEROS)];
    for extent in map.extents {
        let mut at = start.max(extent.logical_start);
        let end = end.min(extent.logical_start + extent.length);
        while at < end && extent.state != FileExtentState::Unwritten {
            let next = end.min(at + u64::from(ZEROS));
            let part = usize::try_from(next - at).map_err(|_| Ext4Error::overflow())?;
            fs.write_inode(number, at, &zeros[..part])?;
            at = next;
        }
    }
    Ok(())
}

/// What fallocate(2)'s flags say.
pub(super) fn operation(mode: u32) -> Result<RangeOperation, Errno> {
    let keep_size = mode & linux::FALLOC_FL_KEEP_SIZE != 0;
    Ok(match mode & !linux::FALLOC_FL_KEEP_SIZE {
        0 => RangeOperation::Allocate(PreallocationOptions { keep_size }),
        linux::FALLOC_FL_PUNCH_HOLE => RangeOperation::PunchHole,
        linux::FALLOC_FL_ZERO_RANGE => RangeOperation::Zero(ZeroRangeOptions { keep_size }),
        linux::FALLOC_FL_COLLAPSE_RANGE => RangeOperation::Collapse,
        linux::FALLOC_FL_INSERT_RANGE => RangeOperation::Insert,
        _ => return Err(Errno::EOPNOTSUPP),
    })
}

/// Does it to `len` bytes from `offset` on.
pub(super) fn operate(
    fs: &mut Mounted,
    shared: &Shared,
    number: InodeNumber,
    (offset, len): (u64, u64),
    operation: RangeOperation,
) -> Ext4Result<()> {
    // Blocks that others have had must not be this file's before it is known that they are not theirs.
    if shared.freed.load(Ordering::Relaxed) {
        shared.commit(fs)?;
    }
    if !matches!(operation, RangeOperation::Allocate(_)) {
        shared.freed.store(true, Ordering::Relaxed);
    }
    let done = fs.operate_inode_range(number, offset, len, operation);
    if !done.is_err_and(is_refused) {
        return done;
    }
    match operation {
        RangeOperation::PunchHole => write_zeros(fs, number, offset, len),
        RangeOperation::Zero(ZeroRangeOptions { keep_size }) => {
            write_zeros(fs, number, offset, len)?;
            fs.preallocate_inode(number, offset, len, PreallocationOptions { keep_size })
        }
        _ => done,
    }
}
