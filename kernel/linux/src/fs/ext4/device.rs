//! What the rsext4 crate asks of a kernel: a disk, the time, random bytes; and its errors as Linux'.
use super::inodes::InodeTables;
use crate::tty;
use abi::Errno;
use alloc::{format, sync::Arc, vec, vec::Vec};
use machine::{
    drivers::{self, RootDevice, block::Disk},
    mm::frame::Frame,
    sync::SpinLock,
    time,
};
use rsext4::{
    BlockIo, Clock, DeviceCapabilities, DeviceGeometry, EntropySource, Ext4Error, Ext4ErrorKind,
    Ext4Result, Ext4Timestamp, SectorId, checksum, endian::DiskFormat, superblock::Ext4Superblock,
};

const SECTOR: u32 = 512;
const SECOND: u64 = 1_000_000_000;

/// So many bytes of inodes are read with that of the root, at most.
const FIRST: usize = 4096;

/// Where the superblock is.
pub(super) const SUPERBLOCK: u64 = 1024;

/// A volume's disk.
///
/// The crate has the superblock say through the journal that the journal is to be replayed, and beside other blocks
/// that it is not any longer. If the machine died then, nobody would replay it. So the disk has the former before
/// anything else, and the latter last, by [`Volume::close`].
pub(super) struct Volume {
    disk: &'static Disk,
    state: Arc<SpinLock<State>>,
}

#[derive(Default)]
struct State {
    /// Something was written.
    is_open: bool,
    /// The superblock as it is to be at the end.
    clean: Option<Vec<u8>>,
    /// It has been said that something could not be written.
    is_failing: bool,
    /// Where there are inodes that are to be checked.
    inodes: Option<Arc<InodeTables>>,
    /// It has been said that one is damaged.
    is_damaged: bool,
}

/// The superblock `bytes` with the wish that the journal be replayed, if they have none.
fn opened(bytes: &[u8]) -> Option<[u8; Ext4Superblock::SUPERBLOCK_SIZE]> {
    let mut superblock = Ext4Superblock::from_disk_bytes(bytes);
    let recover = Ext4Superblock::EXT4_FEATURE_INCOMPAT_RECOVER;
    if !superblock.has_journal() || superblock.has_feature_incompat(recover) {
        return None;
    }
    superblock.s_feature_incompat |= recover;
    checksum::ext4_update_superblock_checksum(&mut superblock);
    let mut open = [0; Ext4Superblock::SUPERBLOCK_SIZE];
    superblock.to_disk_bytes(&mut open);
    Some(open)
}

impl Volume {
    /// That on this disk.
    pub(super) fn new(disk: &'static Disk) -> Self {
        let state = Arc::default();
        Self { disk, state }
    }

    /// Another reference to it.
    pub(super) fn again(&self) -> Self {
        let (disk, state) = (self.disk, self.state.clone());
        Self { disk, state }
    }

    /// Fills frames that nobody else has with what is at `offset`.
    pub(super) fn read_frames(&self, offset: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.disk.read_frames(offset, frames)
    }

    /// Fills `bytes` with what is at `offset`, past the crate.
    pub(super) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        self.disk.read(offset, bytes)
    }

    /// Whether blocks can be given back to the host.
    pub(super) fn discards(&self) -> bool {
        self.disk.discards()
    }

    /// Gives blocks back to the host, which nobody reads any more.
    pub(super) fn discard(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.disk.discard(offset, len)
    }

    /// Before anything is written: has the superblock say that the journal is to be replayed.
    fn open(&self) -> Result<(), Errno> {
        if core::mem::replace(&mut self.state.lock().is_open, true) {
            return Ok(());
        }
        let mut superblock = [0; Ext4Superblock::SUPERBLOCK_SIZE];
        self.disk.read(SUPERBLOCK, &mut superblock)?;
        if let Some(open) = opened(&superblock) {
            self.disk.write(SUPERBLOCK, &open)?;
            self.disk.flush()?;
        }
        Ok(())
    }

    /// After everything else was written: says that no journal is to be replayed.
    pub(super) fn close(&self) -> Result<(), Errno> {
        let clean = self.state.lock().clean.take();
        if let Some(superblock) = clean {
            self.disk.write(SUPERBLOCK, &superblock)?;
            self.disk.flush()?;
        }
        Ok(())
    }

    /// Something could not be written: says so, the first time.
    fn failed(&self, error: Errno) -> Ext4Error {
        if !core::mem::replace(&mut self.state.lock().is_failing, true) {
            let line = format!(
                "elfin: a volume cannot be written: {}; is the host's disk full?\n",
                error.text()
            );
            tty::stream::write_stderr(line.as_bytes());
        }
        Ext4Error::io()
    }

    /// From here on blocks of inodes are checked when they are read; that of the root, which has been, now.
    pub(super) fn check_inodes(&self) -> Result<(), Errno> {
        let mut bytes = [0; Ext4Superblock::SUPERBLOCK_SIZE];
        self.disk.read(SUPERBLOCK, &mut bytes)?;
        let superblock = Ext4Superblock::from_disk_bytes(&bytes);
        let inodes = InodeTables::of(&superblock, |at, bytes| self.disk.read(at, bytes))?;
        let inodes = inodes.map(Arc::new);
        if let Some(inodes) = &inodes {
            let (at, mut first) = (inodes.first(), vec![0; FIRST]);
            self.disk.read(at, &mut first)?;
            if let Some(inode) = inodes.damaged(at, &first) {
                return Err(errno(self.damaged(inode)));
            }
        }
        self.state.lock().inodes = inodes;
        Ok(())
    }

    /// An inode is not what was written: says so, the first time.
    fn damaged(&self, inode: u32) -> Ext4Error {
        if !core::mem::replace(&mut self.state.lock().is_damaged, true) {
            let line = format!(
                "elfin: a volume is damaged: the checksum of inode {inode} is wrong; \
                 `elfin volume fsck` mends that\n"
            );
            tty::stream::write_stderr(line.as_bytes());
        }
        Ext4Error::checksum()
    }

    /// What is written instead of `buffer` at `at`, if that has the superblock as it is to be at the end.
    fn still_open(&self, at: u64, buffer: &[u8]) -> Option<Vec<u8>> {
        let start = usize::try_from(SUPERBLOCK.checked_sub(at)?).ok()?;
        let there = start..start.checked_add(Ext4Superblock::SUPERBLOCK_SIZE)?;
        let bytes = buffer.get(there.clone())?;
        let open = opened(bytes);
        self.state.lock().clean = open.map(|_| bytes.to_vec());
        let mut instead = buffer.to_vec();
        instead[there].copy_from_slice(&open?);
        Some(instead)
    }
}

/// The time of day.
pub(super) struct Now;

/// Random bytes.
pub(super) struct Random;

fn offset(sector: SectorId) -> Ext4Result<u64> {
    let bytes = sector.raw().checked_mul(SECTOR.into());
    bytes.ok_or(Ext4Error::overflow())
}

impl BlockIo for Volume {
    fn write(&mut self, buffer: &[u8], sector: SectorId, _count: u32) -> Ext4Result<()> {
        let at = offset(sector)?;
        self.open().map_err(|_| Ext4Error::io())?;
        let open = self.still_open(at, buffer);
        let written = self.disk.write(at, open.as_deref().unwrap_or(buffer));
        written.map_err(|error| self.failed(error))
    }
    fn read(&mut self, buffer: &mut [u8], sector: SectorId, _count: u32) -> Ext4Result<()> {
        let at = offset(sector)?;
        let read = self.disk.read(at, buffer);
        read.map_err(|_| Ext4Error::io())?;
        let inodes = self.state.lock().inodes.clone();
        match inodes.and_then(|inodes| inodes.damaged(at, buffer)) {
            Some(inode) => Err(self.damaged(inode)),
            None => Ok(()),
        }
    }
    fn geometry(&self) -> DeviceGeometry {
        DeviceGeometry::new(SECTOR, self.disk.size() / u64::from(SECTOR))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities {
            read_only: self.disk.is_read_only(),
            flush: true,
            ..DeviceCapabilities::default()
        }
    }
    fn flush(&mut self) -> Ext4Result<()> {
        self.disk.flush().map_err(|error| self.failed(error))
    }
}

impl Clock for Now {
    fn now(&self) -> Ext4Result<Ext4Timestamp> {
        Ok(timestamp(time::realtime_ns()))
    }
}

impl EntropySource for Random {
    fn fill_bytes(&mut self, output: &mut [u8]) -> Ext4Result<()> {
        drivers::random::fill(output);
        Ok(())
    }
}

/// Nanoseconds since 1970 as the crate has them.
pub(super) fn timestamp(ns: u64) -> Ext4Timestamp {
    let seconds = i64::try_from(ns / SECOND).unwrap_or(i64::MAX);
    let nanos = u32::try_from(ns % SECOND).unwrap_or(0);
    Ext4Timestamp::new(seconds, nanos)
}

/// Linux' error for one of the crate's.
pub(super) fn errno(error: Ext4Error) -> Errno {
    match error.kind() {
        Ext4ErrorKind::Io | Ext4ErrorKind::Timeout => Errno::EIO,
        Ext4ErrorKind::Corrupted
        | Ext4ErrorKind::ChecksumMismatch
        | Ext4ErrorKind::BadSuperblock
        | Ext4ErrorKind::InvalidMagic => {
            log::warn!("a volume is damaged: {error:?}");
            Errno::EUCLEAN
        }
        Ext4ErrorKind::UnsupportedFeature
        | Ext4ErrorKind::UnsupportedCapability
        | Ext4ErrorKind::Unsupported => Errno::EOPNOTSUPP,
        Ext4ErrorKind::ReadOnly | Ext4ErrorKind::JournalAborted => Errno::EROFS,
        Ext4ErrorKind::NoSpace => Errno::ENOSPC,
        Ext4ErrorKind::NoMemory => Errno::ENOMEM,
        Ext4ErrorKind::QuotaExceeded => Errno::EDQUOT,
        Ext4ErrorKind::TooManyLinks => Errno::EMLINK,
        Ext4ErrorKind::PermissionDenied => Errno::EPERM,
        Ext4ErrorKind::NotFound => Errno::ENOENT,
        Ext4ErrorKind::AlreadyExists => Errno::EEXIST,
        Ext4ErrorKind::NotDirectory => Errno::ENOTDIR,
        Ext4ErrorKind::IsDirectory => Errno::EISDIR,
        Ext4ErrorKind::NotEmpty => Errno::ENOTEMPTY,
        Ext4ErrorKind::Busy => Errno::EBUSY,
        Ext4ErrorKind::BadFileDescriptor => Errno::EBADF,
        Ext4ErrorKind::InvalidInput => Errno::EINVAL,
        Ext4ErrorKind::Overflow => Errno::EOVERFLOW,
        Ext4ErrorKind::FileTooLarge => Errno::EFBIG,
    }
}
