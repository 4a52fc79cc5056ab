//! The ACPI tables, as far as they say which CPUs there are and where PCI configuration space is (ACPI 6.5, chapter 5).

use crate::mm::kernel_map::map_physical;
use alloc::vec::Vec;
use spin::Once;

const HEADER: usize = 36;

struct Tables(Vec<&'static [u8]>);

static TABLES: Once<Tables> = Once::new();

/// Maps a range of firmware memory.
fn bytes(at: u64, len: usize) -> &'static [u8] {
    let start = map_physical(at, len, true);
    // SAFETY: the range is mapped for good; firmware tables do not change.
    unsafe { core::slice::from_raw_parts(start, len) }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    if let Some(bytes) = bytes.get(at..at + N) {
        number[..N].copy_from_slice(bytes);
    }
    u64::from_le_bytes(number)
}

/// A table with its header, if the sum of its bytes is right.
fn table(at: u64) -> Option<&'static [u8]> {
    let len = number::<4>(bytes(at, HEADER), 4) as usize;
    if !(HEADER..1 << 20).contains(&len) {
        return None;
    }
    let table = bytes(at, len);
    let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    (sum == 0).then_some(table)
}

/// Finds the root pointer where a BIOS leaves it.
fn search() -> Option<u64> {
    (0xe_0000..0x10_0000)
        .step_by(16)
        .find(|&at| bytes(at, 8) == b"RSD PTR ")
}

/// Reads the tables; the APIC ids of the CPUs. `rsdp` is the root pointer's address, or 0.
pub(crate) fn init(rsdp: u64) -> Vec<u32> {
    let tables = TABLES.call_once(|| Tables(read(rsdp).unwrap_or_default()));
    let Some(madt) = tables.find(b"APIC") else {
        log::warn!("no ACPI table of CPUs: one CPU only");
        return Vec::new();
    };
    let id = |(kind, entry): (u8, &[u8])| {
        // Where the flags are, of which bit 0 says enabled; the id, and its mask.
        let (flags, at, mask) = match kind {
            0 => (4, 3, 0xff),
            9 => (8, 4, u64::MAX),
            _ => return None,
        };
        let is_enabled = number::<4>(entry, flags) & 1 != 0;
        u32::try_from(number::<4>(entry, at) & mask)
            .ok()
            .filter(|_| is_enabled)
    };
    entries(madt).filter_map(id).collect()
}

/// The entries of the table of CPUs: what each is of, and its bytes.
fn entries(madt: &'static [u8]) -> impl Iterator<Item = (u8, &'static [u8])> {
    let mut rest = madt.get(HEADER + 8..).unwrap_or_default();
    core::iter::from_fn(move || {
        let (&kind, &len) = (rest.first()?, rest.get(1)?);
        let (entry, next) = rest.split_at_checked(usize::from(len.max(2)))?;
        rest = next;
        Some((kind, entry))
    })
}

/// Where the I/O APIC's registers are whose inputs are counted from 0.
pub(crate) fn io_apic() -> Option<u64> {
    let madt = TABLES.get()?.find(b"APIC")?;
    entries(madt)
        .find(|&(kind, entry)| kind == 1 && number::<4>(entry, 8) == 0)
        .map(|(_, entry)| number::<4>(entry, 4))
}

/// Where the HPET's registers are.
pub(crate) fn hpet() -> Option<u64> {
    let table = TABLES.get()?.find(b"HPET")?;
    Some(number::<8>(table, HEADER + 8)).filter(|&at| at != 0)
}

fn read(rsdp: u64) -> Option<Vec<&'static [u8]>> {
    let rsdp = if rsdp == 0 { search()? } else { rsdp };
    let root = bytes(rsdp, 36);
    // The extended table has addresses of 8 bytes.
    let (list, size) = if root[15] >= 2 && number::<8>(root, 24) != 0 {
        (table(number::<8>(root, 24))?, 8)
    } else {
        (table(number::<4>(root, 16))?, 4)
    };
    let addresses = list[HEADER..].chunks_exact(size).map(number_of);
    Some(addresses.filter_map(table).collect())
}

fn number_of(entry: &[u8]) -> u64 {
    entry
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

impl Tables {
    fn find(&self, signature: &[u8; 4]) -> Option<&'static [u8]> {
        self.0
            .iter()
            .copied()
            .find(|table| table.starts_with(signature))
    }
}

/// Where the configuration space of PCI segment 0 is mapped: (address, first bus, last bus).
pub(crate) fn mcfg() -> Option<(u64, u8, u8)> {
    let table = TABLES.get()?.find(b"MCFG")?;
    let entry = table
        .get(HEADER + 8..)?
        .chunks_exact(16)
        .find(|entry| number::<2>(entry, 8) == 0)?;
    Some((number::<8>(entry, 0), entry[10], entry[11]))
}
