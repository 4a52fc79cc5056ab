//! Checksums of inodes: the crate writes them, and does not look at them when it reads. What a damaged inode says of
//! its size it would believe, and ask for that much memory. So blocks of the inode tables are checked as they come from
//! the disk. Left out: inodes without a name, of which nobody promises that their checksum is right.
use crate::fs::page_cache::len64;
use abi::Errno;
use alloc::{vec, vec::Vec};
use rsext4::{
    checksum::ext4_metadata_csum32, crc32c::ext4_crc32c_seed_from_superblock,
    superblock::Ext4Superblock,
};

/// Of a group's descriptor: where its inodes are.
const TABLE: usize = 0x8;
const TABLE_HIGH: usize = 0x28;
/// Of an inode.
const MODE: usize = 0;
const LINKS: usize = 26;
const GENERATION: usize = 100;
const CHECKSUM: usize = 124;
const EXTRA_SIZE: usize = 128;
const CHECKSUM_HIGH: usize = 130;
/// The shortest inode, and the least that one with a long checksum has more.
const SHORT: usize = 128;
const HAS_HIGH: u64 = 4;

/// A little-endian field of `N` bytes, if there is one.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.get(..N)?;
    let place = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
    Some(bytes.iter().rev().fold(0, place))
}

/// Where the inodes of a volume are.
pub(super) struct InodeTables {
    seed: u32,
    inode_size: usize,
    per_group: u32,
    /// Where each group's start, in bytes.
    starts: Vec<u64>,
}

impl InodeTables {
    /// Those of the volume with this superblock, of which `read` reads; `None` if its inodes have no checksums.
    pub(super) fn of(
        superblock: &Ext4Superblock,
        read: impl Fn(u64, &mut [u8]) -> Result<(), Errno>,
    ) -> Result<Option<Self>, Errno> {
        let checksums = Ext4Superblock::EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
        let inode_size = usize::from(superblock.s_inode_size);
        if !superblock.has_feature_ro_compat(checksums) || inode_size < SHORT {
            return Ok(None);
        }
        let size = usize::from(superblock.get_desc_size());
        let table = superblock.primary_gdt_byte_offset();
        let table = table.map_err(|_| Errno::EUCLEAN)?;
        let per_group = superblock.s_inodes_per_group.max(1);
        let mut starts = Vec::new();
        let mut descriptor = vec![0; size];
        for group in 0..superblock.s_inodes_count.div_ceil(per_group) {
            read(table + u64::from(group) * len64(size), &mut descriptor)?;
            let low = field::<4>(&descriptor, TABLE).ok_or(Errno::EUCLEAN)?;
            let at = low | field::<4>(&descriptor, TABLE_HIGH).unwrap_or(0) << 32;
            starts.push(at.saturating_mul(superblock.block_size()));
        }
        Ok(Some(Self {
            seed: ext4_crc32c_seed_from_superblock(superblock),
            inode_size,
            per_group,
            starts,
        }))
    }

    /// Where the first of them is, in bytes.
    pub(super) fn first(&self) -> u64 {
        self.starts.first().copied().unwrap_or(0)
    }

    /// The first inode with a wrong checksum in what was read at `offset`, which begins with a block.
    pub(super) fn damaged(&self, offset: u64, bytes: &[u8]) -> Option<u32> {
        let (size, end) = (len64(self.inode_size), offset + len64(bytes.len()));
        for (group, &start) in (0..).zip(&self.starts) {
            let table = start..start + u64::from(self.per_group) * size;
            if end <= table.start || offset >= table.end {
                continue;
            }
            let skipped = usize::try_from(table.start.saturating_sub(offset)).ok()?;
            let first = offset.saturating_sub(table.start) / size;
            let left = (u64::from(self.per_group) - first).min(u64::from(u32::MAX));
            let first = group * self.per_group + u32::try_from(first).ok()? + 1;
            let inodes = bytes.get(skipped..)?.chunks_exact(self.inode_size);
            let inodes = (first..).zip(inodes).take(usize::try_from(left).ok()?);
            for (number, inode) in inodes {
                if !self.is_sound(number, inode) {
                    return Some(number);
                }
            }
        }
        None
    }

    fn is_sound(&self, number: u32, inode: &[u8]) -> bool {
        let of = |at| field::<2>(inode, at).unwrap_or(0);
        if of(MODE) == 0 || of(LINKS) == 0 {
            return true;
        }
        let is_long = inode.len() > SHORT && of(EXTRA_SIZE) >= HAS_HIGH;
        let mut covered = inode.to_vec();
        let mut expected = of(CHECKSUM);
        covered[CHECKSUM..CHECKSUM + 2].fill(0);
        if is_long {
            expected |= of(CHECKSUM_HIGH) << 16;
            covered[CHECKSUM_HIGH..CHECKSUM_HIGH + 2].fill(0);
        }
        let generation = inode.get(GENERATION..GENERATION + 4).unwrap_or(&[]);
        let parts = [&number.to_le_bytes(), generation, &covered];
        let found = u64::from(ext4_metadata_csum32(self.seed, &parts));
        expected == if is_long { found } else { found & 0xffff }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 256;

    fn tables() -> InodeTables {
        InodeTables {
            seed: 7,
            inode_size: SIZE,
            per_group: 32,
            starts: vec![8192, 65536],
        }
    }

    /// A block of inodes from `number` on, of which all but the first have a name.
    fn block(tables: &InodeTables, number: u32) -> Vec<u8> {
        let mut block = vec![3; 16 * SIZE];
        block[LINKS..LINKS + 2].fill(0);
        for (number, inode) in (number..).zip(block.chunks_mut(SIZE)).skip(1) {
            inode[CHECKSUM..CHECKSUM + 2].fill(0);
            inode[CHECKSUM_HIGH..CHECKSUM_HIGH + 2].fill(0);
            let parts = [&number.to_le_bytes()[..], &[3; 4], inode];
            let sum = ext4_metadata_csum32(tables.seed, &parts).to_le_bytes();
            inode[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum[..2]);
            inode[CHECKSUM_HIGH..CHECKSUM_HIGH + 2].copy_from_slice(&sum[2..]);
        }
        block
    }

    #[test]
    fn a_changed_bit_of_an_inode_with_a_name_is_found() {
        let tables = tables();
        let mut second = block(&tables, 17);
        assert_eq!(tables.damaged(8192 + 4096, &second), None);
        second[5] ^= 1;
        assert_eq!(tables.damaged(8192 + 4096, &second), None);
        second[2 * SIZE + 5] ^= 1;
        assert_eq!(tables.damaged(8192 + 4096, &second), Some(19));
        assert_eq!(tables.damaged(4096, &second), None);
    }

    #[test]
    fn inodes_are_counted_through_the_groups() {
        let tables = tables();
        let mut bytes = vec![9; 4096];
        bytes.extend(block(&tables, 33));
        assert_eq!(tables.damaged(65536 - 4096, &bytes), None);
        bytes[4096 + 3 * SIZE] ^= 4;
        assert_eq!(tables.damaged(65536 - 4096, &bytes), Some(36));
    }

    #[test]
    fn descriptors_may_be_short() {
        assert_eq!(field::<2>(&[1, 2, 3], 1), Some(0x302));
        assert_eq!(field::<4>(&[1, 2, 3], 1), None);
    }
}
