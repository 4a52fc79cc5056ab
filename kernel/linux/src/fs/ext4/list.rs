//! Listing directories.
use super::{Shared, UNNAMED};
use crate::fs::DirEntry;
use abi::Errno;
use alloc::vec::Vec;
use linux_raw_sys::general as linux;
use rsext4::{DirectoryCursor, DirectoryEntryType, InodeNumber};

/// Entries read at a time.
const ENTRIES: usize = 256;

impl Shared {
    /// The entries, without `.` and `..`.
    pub(super) fn list(&self, directory: InodeNumber) -> Result<Vec<DirEntry>, Errno> {
        let is_root = self.with(|fs| Ok(fs.root_inode() == directory))?;
        let mut entries = Vec::new();
        let mut cursor = DirectoryCursor::Start;
        loop {
            let part = self.with(|fs| fs.read_directory(directory, cursor, ENTRIES))?;
            let Some(last) = part.last() else {
                return Ok(entries);
            };
            cursor = last.next_cursor;
            let seen = part
                .into_iter()
                .filter(|entry| entry.name != b"." && entry.name != b"..")
                .filter(|entry| !is_root || entry.name != UNNAMED);
            entries.extend(seen.map(|entry| {
                let kind = match entry.file_type {
                    DirectoryEntryType::Unknown => linux::DT_UNKNOWN,
                    DirectoryEntryType::RegularFile => linux::DT_REG,
                    DirectoryEntryType::Directory => linux::DT_DIR,
                    DirectoryEntryType::CharacterDevice => linux::DT_CHR,
                    DirectoryEntryType::BlockDevice => linux::DT_BLK,
                    DirectoryEntryType::Fifo => linux::DT_FIFO,
                    DirectoryEntryType::Socket => linux::DT_SOCK,
                    DirectoryEntryType::Symlink => linux::DT_LNK,
                };
                DirEntry {
                    name: entry.name.into_boxed_slice(),
                    ino: entry.inode.as_u64(),
                    kind: kind as u8,
                }
            }));
        }
    }
}
