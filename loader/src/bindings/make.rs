//! Making the table, where an image is made; and comparing it with look-ups by name.
//!
//! Files are mapped as if they were to be loaded, and asked with the very function that look-ups use.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use goblin::elf64::reloc::r_sym;

use super::identity::Identity;
use super::table::{Answer, Table, Wanted, Writer};
use crate::elf::hash::Name;
use crate::elf::header::Headers;
use crate::elf::version::Version;
use crate::host::{File, Host};
use crate::image::Image;
use crate::link_map::Type;
use crate::lookup::{Request, binds_locally, could_answer, find_in, is_protected, wanted_version};
use crate::namespace::BASE;
use crate::object::{Object, Place};
use crate::thread::ThreadProxy;

/// References that more objects answer are looked up by name.
const MOST: usize = 32;

/// Makes the table of the objects among some files. What cannot be loaded, or has no build-id, is left out.
pub fn make(host: &'static dyn Host, files: impl Iterator<Item = Box<dyn File>>) -> Vec<u8> {
    let owner = ThreadProxy::root();
    let objects = files.filter_map(|file| map(host, &*file, &owner));
    let objects: BTreeMap<Identity, Arc<Object>> = objects
        .filter_map(|object| Some((object.identity()?, object)))
        .collect();
    let numbered: Vec<&Arc<Object>> = objects.values().collect();
    let mut definers: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (number, object) in numbered.iter().enumerate() {
        for symbol in object
            .symbols()
            .iter()
            .filter(|symbol| could_answer(symbol, false))
        {
            let list = definers
                .entry(object.symbol_name(symbol).unwrap_or(b""))
                .or_default();
            if list.last() != Some(&number) {
                list.push(number);
            }
        }
    }
    let mut writer = Writer::default();
    // Objects refer to the same names: each is answered once.
    let mut lists: BTreeMap<(&[u8], Option<Version<'_>>), u32> = BTreeMap::new();
    for (identity, object) in &objects {
        let mut references = Vec::new();
        for (index, name) in references_of(object) {
            let version = wanted_version(object, index);
            let list = *lists.entry((name, version)).or_insert_with(|| {
                let definers = definers.get(name).map_or(&[][..], |list| list);
                if definers.len() > MOST {
                    return 0;
                }
                let request = Request {
                    version,
                    ..Request::new(host, Name::new(name), Some(&owner))
                };
                let answers = definers.iter().filter_map(|&number| {
                    let index = |defined_only| {
                        let request = Request {
                            defined_only,
                            ..request
                        };
                        find_in(numbered.get(number)?, &request).map(|found| found.index)
                    };
                    Some(Answer {
                        object: u32::try_from(number).ok()?,
                        any: index(false),
                        defined: index(true),
                    })
                });
                writer.list(&answers.collect::<Vec<_>>())
            });
            if references.len() <= index {
                references.resize(index + 1, 0);
            }
            if let Some(reference) = references.get_mut(index) {
                *reference = list;
            }
        }
        writer.object(identity, &references);
    }
    writer.finish()
}

/// Maps a file as if it were to be loaded, wherever there is room.
fn map(host: &'static dyn Host, file: &dyn File, owner: &Arc<ThreadProxy>) -> Option<Arc<Object>> {
    let mut headers = Headers::read(file).ok()?;
    headers.fixed = false;
    let image = Image::map(host, b"", file, headers).ok()?;
    let place = Place {
        namespace: BASE,
        isolated: false,
        kind: Type::Library,
        path: b"",
        shown: b"",
        origin: Vec::new(),
        vdso: None,
    };
    Object::new(0, place, file.id(), image, owner).ok()
}

/// Returns the symbols, with their names, by which an object's relocations refer to what others may define.
fn references_of(object: &Object) -> impl Iterator<Item = (usize, &[u8])> {
    let relocations = object.rela().iter().chain(object.plt_rela());
    let indices = relocations.map(|rela| r_sym(rela.r_info) as usize);
    let mut last = 0;
    let indices = indices.filter(move |&index| core::mem::replace(&mut last, index) != index);
    indices.filter_map(|index| {
        let symbol = object.symbol(index).filter(|_| index != 0)?;
        let is_open = !binds_locally(symbol) && !is_protected(symbol);
        Some((index, object.symbol_name(symbol).filter(|_| is_open)?))
    })
}

/// A reference that the table answers otherwise than a look-up by name does.
#[derive(Debug)]
pub struct Difference {
    /// Which file of the scope has it.
    pub file: usize,
    /// The name it asks for.
    pub symbol: String,
}

/// Compares a table with look-ups by name, for every reference of the files of a scope: returns how many the table
/// answers, and those that it answers otherwise.
pub fn differences(
    host: &'static dyn Host,
    table: &[u8],
    scope: impl Iterator<Item = Box<dyn File>>,
) -> (usize, Vec<Difference>) {
    let (mut count, mut differences) = (0, Vec::new());
    let Some(table) = Table::new(table) else {
        return (count, differences);
    };
    let owner = ThreadProxy::root();
    let scope: Vec<_> = scope.map(|file| map(host, &*file, &owner)).collect();
    let mut places = vec![usize::MAX; table.object_count()];
    for (at, object) in scope.iter().enumerate() {
        let identity = object.as_ref().and_then(|object| object.identity());
        let Some(number) = identity.and_then(|identity| table.number(identity)) else {
            return (count, differences);
        };
        if let Some(place) = places.get_mut(number) {
            *place = at.min(*place);
        }
    }
    for (file, object) in scope.iter().enumerate() {
        let Some((object, answers)) = object.as_ref().and_then(|object| {
            let number = table.number(object.identity()?)?;
            Some((object, table.answers(number)?))
        }) else {
            continue;
        };
        for (index, name) in references_of(object) {
            for wanted in [Wanted::Any, Wanted::Defined] {
                let Some(list) = answers.to(index, wanted) else {
                    continue;
                };
                let places = list.filter_map(|(number, index)| Some((*places.get(number)?, index)));
                let first = places.min().filter(|&(place, _)| place != usize::MAX);
                let request = Request {
                    version: wanted_version(object, index),
                    defined_only: wanted == Wanted::Defined,
                    ..Request::new(host, Name::new(name), Some(&owner))
                };
                let mut objects = scope.iter().enumerate();
                let by_name = objects.find_map(|(at, object)| {
                    let found = find_in(object.as_ref()?, &request)?;
                    Some((at, found.index))
                });
                count += 1;
                if first != by_name {
                    let symbol = String::from_utf8_lossy(name).into_owned();
                    differences.push(Difference { file, symbol });
                }
            }
        }
    }
    (count, differences)
}
