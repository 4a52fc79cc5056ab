//! Giving free blocks back to the host at the end. When the volume is unmounted its bitmaps are on the disk, and nobody
//! changes them any more; before, the crate does not tell which blocks are free.
use super::{
    device::{SUPERBLOCK, Volume},
    inodes::field,
};
use crate::fs::page_cache::len64;
use abi::Errno;
use alloc::vec;
use rsext4::{endian::DiskFormat, superblock::Ext4Superblock};

/// Fewer blocks in a row stay.
const LEAST: u64 = 16;
/// Of a group's descriptor: where its bitmap is, and its flags.
const BITMAP: usize = 0;
const FLAGS: usize = 0x12;
const BITMAP_HIGH: usize = 0x20;
/// No block of the group has ever been used (`EXT4_BG_BLOCK_UNINIT`).
const UNUSED: u64 = 2;

/// Calls `f` with the runs of clear bits among the first `count`: where one starts, and its length.
fn clear_runs(
    bitmap: &[u8],
    count: u64,
    mut f: impl FnMut(u64, u64) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut start = None;
    let bits = bitmap
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
    for (at, bit) in (0..count).zip(bits) {
        match (start, bit) {
            (None, 0) => start = Some(at),
            (Some(from), 1) => {
                f(from, at - from)?;
                start = None;
            }
            _ => (),
        }
    }
    match start {
        Some(from) => f(from, count - from),
        None => Ok(()),
    }
}

impl Volume {
    /// Gives the free blocks of the volume, which is unmounted, back to the host.
    pub(super) fn trim(&self) -> Result<(), Errno> {
        if !self.discards() {
            return Ok(());
        }
        let mut bytes = vec![0; Ext4Superblock::SUPERBLOCK_SIZE];
        self.read_at(SUPERBLOCK, &mut bytes)?;
        let superblock = Ext4Superblock::from_disk_bytes(&bytes);
        let block_size = superblock.block_size();
        let first = u64::from(superblock.s_first_data_block);
        let blocks = superblock.blocks_count();
        let per_group = u64::from(superblock.s_blocks_per_group).max(1);
        let size = usize::from(superblock.get_desc_size());
        let table = superblock.primary_gdt_byte_offset();
        let table = table.map_err(|_| Errno::EUCLEAN)?;
        let mut descriptor = vec![0; size];
        let mut bitmap = vec![0; usize::try_from(block_size).map_err(|_| Errno::EUCLEAN)?];
        for (group, start) in (0..)
            .zip((first..blocks).step_by(usize::try_from(per_group).map_err(|_| Errno::EUCLEAN)?))
        {
            self.read_at(table + group * len64(size), &mut descriptor)?;
            if field::<2>(&descriptor, FLAGS).is_some_and(|flags| flags & UNUSED != 0) {
                continue;
            }
            let low = field::<4>(&descriptor, BITMAP).ok_or(Errno::EUCLEAN)?;
            let at = low | field::<4>(&descriptor, BITMAP_HIGH).unwrap_or(0) << 32;
            self.read_at(at.saturating_mul(block_size), &mut bitmap)?;
            let count = per_group.min(blocks - start);
            clear_runs(&bitmap, count, |from, count| {
                if count < LEAST {
                    return Ok(());
                }
                self.discard((start + from) * block_size, count * block_size)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn free_blocks_are_found_in_runs() {
        let mut runs = Vec::new();
        let found = clear_runs(&[0b1110_0110, 0xff, 0b0000_1111, 0], 21, |from, count| {
            runs.push((from, count));
            Ok(())
        });
        assert_eq!(found, Ok(()));
        assert_eq!(runs, [(0, 1), (3, 2), (20, 1)]);
    }
}
