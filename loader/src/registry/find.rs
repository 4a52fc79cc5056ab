//! Questions about addresses that hosts and the rest of the loader ask: whose they are, and how to unwind there.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use goblin::elf::program_header as pt;

use super::{Occupant, Snapshot};
use crate::elf::address;
use crate::loaded::Loaded;
use crate::object::Object;
use crate::world::{Entry, World};

/// Where an address belongs, for backtraces.
#[derive(Debug, Clone)]
pub enum Symbolised {
    /// To a loaded object.
    Object {
        /// The object's path.
        path: Vec<u8>,
        /// The address relative to the object's load bias: what `addr2line` wants.
        offset: usize,
        /// The dynamic symbol that the address lies in, with the distance to its start.
        symbol: Option<(Vec<u8>, usize)>,
    },
    /// To code that the program has registered.
    Code {
        /// The name it was registered by, perhaps empty.
        name: Vec<u8>,
        /// The distance to its start.
        offset: usize,
        /// The path of the object that owns it.
        owner: Option<Vec<u8>>,
    },
}

impl Loaded {
    /// Says where an address belongs. Takes no lock, so a crash handler may call it.
    pub(crate) fn symbolise(&self, at: usize) -> Option<Symbolised> {
        let snapshot = self.registry().snapshot()?;
        let entry = snapshot.at(at)?;
        Some(match &entry.value {
            Occupant::Object(object) => {
                let symbol = object.symbol_at(at).and_then(|index| object.symbol(index));
                let symbol = symbol.map(|symbol| {
                    let name = object.symbol_name(symbol).unwrap_or(b"?").to_vec();
                    let start = object.real(address(symbol.st_value));
                    (name, at.wrapping_sub(start))
                });
                Symbolised::Object {
                    path: object.path().to_vec(),
                    offset: at.wrapping_sub(object.bias()),
                    symbol,
                }
            }
            Occupant::Code(_, code) => Symbolised::Code {
                name: code.name.as_bytes().to_vec(),
                offset: at - entry.start,
                owner: code.object.as_ref().map(|object| object.path().to_vec()),
            },
        })
    }

    /// Returns the address of the `.eh_frame_hdr` section, or of one the loader has made, by which to unwind from an
    /// address. Takes no lock.
    pub(crate) fn unwind_header(&self, at: usize) -> Option<usize> {
        let snapshot = self.registry().snapshot()?;
        let header = match &snapshot.at(at)?.value {
            Occupant::Object(object) => object.unwind_header(),
            Occupant::Code(_, code) => code.unwind.address(),
        };
        Some(header).filter(|&header| header != 0)
    }

    /// Returns the object in a world that an address lies in, or that owns the code registered there: who calls, if it is
    /// a return address.
    pub(crate) fn entry_at<'w>(&self, world: &'w World, at: usize) -> Option<&'w Entry> {
        let snapshot = self.registry().snapshot()?;
        world.entry_of(snapshot.object_at(at)?)
    }
}

impl Object {
    /// Returns the address of `.eh_frame_hdr`, or 0.
    pub(crate) fn unwind_header(&self) -> usize {
        self.segments()
            .iter()
            .find(|segment| segment.p_type == pt::PT_GNU_EH_FRAME)
            .map_or(0, |segment| self.real(address(segment.p_vaddr)))
    }

    /// Says whether bytes of the object's are there, and nobody changes them.
    pub(crate) fn is_read_only(&self, at: usize, len: usize) -> bool {
        self.segments().iter().any(|segment| {
            let start = self.real(address(segment.p_vaddr));
            segment.p_type == pt::PT_LOAD
                && segment.p_flags & (pt::PF_R | pt::PF_W) == pt::PF_R
                && start <= at
                && at
                    .checked_add(len)
                    .is_some_and(|end| end <= start + address(segment.p_filesz))
        })
    }

    /// Returns the executable segment that an address lies in.
    pub(super) fn executable_segment(&self, at: usize) -> Option<Range<usize>> {
        self.segments()
            .iter()
            .filter(|segment| segment.p_type == pt::PT_LOAD && segment.p_flags & pt::PF_X != 0)
            .map(|segment| {
                let start = self.real(address(segment.p_vaddr));
                start..start + address(segment.p_memsz)
            })
            .find(|segment| segment.contains(&at))
    }
}

impl Snapshot<Arc<Object>> {
    /// Returns the object that an address lies in, or that owns the code registered there.
    pub(crate) fn object_at(&self, at: usize) -> Option<&Arc<Object>> {
        match &self.at(at)?.value {
            Occupant::Object(object) => Some(object),
            Occupant::Code(_, code) => code.object.as_ref(),
        }
    }
}
