//! A volume's file system as this process has it, by the crate that machines have it by.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::{Result, anyhow, bail};
use rsext4::endian::DiskFormat;
use rsext4::superblock::Ext4Superblock;
use rsext4::{
    BlockIo, Clock, DeviceCapabilities, DeviceGeometry, EntropySource, Ext4, Ext4Error, Ext4Result,
    Ext4Timestamp, MountServices, MountedServices, NoopObserver, SectorId, checksum,
};

const SECTOR: u32 = 512;
/// Where the superblock is.
const SUPERBLOCK: u64 = 1024;

/// A file system.
pub(super) type Mounted = Ext4<Disk, MountedServices<Random, NoopObserver>>;

/// The file that a volume is. Before anything else is written, its superblock says that the journal is to be replayed,
/// and it is written last: a process that is killed leaves a journal.
pub(super) struct Disk {
    file: File,
    size: u64,
    /// As it is to be at the end.
    superblock: Arc<Mutex<Vec<u8>>>,
    is_open: bool,
}

/// A volume that is mounted.
pub(super) struct Volume {
    pub(super) fs: Mounted,
    file: File,
    superblock: Arc<Mutex<Vec<u8>>>,
}

impl Volume {
    /// Mounts the volume in a file, once its journal is replayed.
    pub(super) fn mount(file: File) -> Result<Self> {
        let mut superblock = vec![0; Ext4Superblock::SUPERBLOCK_SIZE];
        file.read_exact_at(&mut superblock, SUPERBLOCK)?;
        let superblock = Arc::new(Mutex::new(superblock));
        let disk = Disk {
            size: file.metadata()?.len(),
            file: file.try_clone()?,
            superblock: superblock.clone(),
            is_open: false,
        };
        let services = MountServices::new(Now, Random, NoopObserver);
        let fs = Mounted::mount_with_readonly_fallback(disk, services);
        let fs = fs.map_err(|error| anyhow!("it cannot be mounted: {error}"))?;
        if fs.options().readonly {
            bail!("it is damaged: elfin volume fsck may mend it");
        }
        Ok(Self {
            fs,
            file,
            superblock,
        })
    }

    /// Writes what is left, and then that nothing is.
    pub(super) fn unmount(mut self) -> Result<()> {
        let done = self.fs.unmount();
        done.map_err(|error| anyhow!("it cannot be written: {error}"))?;
        let superblock = self.superblock.lock().map_err(|_| anyhow!("a panic"))?;
        self.file.sync_all()?;
        self.file.write_all_at(&superblock, SUPERBLOCK)?;
        Ok(self.file.sync_all()?)
    }
}

impl Disk {
    fn open(&mut self) -> std::io::Result<()> {
        if std::mem::replace(&mut self.is_open, true) {
            return Ok(());
        }
        let mut bytes = vec![0; Ext4Superblock::SUPERBLOCK_SIZE];
        self.file.read_exact_at(&mut bytes, SUPERBLOCK)?;
        let mut superblock = Ext4Superblock::from_disk_bytes(&bytes);
        if superblock.has_journal() {
            superblock.s_feature_incompat |= Ext4Superblock::EXT4_FEATURE_INCOMPAT_RECOVER;
            checksum::ext4_update_superblock_checksum(&mut superblock);
            superblock.to_disk_bytes(&mut bytes);
            self.file.write_all_at(&bytes, SUPERBLOCK)?;
        }
        Ok(())
    }
}

/// The part of `len` bytes from `at` on that is the superblock, and where in it that begins.
fn overlap(at: u64, len: usize) -> Option<(Range<usize>, usize)> {
    let end = SUPERBLOCK + Ext4Superblock::SUPERBLOCK_SIZE as u64;
    let (from, to) = (at.max(SUPERBLOCK), end.min(at + len as u64));
    let there = (from - at) as usize..to.checked_sub(at)? as usize;
    (there.start < there.end).then(|| (there, (from - SUPERBLOCK) as usize))
}

fn offset(sector: SectorId) -> Ext4Result<u64> {
    let bytes = sector.raw().checked_mul(SECTOR.into());
    bytes.ok_or(Ext4Error::overflow())
}

impl BlockIo for Disk {
    fn write(&mut self, buffer: &[u8], sector: SectorId, _count: u32) -> Ext4Result<()> {
        let at = offset(sector)?;
        self.open().map_err(|_| Ext4Error::io())?;
        // All but the superblock.
        let mut pieces = [0..buffer.len(), buffer.len()..buffer.len()];
        if let Some((there, within)) = overlap(at, buffer.len()) {
            let mut superblock = self.superblock.lock().map_err(|_| Ext4Error::io())?;
            superblock[within..within + there.len()].copy_from_slice(&buffer[there.clone()]);
            pieces = [0..there.start, there.end..buffer.len()];
        }
        for piece in pieces {
            let at = at + piece.start as u64;
            let written = self.file.write_all_at(&buffer[piece], at);
            written.map_err(|_| Ext4Error::io())?;
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], sector: SectorId, _count: u32) -> Ext4Result<()> {
        let at = offset(sector)?;
        let read = self.file.read_exact_at(buffer, at);
        read.map_err(|_| Ext4Error::io())?;
        if let Some((there, within)) = overlap(at, buffer.len()) {
            let superblock = self.superblock.lock().map_err(|_| Ext4Error::io())?;
            let own = &superblock[within..within + there.len()];
            buffer[there].copy_from_slice(own);
        }
        Ok(())
    }

    fn geometry(&self) -> DeviceGeometry {
        DeviceGeometry::new(SECTOR, self.size / u64::from(SECTOR))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities {
            flush: true,
            ..DeviceCapabilities::default()
        }
    }

    fn flush(&mut self) -> Ext4Result<()> {
        // What this process has given to the host is there if only it is killed.
        Ok(())
    }
}

/// The time of day.
pub(super) struct Now;

impl Clock for Now {
    fn now(&self) -> Ext4Result<Ext4Timestamp> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_err(|_| Ext4Error::overflow())?;
        Ok(Ext4Timestamp::new(now.as_secs() as i64, now.subsec_nanos()))
    }
}

/// Random bytes.
pub(super) struct Random;

impl EntropySource for Random {
    fn fill_bytes(&mut self, output: &mut [u8]) -> Ext4Result<()> {
        let mut random = File::open("/dev/urandom").map_err(|_| Ext4Error::io())?;
        random.read_exact(output).map_err(|_| Ext4Error::io())
    }
}
