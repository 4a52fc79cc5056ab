//! What the rsext4 crate asks of a kernel: a disk, the time, random bytes; and its errors as Linux'.
use abi::Errno;
use machine::{
    drivers::{self, RootDevice, block::Disk},
    time,
};
use rsext4::{
    BlockIo, Clock, DeviceCapabilities, DeviceGeometry, EntropySource, Ext4Error, Ext4ErrorKind,
    Ext4Result, Ext4Timestamp, SectorId,
};

const SECTOR: u32 = 512;
const SECOND: u64 = 1_000_000_000;

/// A volume's disk.
pub(super) struct Volume(pub(super) &'static Disk);

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
        let written = self.0.write(offset(sector)?, buffer);
        written.map_err(|_| Ext4Error::io())
    }
    fn read(&mut self, buffer: &mut [u8], sector: SectorId, _count: u32) -> Ext4Result<()> {
        let read = self.0.read(offset(sector)?, buffer);
        read.map_err(|_| Ext4Error::io())
    }
    fn geometry(&self) -> DeviceGeometry {
        DeviceGeometry::new(SECTOR, self.0.size() / u64::from(SECTOR))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities {
            read_only: self.0.is_read_only(),
            flush: true,
            ..DeviceCapabilities::default()
        }
    }
    fn flush(&mut self) -> Ext4Result<()> {
        self.0.flush().map_err(|_| Ext4Error::io())
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
        | Ext4ErrorKind::InvalidMagic => Errno::EUCLEAN,
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
