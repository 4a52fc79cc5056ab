//! The format of `/etc/ld.so.bindings`. Little-endian; nothing in it is trusted.
//!
//! | part | what |
//! |---|---|
//! | header | the magic, how many objects, references and answers there are |
//! | objects | by identity, ascending: identity, first reference, number of references |
//! | references | by object and symbol index: where the answers to it begin, counted from 1; 0: not known |
//! | answers | object, symbol index and flags, the last one of each list marked |

use alloc::vec::Vec;

use super::identity::Identity;
use crate::elf::u32_at;

const MAGIC: &[u8; 16] = b"elfin-bindings-1";
const HEADER: usize = 32;
const OBJECT: usize = Identity::SIZE + 8;
/// In the word of an answer's symbol: it is the last one to this reference.
const LAST: u32 = 1 << 31;
/// It answers references to anything with a value.
const ANY: u32 = 1 << 30;
/// It answers references to definitions.
const DEFINED: u32 = 1 << 29;
const INDEX: u32 = DEFINED - 1;

/// What a reference takes for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The address of an executable's PLT entry, too.
    Any,
    /// Definitions only.
    Defined,
}

impl Wanted {
    fn flag(self) -> u32 {
        match self {
            Self::Any => ANY,
            Self::Defined => DEFINED,
        }
    }
}

/// The table, opened.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    objects: &'a [[u8; OBJECT]],
    references: &'a [[u8; 4]],
    answers: &'a [[u8; 8]],
}

impl<'a> Table<'a> {
    /// Opens a table. `None` if it is none.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let count = |at: usize| Some(u32_at(bytes, at)? as usize);
        let (objects, references, answers) = (count(16)?, count(20)?, count(24)?);
        let rest = bytes.strip_prefix(MAGIC)?.get(HEADER - MAGIC.len()..)?;
        let (objects, rest) = rest.split_at_checked(objects * OBJECT)?;
        let (references, rest) = rest.split_at_checked(references * 4)?;
        let (answers, _) = rest.split_at_checked(answers * 8)?;
        Some(Self {
            objects: objects.as_chunks().0,
            references: references.as_chunks().0,
            answers: answers.as_chunks().0,
        })
    }

    /// Returns how many objects it knows.
    pub(crate) fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// Returns its number for an object.
    pub(crate) fn number(&self, identity: Identity) -> Option<usize> {
        let of = |record: &[u8; OBJECT]| Identity::from_bytes(record.first_chunk()?);
        let found = self
            .objects
            .binary_search_by(|record| of(record).cmp(&Some(identity)));
        found.ok()
    }

    /// Returns the answers to an object's references.
    pub(crate) fn answers(&self, number: usize) -> Option<Answers<'a>> {
        let record = self.objects.get(number)?;
        let first = u32_at(record, Identity::SIZE)? as usize;
        let count = u32_at(record, Identity::SIZE + 4)? as usize;
        Some(Answers {
            references: self.references.get(first..first.checked_add(count)?)?,
            answers: self.answers,
        })
    }
}

/// The answers to one object's references.
#[derive(Clone, Copy)]
pub(crate) struct Answers<'a> {
    references: &'a [[u8; 4]],
    answers: &'a [[u8; 8]],
}

impl<'a> Answers<'a> {
    /// Returns the objects, by number, and their symbols that answer the reference by a symbol; `None` if it is not
    /// known.
    #[inline]
    pub(crate) fn to(
        &self,
        symbol: usize,
        wanted: Wanted,
    ) -> Option<impl Iterator<Item = (usize, usize)> + use<'a>> {
        let start = u32::from_le_bytes(*self.references.get(symbol)?) as usize;
        let mut answers = self.answers.get(start.checked_sub(1)?..)?.iter();
        let mut is_over = false;
        let flag = wanted.flag();
        Some(core::iter::from_fn(move || {
            while !is_over {
                let word = u64::from_le_bytes(*answers.next()?);
                #[expect(clippy::cast_possible_truncation, reason = "two halves of a word")]
                let (object, symbol) = (word as u32, (word >> 32) as u32);
                is_over = symbol & LAST != 0;
                if symbol & flag != 0 {
                    return Some((object as usize, (symbol & INDEX) as usize));
                }
            }
            None
        }))
    }
}

/// One object's answer: by which symbols it answers a reference.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) object: u32,
    pub(super) any: Option<usize>,
    pub(super) defined: Option<usize>,
}

/// A table that is being written.
#[derive(Default)]
pub(super) struct Writer {
    objects: Vec<u8>,
    references: Vec<u8>,
    answers: Vec<u8>,
}

impl Writer {
    /// Writes the answers to a reference; returns where they are, for [`Self::object`].
    pub(super) fn list(&mut self, answers: &[Answer]) -> u32 {
        let start = word(self.answers.len() / 8 + 1);
        let words = answers.iter().flat_map(|answer| {
            let alike = answer.any == answer.defined;
            let any = answer
                .any
                .map(|index| (index, if alike { ANY | DEFINED } else { ANY }));
            let defined = answer
                .defined
                .filter(|_| !alike)
                .map(|index| (index, DEFINED));
            let both = any.into_iter().chain(defined);
            both.map(|(index, flags)| [answer.object, word(index) | flags])
        });
        let mut words: Vec<[u32; 2]> = words.collect();
        match words.last_mut() {
            Some([_, symbol]) => *symbol |= LAST,
            None => words.push([0, LAST]),
        }
        self.answers.extend(
            words
                .as_flattened()
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
        start
    }

    /// Writes the next object, with where the answers to its references are.
    pub(super) fn object(&mut self, identity: &Identity, references: &[u32]) {
        let place = [self.references.len() / 4, references.len()].map(word);
        self.objects.extend(identity.bytes());
        self.objects
            .extend(place.iter().flat_map(|word| word.to_le_bytes()));
        self.references
            .extend(references.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// Returns the table.
    pub(super) fn finish(self) -> Vec<u8> {
        let counts = [
            self.objects.len() / OBJECT,
            self.references.len() / 4,
            self.answers.len() / 8,
            0,
        ];
        let counts = counts.map(|count| word(count).to_le_bytes());
        [
            &MAGIC[..],
            counts.as_flattened(),
            &self.objects,
            &self.references,
            &self.answers,
        ]
        .concat()
    }
}

/// Narrows an index. What does not fit makes a table that nothing is found in.
fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn identity(number: u8) -> Identity {
        Identity::from_bytes(&[number; Identity::SIZE]).unwrap_or_else(|| unreachable!())
    }

    fn answer(object: u32, any: Option<usize>, defined: Option<usize>) -> Answer {
        Answer {
            object,
            any,
            defined,
        }
    }

    /// Two objects; the second has references by symbols 1 (nobody answers), 2 and 3.
    fn table() -> Vec<u8> {
        let mut writer = Writer::default();
        let nobody = writer.list(&[]);
        let many = writer.list(&[
            answer(0, Some(7), Some(7)),
            answer(1, Some(8), None),
            answer(2, Some(9), Some(10)),
        ]);
        let none = writer.list(&[answer(1, None, None)]);
        writer.object(&identity(1), &[]);
        writer.object(&identity(2), &[0, nobody, many, none]);
        writer.finish()
    }

    #[test]
    fn what_was_written_is_found() {
        let bytes = table();
        let table = Table::new(&bytes).unwrap_or_else(|| unreachable!());
        assert_eq!(table.object_count(), 2);
        assert_eq!(table.number(identity(1)), Some(0));
        assert_eq!(table.number(identity(2)), Some(1));
        assert_eq!(table.number(identity(3)), None);
        let to = |object, symbol, wanted| {
            let answers = table.answers(object)?.to(symbol, wanted)?;
            Some(answers.collect::<Vec<_>>())
        };
        assert_eq!(to(1, 2, Wanted::Any), Some(vec![(0, 7), (1, 8), (2, 9)]));
        assert_eq!(to(1, 2, Wanted::Defined), Some(vec![(0, 7), (2, 10)]));
        assert_eq!(to(1, 1, Wanted::Any), Some(vec![]));
        assert_eq!(to(1, 3, Wanted::Defined), Some(vec![]));
        for (object, symbol) in [(1, 0), (1, 4), (0, 0), (2, 0)] {
            assert_eq!(to(object, symbol, Wanted::Any), None);
        }
    }

    #[test]
    fn what_is_no_table_is_refused_and_a_damaged_one_is_read_to_its_end() {
        let whole = table();
        assert!((0..whole.len()).all(|len| Table::new(&whole[..len]).is_none()));
        for at in MAGIC.len()..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let Some(table) = Table::new(&damaged) else {
                continue;
            };
            for number in 0..table.object_count() {
                let answers = table.answers(number);
                let found = answers.and_then(|answers| answers.to(2, Wanted::Any));
                assert!(found.map_or(0, Iterator::count) <= whole.len());
            }
        }
    }
}
