//! `/etc/ld.so.cache`, in the format glibc has written since 2.2 ("new"), alone or behind the old one.

use super::{string_at, u32_at, u64_at};

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const NEW_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// `FLAG_ELF_LIBC6 | FLAG_X8664_LIB64`.
const X86_64: u32 = 0x0303;
/// In an entry's `hwcap`: the low word is an index into the list of glibc-hwcaps names.
const HWCAP_EXTENSION: u64 = 1 << 62;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
const EXTENSION_HWCAPS: u32 = 1;

/// The cache, opened.
#[derive(Clone, Copy)]
pub(crate) struct Cache<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Cache<'a> {
    /// Opens a cache. `None` when it is not one of ours.
    pub(crate) fn new(file: &'a [u8]) -> Option<Self> {
        let mut bytes = file;
        if file.starts_with(OLD_MAGIC) {
            let old = 16 + (u32_at(file, 12)? as usize).checked_mul(12)?;
            bytes = file.get(old.checked_next_multiple_of(8)?..)?;
        }
        bytes.starts_with(NEW_MAGIC).then_some(())?;
        Some(Self {
            bytes,
            count: u32_at(bytes, 20)? as usize,
        })
    }

    /// Returns the path for a soname. `rank` says how good a glibc-hwcaps directory is for this machine, from 1 (`None`: the
    /// machine cannot run it); the best wins, any is better than none. Of the others the first wins whose legacy hardware
    /// capabilities `admits` admits.
    pub(crate) fn find(
        &self,
        soname: &[u8],
        rank: impl Fn(&[u8]) -> Option<u32>,
        admits: impl Fn(u64) -> bool,
    ) -> Option<&'a [u8]> {
        let mut best: Option<(u32, &[u8])> = None;
        for index in 0..self.count {
            let at = HEADER + index * ENTRY;
            let (flags, hwcap) = (u32_at(self.bytes, at)?, u64_at(self.bytes, at + 16)?);
            if flags != X86_64
                || string_at(self.bytes, u32_at(self.bytes, at + 4)? as usize) != Some(soname)
            {
                continue;
            }
            let rank = if hwcap & HWCAP_EXTENSION != 0 {
                #[expect(clippy::cast_possible_truncation, reason = "the low word is meant")]
                let name = self.hwcap_name(hwcap as u32 as usize);
                name.and_then(&rank)
            } else {
                admits(hwcap).then_some(0)
            };
            let path = string_at(self.bytes, u32_at(self.bytes, at + 8)? as usize);
            if let (Some(rank), Some(path)) = (rank, path)
                && best.is_none_or(|(so_far, _)| so_far < rank)
            {
                best = Some((rank, path));
            }
        }
        best.map(|(_, path)| path)
    }

    fn hwcap_name(&self, index: usize) -> Option<&'a [u8]> {
        let extension = u32_at(self.bytes, 32)? as usize;
        if extension == 0 || u32_at(self.bytes, extension)? != EXTENSION_MAGIC {
            return None;
        }
        for section in 0..u32_at(self.bytes, extension + 4)? as usize {
            let at = extension + 8 + section * 16;
            if u32_at(self.bytes, at)? == EXTENSION_HWCAPS {
                let table = u32_at(self.bytes, at + 8)? as usize;
                return string_at(
                    self.bytes,
                    u32_at(self.bytes, table + index.checked_mul(4)?)? as usize,
                );
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cache_is_refused() {
        assert!(Cache::new(b"").is_none());
        assert!(Cache::new(b"ld.so-1.7.0\0\xff\xff\xff\xff").is_none());
    }
}
