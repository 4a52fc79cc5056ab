//! The disks, as programs are told of them: numbers and names as virtio-blk's have them under Linux, /proc/diskstats
//! and /sys/block. None has a file in /dev: who is to use one has it mounted (`elfin run -v NAME:GUEST`).
use super::{generated, numbers, tree::Node};
use abi::Errno;
use alloc::{format, string::String, sync::Arc};
use core::fmt::Write;
use machine::drivers::{
    self, RootDevice,
    block::{Disk, DiskCounts, Operations},
};

/// The driver's number, as Linux most often gives it out: the first of those for local use, counted downwards.
const MAJOR: u32 = 254;
/// Minor numbers of a disk: its own, and those its partitions would have.
const MINORS: u32 = 16;
const SECTOR: u64 = 512;

/// A disk with its name and its number.
pub struct Named {
    /// The disk.
    pub disk: &'static Disk,
    /// `vda` is the first.
    pub name: String,
    /// The number.
    pub dev: u64,
}

/// All disks.
fn all() -> impl Iterator<Item = Named> {
    let numbered = (0..).zip(drivers::disks());
    numbered.map(|(index, disk)| Named {
        disk,
        name: name(index),
        dev: numbers::device(MAJOR, index * MINORS),
    })
}

/// `vda` to `vdz`, `vdaa` and so on.
#[doc(alias = "virtblk_name_format")]
fn name(mut index: u32) -> String {
    let mut letters = String::new();
    loop {
        let letter = u8::try_from(index % 26).unwrap_or(0);
        letters.insert(0, char::from(b'a' + letter));
        match (index / 26).checked_sub(1) {
            Some(rest) => index = rest,
            None => return format!("vd{letters}"),
        }
    }
}

/// The disk that QEMU was given this name for (`serial`).
pub fn find(serial: &[u8]) -> Option<Named> {
    all().find(|named| named.disk.name() == serial)
}

/// What a disk has done: the fields that /proc/diskstats and /sys/block/NAME/stat have in common.
fn statistics(disk: &Disk) -> String {
    let DiskCounts {
        reads,
        writes,
        discards,
        flushes,
        in_flight,
        busy_ns,
        weighted_ns,
        ..
    } = disk.counts();
    // Requests are not merged.
    let fields = |operations: Operations| {
        let Operations { done, sectors, ns } = operations;
        format!("{done} 0 {sectors} {}", ns / 1_000_000)
    };
    let [reads, writes, discards] = [reads, writes, discards].map(fields);
    let [busy, weighted] = [busy_ns, weighted_ns].map(|ns| ns / 1_000_000);
    let (flushed, flushing) = (flushes.done, flushes.ns / 1_000_000);
    format!("{reads} {writes} {in_flight} {busy} {weighted} {discards} {flushed} {flushing}\n")
}

/// /proc/diskstats
pub fn listed() -> String {
    let mut text = String::new();
    for Named { disk, name, dev } in all() {
        let (major, minor) = (numbers::major(dev), numbers::minor(dev));
        let _ = write!(text, "{major:4} {minor:7} {name} {}", statistics(disk));
    }
    text
}

/// KiB that all disks have read and written.
pub fn kib() -> (u64, u64) {
    let mut sectors = (0, 0);
    for disk in drivers::disks() {
        let DiskCounts { reads, writes, .. } = disk.counts();
        sectors = (sectors.0 + reads.sectors, sectors.1 + writes.sectors);
    }
    (sectors.0 / 2, sectors.1 / 2)
}

/// Fills /sys/block, and what leads there by class and by number.
pub fn populate(sys: &Arc<Node>) -> Result<(), Errno> {
    let devices = generated::directory(sys, "devices/virtual/block")?;
    let [block, class, by_number] =
        ["block", "class/block", "dev/block"].map(|path| generated::directory(sys, path));
    let (block, class, by_number) = (block?, class?, by_number?);
    for Named { disk, name, dev } in all() {
        let (major, minor) = (numbers::major(dev), numbers::minor(dev));
        let at = generated::directory(&devices, &name)?;
        let target = format!("devices/virtual/block/{name}");
        generated::link(&block, &name, &format!("../{target}"))?;
        generated::link(&class, &name, &format!("../../{target}"))?;
        generated::link(
            &by_number,
            &format!("{major}:{minor}"),
            &format!("../../{target}"),
        )?;
        generated::file(&at, "dev", move || format!("{major}:{minor}\n"))?;
        generated::file(&at, "size", move || format!("{}\n", disk.size() / SECTOR))?;
        generated::file(&at, "ro", move || {
            format!("{}\n", u8::from(disk.is_read_only()))
        })?;
        generated::file(&at, "stat", move || statistics(disk))?;
        generated::bytes(&at, "serial", move || disk.name().to_vec())?;
        generated::file(&at, "uevent", move || {
            format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE=disk\n")
        })?;
        for (name, text) in [
            ("removable", "0\n"),
            ("range", "16\n"),
            ("ext_range", "256\n"),
        ] {
            generated::file(&at, name, move || text.into())?;
        }
        let queue = generated::directory(&at, "queue")?;
        for (name, text) in [
            ("rotational", "1\n"),
            ("logical_block_size", "512\n"),
            ("physical_block_size", "512\n"),
            ("hw_sector_size", "512\n"),
            ("minimum_io_size", "512\n"),
            ("optimal_io_size", "0\n"),
            ("scheduler", "[none]\n"),
        ] {
            generated::file(&queue, name, move || text.into())?;
        }
        let granularity = if disk.discards() { "512\n" } else { "0\n" };
        generated::file(&queue, "discard_granularity", move || granularity.into())?;
    }
    Ok(())
}
