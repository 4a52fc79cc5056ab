//! Who answers the references of an image's objects, found out when the image was made: `/etc/ld.so.bindings`.
//!
//! What a reference is bound to depends on what is loaded, and in which order. What an object would answer does not:
//! that follows from the two files. So the table lists, for each reference of each object, all objects of the image
//! that answer it, and by which symbol. A look-up takes the first of them in its scope, where otherwise every object
//! of the scope is asked by name. The table is as good for one program as for another, for a `dlopen` as for the
//! start.
//!
//! Objects are known by what they are ([`Identity`]), whatever their names. A scope with an object that the table
//! does not know (LD_PRELOAD, a file from elsewhere) is searched by name, and so are references to what has rules of
//! its own: protected and unique symbols, DT_SYMBOLIC, copies. So are those that many objects answer, as C++ has
//! them: there the list takes longer than the names. `dlsym` and lazy binding do not use the table.

mod identity;
mod make;
mod table;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use goblin::elf::program_header as pt;

pub(crate) use self::identity::Identity;
pub use self::make::{Difference, differences, make};
use self::table::Answers;
pub(crate) use self::table::{Table, Wanted};
use crate::elf::header::Headers;
use crate::elf::{ProgramHeader, Sym, address};
use crate::host::{Host, PAGE_SIZE};
use crate::image::Image;
use crate::lookup::{Definition, is_protected};
use crate::object::Object;
use crate::observer;
use crate::tables::Memory;
use crate::thread::ThreadProxy;
use crate::world::{Entry, World};

/// Where the table is.
pub const PATH: &str = "/etc/ld.so.bindings";

/// With fewer relocations that name symbols, looking into the table does not pay.
const WORTH_IT: usize = 64;

/// The table of a process, mapped at the first need.
#[derive(Clone, Copy, Default)]
pub(crate) enum Bindings {
    /// Nothing has needed it yet.
    #[default]
    Unread,
    /// There is none, or it is none.
    Absent,
    Here(Table<'static>),
}

impl Bindings {
    /// Returns the table, if there is one and it serves for these objects.
    pub(crate) fn serve(
        &mut self,
        host: &'static dyn Host,
        objects: &[Arc<Object>],
    ) -> Option<Table<'static>> {
        // Who wants to see every step wants to see them all.
        if observer::is_watched() || !objects.iter().any(|object| is_worth_it(object)) {
            return None;
        }
        if matches!(self, Self::Unread) {
            let mapped = map_whole(host, PATH.as_bytes()).and_then(Table::new);
            *self = mapped.map_or(Self::Absent, Self::Here);
        }
        match *self {
            Self::Here(table) => Some(table),
            Self::Unread | Self::Absent => None,
        }
    }
}

/// Maps a whole file, to be read for as long as the process lives. `None` if that cannot be.
fn map_whole(host: &'static dyn Host, path: &[u8]) -> Option<&'static [u8]> {
    let file = host.open(path).ok()?;
    let segment = ProgramHeader {
        p_type: pt::PT_LOAD,
        p_flags: pt::PF_R,
        p_offset: 0,
        p_vaddr: 0,
        p_paddr: 0,
        p_filesz: file.size(),
        p_memsz: file.size(),
        p_align: PAGE_SIZE as u64,
    };
    let image = Image::map(host, path, &*file, Headers::of_segment(segment)).ok()?;
    // Nobody gives it back.
    core::mem::forget(image.region);
    let memory = Memory {
        bias: image.bias,
        segments: &image.headers.segments,
    };
    memory.slice(0, address(file.size()))
}

/// Says whether an object has many references.
fn is_worth_it(object: &Object) -> bool {
    let symbolic = object
        .rela()
        .len()
        .saturating_sub(object.dynamic().relative_count);
    symbolic + object.plt_rela().len() >= WORTH_IT
}

/// The scope of one object, as the table has it.
pub(crate) struct Scope<'w> {
    answers: Answers<'static>,
    /// The places of the table's objects in the scope, counted from 1.
    places: Vec<u32>,
    objects: Vec<&'w Arc<Object>>,
}

impl<'w> Scope<'w> {
    /// Makes the scope of an object for a thread; `None` if references are to be looked up by name.
    pub(crate) fn new(
        table: Table<'static>,
        world: &'w World,
        entry: &'w Entry,
        thread: &ThreadProxy,
    ) -> Option<Self> {
        let own = &entry.object;
        if !is_worth_it(own) || own.dynamic().symbolic {
            return None;
        }
        let (mut places, mut objects) = (vec![0; table.object_count()], Vec::new());
        for object in world.scopes(entry).flat_map(|group| group.iter()) {
            if object.id() != own.id() && !object.is_visible_to(Some(thread)) {
                continue;
            }
            let place = places.get_mut(table.number(object.identity()?)?)?;
            if *place == 0 {
                objects.push(object);
                *place = u32::try_from(objects.len()).ok()?;
            }
        }
        let answers = table.answers(table.number(own.identity()?)?)?;
        Some(Self {
            answers,
            places,
            objects,
        })
    }

    /// Returns what the object's reference by a symbol is bound to; `None` if it is to be looked up by name.
    #[inline]
    pub(crate) fn find(
        &self,
        index: usize,
        symbol: &Sym,
        wanted: Wanted,
    ) -> Option<Definition<'w>> {
        if is_protected(symbol) {
            return None;
        }
        let mut first: Option<(u32, usize)> = None;
        for (object, index) in self.answers.to(index, wanted)? {
            let place = self.places.get(object).copied().unwrap_or(0);
            if place != 0 && first.is_none_or(|(so_far, _)| place < so_far) {
                first = Some((place, index));
            }
        }
        let (place, index) = first?;
        let object = self.objects.get(place as usize - 1)?;
        let symbol = object.symbol(index)?;
        let found = Definition {
            object,
            index,
            symbol,
        };
        (!found.is_unique()).then_some(found)
    }
}
