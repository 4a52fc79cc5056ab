//! The vDSO: an object that is in memory when the program starts. It is a part of the program that nothing needs, so
//! nobody but `dlopen` by its name finds its functions.

use alloc::sync::Arc;
use alloc::vec::Vec;

use goblin::elf::program_header as pt;

use crate::elf::header::Headers;
use crate::elf::{ProgramHeader, address};
use crate::error::Error;
use crate::host::{Access, Errno, File, FileId};
use crate::image::Image;
use crate::link_map::Type;
use crate::linker::Linker;
use crate::load::Load;
use crate::namespace::{Arrival, BASE, Node};
use crate::object::{Object, Place};
use crate::state::State;
use crate::tables::Memory;

/// Its soname, by which programs know it.
const NAME: &[u8] = b"linux-vdso.so.1";

impl Linker<'_> {
    /// Adds the vDSO to the program's objects; `at` is what AT_SYSINFO_EHDR says, the address of its ELF header.
    ///
    /// # Errors
    ///
    /// It is no object.
    pub(super) fn add_vdso(
        &self,
        state: &mut State,
        load: &mut Load,
        at: usize,
    ) -> Result<(), Error> {
        let file = InMemory { at };
        let headers = Headers::read(&file).map_err(|problem| problem.about(NAME, NAME))?;
        let image = Image::in_place(at, headers);
        let place = Place {
            namespace: BASE,
            isolated: false,
            kind: Type::Library,
            path: NAME,
            shown: NAME,
            origin: Vec::new(),
            vdso: None,
        };
        let mut object = Object::new(state.new_id(), place, file.id(), image, &load.thread)?;
        if let Some(object) = Arc::get_mut(&mut object) {
            object.become_vdso();
        }
        let arrival = Arrival {
            name: NAME,
            loaded_by: None,
            // It has a scope of its own, as if opened.
            initial: false,
            deep: false,
        };
        let key = state.base().add(Node::new(object.clone(), &arrival));
        state
            .base()
            .add_local_group(key, &alloc::vec![object.clone()].into(), &[key.id]);
        load.added.push(key);
        self.registry()
            .add_object(self.host(), object.id(), object.span(), object);
        Ok(())
    }
}

/// An ELF object in memory, as a file. AT_SYSINFO_EHDR is the host's word for its being there, as long as its headers
/// say.
struct InMemory {
    at: usize,
}

impl File for InMemory {
    fn id(&self) -> FileId {
        // No file has the device 0 and the number 0.
        FileId {
            device: 0,
            inode: 0,
        }
    }

    fn size(&self) -> u64 {
        // Its headers say how long it is.
        u64::MAX
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        let whole = ProgramHeader {
            p_type: pt::PT_LOAD,
            p_flags: pt::PF_R,
            p_filesz: self.size(),
            ..ProgramHeader::default()
        };
        let memory = Memory {
            bias: self.at,
            segments: &[whole],
        };
        let bytes = memory.slice(address(offset), buffer.len());
        buffer.copy_from_slice(bytes.ok_or(Errno::EINVAL)?);
        Ok(())
    }

    unsafe fn map(&self, _: usize, _: usize, _: u64, _: Access) -> Result<(), Errno> {
        // It is where it is.
        Err(Errno::EINVAL)
    }
}
