//! Damage done to a well-formed object, as a sequence of bytes directs: the fuzzer's input is a list of orders, each of
//! which writes one value into one field.

use crate::layout::{Field, Layout, Part};

/// Bytes that direct something. When they are used up, zeros follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders<'a>(&'a [u8]);

impl<'a> Orders<'a> {
    /// Starts at the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a little-endian number of `N` bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> u64 {
        let (taken, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut bytes = [0; 8];
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }

    /// Takes a number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.take::<2>()).unwrap_or(0) % limit
    }
}

/// Values that break things: limits of integers, of the address space, of pages, sizes of structures, flags.
const INTERESTING: [u64; 32] = [
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    23,
    24,
    0x7f,
    0xff,
    0xfff,
    0x1000,
    0x1001,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff8,
    0xffff_ffff,
    1 << 32,
    1 << 45,
    (1 << 46) - 1,
    (1 << 47) - 0x1000,
    1 << 47,
    0x7fff_ffff_ffff_fff8,
    1 << 63,
    0xffff_ffff_ffff_f000,
    0xffff_ffff_ffff_fff8,
    u64::MAX,
];

/// Carries out up to 24 orders on a copy of a file; only fields of these parts are touched.
pub(crate) fn damage(
    file: &[u8],
    layout: &Layout,
    parts: &[Part],
    orders: &mut Orders<'_>,
) -> Vec<u8> {
    let mut file = file.to_vec();
    let parts: Vec<&[Field]> = parts
        .iter()
        .map(|&part| layout.fields(part))
        .filter(|fields| !fields.is_empty())
        .collect();
    for _ in 0..24 {
        if orders.is_empty() || parts.is_empty() {
            break;
        }
        let fields = parts[orders.below(parts.len())];
        let field = fields[orders.below(fields.len())];
        let old = read(&file, field);
        let value = match orders.take::<1>() % 6 {
            0 => INTERESTING[orders.below(INTERESTING.len())],
            1 => old.wrapping_add_signed(i64::from(orders.take::<1>() as u8 as i8)),
            // A value that has its place elsewhere.
            2 => read(&file, fields[orders.below(fields.len())]),
            3 => old ^ 1 << orders.below(64),
            4 => (file.len() as u64).wrapping_sub(orders.take::<1>()),
            _ => orders.take::<8>(),
        };
        write(&mut file, field, value);
    }
    file
}

fn read(file: &[u8], field: Field) -> u64 {
    let mut bytes = [0; 8];
    bytes[..field.size].copy_from_slice(&file[field.at..field.at + field.size]);
    u64::from_le_bytes(bytes)
}

fn write(file: &mut [u8], field: Field, value: u64) {
    file[field.at..field.at + field.size].copy_from_slice(&value.to_le_bytes()[..field.size]);
}
