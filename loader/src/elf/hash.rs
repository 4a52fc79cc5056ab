//! Symbol hash tables: GNU's, with its Bloom filter, and the gABI's.

use super::{first_zero, u32_at};

/// Returns the GNU hash of a name (Drepper, *How To Write Shared Libraries*; there is no specification).
pub(crate) fn gnu_hash(name: &[u8]) -> u32 {
    let (eights, tail) = name.as_chunks();
    let add = |hash: u64, &eight: &[u8; 8]| {
        let added = gnu_polynomial(u64::from_le_bytes(eight));
        hash.wrapping_mul(POWERS[8]).wrapping_add(added)
    };
    let hash = low(eights.iter().fold(u64::from(GNU_SEED), add));
    tail.iter().fold(hash, |hash, &byte| gnu_step(hash, byte))
}

const GNU_SEED: u32 = 5381;

fn gnu_step(hash: u32, byte: u8) -> u32 {
    hash.wrapping_mul(33).wrapping_add(u32::from(byte))
}

/// What a hash is multiplied by when so many bytes are added to it.
const POWERS: [u64; 9] = {
    let mut powers = [1; 9];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 33;
        at += 1;
    }
    powers
};

/// Returns what eight bytes, the first of which is the lowest, add to a hash: a polynomial in 33. Neighbours are
/// joined, then pairs, then fours, each of which has room in its lane.
fn gnu_polynomial(bytes: u64) -> u64 {
    let (ones, twos) = (0x00ff_00ff_00ff_00ff, 0x0000_ffff_0000_ffff);
    let pairs = (bytes & ones) * POWERS[1] + (bytes >> 8 & ones);
    let fours = (pairs & twos) * POWERS[2] + (pairs >> 16 & twos);
    (fours & 0xffff_ffff) * POWERS[4] + (fours >> 32)
}

/// Returns the half of a hash that counts.
fn low(hash: u64) -> u32 {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Returns the hash of a name for DT_HASH and for versions (gABI, "Hash Table").
pub(crate) fn sysv_hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, &byte| {
        let shifted = hash.wrapping_shl(4).wrapping_add(u32::from(byte));
        let top = shifted & 0xf000_0000;
        (shifted ^ (top >> 24)) & !top
    })
}

/// The hash table of one object. Both forms yield the indices of the symbols in a name's bucket.
#[derive(Clone, Copy)]
pub(crate) enum HashTable<'a> {
    /// DT_GNU_HASH.
    Gnu(GnuHash<'a>),
    /// DT_HASH.
    SysV(&'a [u8]),
}

/// A name with its hashes, computed once per look-up.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    /// The name.
    pub(crate) bytes: &'a [u8],
    gnu: u32,
}

impl<'a> Name<'a> {
    /// Hashes a name.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            gnu: gnu_hash(bytes),
        }
    }

    /// Returns what GNU's tables have of its hash: all but the lowest bit.
    pub(crate) fn indexed(&self) -> u32 {
        self.gnu >> 1
    }

    /// Finds the end of the name at an offset of a string table, and hashes it, in one go.
    pub(crate) fn at(strings: &'a [u8], offset: usize) -> Option<Self> {
        let rest = strings.get(offset..)?;
        let (eights, tail) = rest.as_chunks::<8>();
        let mut gnu = u64::from(GNU_SEED);
        let mut len = 0;
        for &eight in eights {
            let word = u64::from_le_bytes(eight);
            if let Some(left) = first_zero(word) {
                // Zeros before a name add nothing.
                let padded = word << (56 - 8 * left) << 8;
                gnu = gnu
                    .wrapping_mul(*POWERS.get(left)?)
                    .wrapping_add(gnu_polynomial(padded));
                return Some(Self {
                    bytes: rest.get(..len + left)?,
                    gnu: low(gnu),
                });
            }
            gnu = gnu
                .wrapping_mul(POWERS[8])
                .wrapping_add(gnu_polynomial(word));
            len += 8;
        }
        let left = tail.iter().position(|&byte| byte == 0)?;
        let (bytes, _) = rest.split_at_checked(len + left)?;
        let gnu = tail
            .iter()
            .take(left)
            .fold(low(gnu), |hash, &byte| gnu_step(hash, byte));
        Some(Self { bytes, gnu })
    }
}

impl<'a> HashTable<'a> {
    /// Says whether the table may have symbols of this name: mostly not, which a Bloom filter knows.
    #[inline(always)]
    pub(crate) fn may_have(&self, name: &Name<'_>) -> bool {
        match self {
            Self::Gnu(table) => table.may_have(name.gnu),
            Self::SysV(_) => true,
        }
    }

    /// Returns the indices of symbols that may have this name.
    pub(crate) fn candidates(&self, name: &Name<'_>) -> Candidates<'a> {
        if self.may_have(name) {
            self.bucket(name)
        } else {
            Candidates::None
        }
    }

    /// As [`Self::candidates`], of a table that may have them.
    #[inline]
    pub(crate) fn bucket(&self, name: &Name<'_>) -> Candidates<'a> {
        match self {
            Self::Gnu(table) => table.bucket(name.gnu),
            Self::SysV(table) => sysv_candidates(table, sysv_hash(name.bytes)),
        }
    }

    /// Returns what a `struct link_map` holds of it, if it is DT_GNU_HASH.
    pub(crate) fn gnu_fields(&self) -> Option<GnuHashFields> {
        match self {
            Self::Gnu(table) => Some(table.fields()),
            Self::SysV(_) => None,
        }
    }

    /// Returns the number of symbols the table knows of (indices are below it).
    pub(crate) fn symbol_count(&self) -> usize {
        match *self {
            Self::Gnu(table) => table.symbol_count(),
            Self::SysV(table) => u32_at(table, 4).unwrap_or(0) as usize,
        }
    }

    /// Returns how many symbols there are before the first that GNU's table has: it has none that is undefined.
    pub(crate) fn unhashed_count(&self) -> usize {
        match self {
            Self::Gnu(table) => table.first as usize,
            Self::SysV(_) => self.symbol_count(),
        }
    }
}

/// What a `struct link_map` holds of a DT_GNU_HASH table.
pub(crate) struct GnuHashFields {
    pub(crate) bucket_count: u32,
    pub(crate) bloom_mask: usize,
    pub(crate) shift: u32,
    pub(crate) bloom: usize,
    pub(crate) buckets: usize,
    /// Where the chain of symbol 0 would be; it starts later, with the first symbol that is hashed.
    pub(crate) chain_of_zero: usize,
}

/// DT_GNU_HASH, opened.
#[derive(Clone, Copy)]
pub(crate) struct GnuHash<'a> {
    /// The words of the Bloom filter; how many there are is a power of two.
    bloom: &'a [[u8; 8]],
    /// By how much a hash is shifted for the filter's second bit; more than 31 leaves nothing of it.
    shift: u32,
    bucket_count: u32,
    first: u32,
    buckets: &'a [[u8; 4]],
    chains: &'a [[u8; 4]],
}

impl<'a> GnuHash<'a> {
    /// Opens a table. `None` when its header makes no sense.
    pub(crate) fn new(table: &'a [u8]) -> Option<Self> {
        let bucket_count = u32_at(table, 0)?;
        let first = u32_at(table, 4)?;
        let bloom_words = u32_at(table, 8)? as usize;
        let shift = u32_at(table, 12)?;
        if bloom_words == 0 || !bloom_words.is_power_of_two() {
            return None;
        }
        let (bloom, rest) = table
            .get(16..)?
            .split_at_checked(bloom_words.checked_mul(8)?)?;
        let (words, _) = rest.as_chunks();
        let (buckets, chains) = words.split_at_checked(bucket_count as usize)?;
        Some(Self {
            bloom: bloom.as_chunks().0,
            shift: shift.min(u32::BITS),
            bucket_count,
            first,
            buckets,
            chains,
        })
    }

    fn fields(&self) -> GnuHashFields {
        let chains = self.chains.as_ptr().addr();
        GnuHashFields {
            bucket_count: self.bucket_count,
            bloom_mask: self.bloom.len() - 1,
            shift: self.shift,
            bloom: self.bloom.as_ptr().addr(),
            buckets: self.buckets.as_ptr().addr(),
            chain_of_zero: chains.wrapping_sub(self.first as usize * 4),
        }
    }

    #[inline(always)]
    fn may_have(&self, hash: u32) -> bool {
        let index = (hash as usize / 64) & (self.bloom.len() - 1);
        let word = self.bloom.get(index);
        let word = word.map_or(0, |&word| u64::from_le_bytes(word));
        let second = u64::from(hash) >> (self.shift & 63);
        (word >> (hash & 63)) & 1 != 0 && (word >> (second & 63)) & 1 != 0
    }

    #[inline]
    fn bucket(&self, hash: u32) -> Candidates<'a> {
        let bucket = hash.checked_rem(self.bucket_count);
        let bucket = bucket.and_then(|bucket| self.buckets.get(bucket as usize));
        let index = bucket.map_or(0, |&bucket| u32::from_le_bytes(bucket));
        let place = index.checked_sub(self.first).filter(|_| index != 0);
        let chain = place.and_then(|place| self.chains.get(place as usize..));
        let chain = chain.unwrap_or(&[]);
        Candidates::Gnu {
            chain,
            index: index as usize,
            hash,
        }
    }

    /// Returns what it has of its names' hashes, as [`Name::indexed`].
    pub(crate) fn hashes(&self) -> impl Iterator<Item = u32> {
        let count = self.symbol_count() - self.first as usize;
        let words = self.chains.iter().take(count);
        words.map(|&word| u32::from_le_bytes(word) >> 1)
    }

    fn symbol_count(&self) -> usize {
        let buckets = self.buckets.iter();
        let last = buckets.map(|&bucket| u32::from_le_bytes(bucket)).max();
        let last = last.unwrap_or(0);
        if last < self.first || last == 0 {
            return self.first as usize;
        }
        let mut index = last;
        while let Some(&word) = self.chains.get((index - self.first) as usize) {
            if u32::from_le_bytes(word) & 1 != 0 {
                return index as usize + 1;
            }
            index += 1;
        }
        index as usize
    }
}

fn sysv_candidates(table: &[u8], hash: u32) -> Candidates<'_> {
    let (Some(buckets), Some(count)) = (u32_at(table, 0), u32_at(table, 4)) else {
        return Candidates::None;
    };
    if buckets == 0 {
        return Candidates::None;
    }
    let index = u32_at(table, 8 + (hash % buckets) as usize * 4).unwrap_or(0);
    let chains = table.get(8 + buckets as usize * 4..).unwrap_or(&[]);
    Candidates::SysV {
        chains,
        index,
        left: (count as usize).min(chains.len() / 4),
    }
}

/// The symbols in one bucket.
pub(crate) enum Candidates<'a> {
    /// None at all: what the Bloom filter mostly says.
    None,
    /// A run of GNU chain words, ended by one with the low bit set.
    Gnu {
        /// The words that are left, and those of other buckets behind them.
        chain: &'a [[u8; 4]],
        /// The symbol of the first.
        index: usize,
        /// The hash looked for.
        hash: u32,
    },
    /// A linked list of indices. `left` bounds it, for the sake of tables with a cycle.
    SysV {
        /// The chain words.
        chains: &'a [u8],
        /// The next symbol, 0 at the end.
        index: u32,
        /// How many more there can be.
        left: usize,
    },
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Gnu { chain, index, hash } => loop {
                let (&word, rest) = chain.split_first()?;
                let word = u32::from_le_bytes(word);
                let current = *index;
                *chain = if word & 1 == 0 { rest } else { &[] };
                *index += 1;
                if (word ^ *hash) >> 1 == 0 {
                    return Some(current);
                }
            },
            Self::SysV {
                chains,
                index,
                left,
            } => {
                if *index == 0 || *left == 0 {
                    return None;
                }
                let current = *index;
                *left -= 1;
                *index = u32_at(chains, current as usize * 4).unwrap_or(0);
                Some(current as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::string_at;
    use alloc::format;

    #[test]
    fn hashes_are_the_published_ones() {
        assert_eq!(gnu_hash(b"printf"), 0x156b_2bb8);
        assert_eq!(sysv_hash(b"printf"), 0x0779_05a6);
        assert_eq!(sysv_hash(b"GLIBC_2.2.5"), 0x0969_1a75);
    }

    #[test]
    fn a_name_in_a_table_ends_with_a_zero() {
        for name in [
            "",
            "a",
            "seven77",
            "eight888",
            "nine99999",
            "PyErr_SetString_and_more",
            "\u{ff}\u{80}\u{1}\u{7f}\u{ff}\u{100}\u{ff}",
        ] {
            for offset in [0, 1, 5] {
                let table = format!("{}{name}\0another", "x".repeat(offset)).into_bytes();
                let found = Name::at(&table, offset).map(|found| (found.bytes, found.gnu));
                let hash = name.bytes().fold(GNU_SEED, gnu_step);
                assert_eq!(found, Some((name.as_bytes(), hash)));
                assert_eq!(gnu_hash(name.as_bytes()), hash);
                assert_eq!(string_at(&table, offset), Some(name.as_bytes()));
                let cut = &table[..offset + name.len()];
                assert!(Name::at(cut, offset).is_none() && string_at(cut, offset).is_none());
            }
        }
        assert!(Name::at(b"a\0", 3).is_none());
    }

    #[test]
    fn nonsense_tables_have_no_symbols() {
        assert!(GnuHash::new(&[]).is_none());
        assert!(GnuHash::new(&[0xff; 16]).is_none());
        let cyclic = [1u32, 2, 1, 0, 1].map(u32::to_le_bytes).concat();
        let table = HashTable::SysV(&cyclic);
        assert!(table.candidates(&Name::new(b"x")).count() <= 2);
    }

    #[test]
    fn a_cycle_ends_where_the_table_does() {
        // One bucket, 2^32 - 1 chain words by its own account, of which there are two that name each other.
        let cyclic = [1, u32::MAX, 1, 0, 1].map(u32::to_le_bytes).concat();
        let table = HashTable::SysV(&cyclic);
        assert_eq!(table.candidates(&Name::new(b"x")).count(), 2);
    }
}
