//! From an address to what lies there: `dladdr`, `_dl_find_object`, `dl_iterate_phdr`. All of it reads the published
//! world and registry only, so unwinders, signal handlers and crash handlers may ask at any time.

use alloc::boxed::Box;
use alloc::sync::Arc;

use goblin::elf::program_header as pt;

use crate::c::Callback;
use crate::elf::{Sym, address};
use crate::linker_object::LinkerObject;
use crate::loaded::Loaded;
use crate::loader::Loader;
use crate::namespace::{BASE, NamespaceId};
use crate::object::{Object, Role};
use crate::registry::{Code, Occupant};
use crate::tls::Tls;
use crate::world::World;

/// `Dl_info`.
#[repr(C)]
pub(crate) struct DlInfo {
    fname: usize,
    fbase: usize,
    sname: usize,
    saddr: usize,
}

/// `struct dl_find_object`.
#[repr(C)]
pub(crate) struct DlFindObject {
    flags: u64,
    map_start: usize,
    map_end: usize,
    link_map: usize,
    eh_frame: usize,
    reserved: [u64; 7],
}

/// `struct dl_phdr_info`.
#[repr(C)]
pub(crate) struct DlPhdrInfo {
    addr: usize,
    name: usize,
    phdr: usize,
    phnum: u16,
    adds: u64,
    subs: u64,
    tls_modid: usize,
    tls_data: usize,
}

impl DlPhdrInfo {
    fn new(world: &World, object: &Object, thread_pointer: usize) -> Self {
        Self {
            addr: object.bias(),
            name: object.list_name_address(),
            phdr: object.headers_address(),
            phnum: u16::try_from(object.segments().len()).unwrap_or(u16::MAX),
            adds: world.adds,
            subs: world.subs,
            tls_modid: object.tls_module(),
            tls_data: Tls::existing_block(thread_pointer, object.tls_module()),
        }
    }

    /// Describes the host's own code.
    fn of_linker(world: &World, linker: &LinkerObject) -> Self {
        let (phdr, phnum) = linker.headers();
        Self {
            addr: 0,
            name: linker.name_address(),
            phdr,
            phnum,
            adds: world.adds,
            subs: world.subs,
            tls_modid: 0,
            tls_data: 0,
        }
    }
}

impl Loaded {
    /// Makes program headers for the host's code.
    pub(crate) fn describe_linker(&self) {
        if let Some(code) = self.host().code() {
            self.linker_object()
                .call_once(|| Box::new(LinkerObject::of(&code)));
        }
    }

    /// Returns the `struct link_map` of the object that occupies an address, or 0.
    pub(crate) fn link_map_at(&self, at: usize) -> usize {
        let snapshot = self.registry().snapshot();
        let object = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.object_at(at));
        object.map_or(0, |object| object.handle())
    }

    /// `dladdr`, with the index of the symbol found and the object's handle for `dladdr1`.
    pub(crate) fn dladdr(&self, at: usize) -> Option<(DlInfo, usize, usize)> {
        let snapshot = self.registry().snapshot()?;
        let entry = snapshot.at(at)?;
        let object = match &entry.value {
            Occupant::Object(object) => object,
            Occupant::Code(_, code) => {
                return Some((self.code_info(entry.start, code), 0, code.handle()));
            }
        };
        // A hole between segments is not part of the object.
        let vaddr = at.wrapping_sub(object.bias());
        object.segments().iter().find(|segment| {
            segment.p_type == pt::PT_LOAD
                && (address(segment.p_vaddr)..address(segment.p_vaddr + segment.p_memsz))
                    .contains(&vaddr)
        })?;
        let symbol = object.symbol_at(at).and_then(|index| object.symbol(index));
        if symbol.is_none()
            && object.role() == Role::Vdso
            && let Some(world) = self.world().read()
            && let Some((object, symbol)) = self.replaced_at(&world, at)
        {
            return Some(self.symbol_info(object, Some((symbol, at))));
        }
        let symbol = symbol.map(|symbol| (symbol, object.real(address(symbol.st_value))));
        Some(self.symbol_info(object, symbol))
    }

    /// Returns the program's definition in whose place there is something at an address.
    fn replaced_at<'w>(&self, world: &'w World, at: usize) -> Option<(&'w Object, &'w Sym)> {
        world.program().iter().find_map(|entry| {
            let object = &*entry.object;
            let index = object.replaced_by(self.host(), at)?;
            Some((object, object.symbol(index)?))
        })
    }

    /// What `dladdr` says about an object and a symbol, which has this address.
    fn symbol_info(
        &self,
        object: &Object,
        symbol: Option<(&Sym, usize)>,
    ) -> (DlInfo, usize, usize) {
        let name = |symbol| {
            object
                .symbol_name(symbol)
                .map_or(0, |name| name.as_ptr().addr())
        };
        let info = DlInfo {
            fname: self.file_name(object),
            fbase: object.span().start,
            sname: symbol.map_or(0, |(symbol, _)| name(symbol)),
            saddr: symbol.map_or(0, |(_, at)| at),
        };
        let symbol = symbol.map_or(0, |(symbol, _)| core::ptr::from_ref(symbol).addr());
        (info, symbol, object.handle())
    }

    /// What `dladdr` says about registered code: its object is the one that owns it, or the program.
    fn code_info(&self, start: usize, code: &Code<Arc<Object>>) -> DlInfo {
        let owner = code.object.as_ref();
        let fname = owner.map_or_else(|| self.program_name(), |object| self.file_name(object));
        let (sname, saddr) = if code.name.is_empty() {
            (0, 0)
        } else {
            (code.name.as_ptr().addr(), start)
        };
        DlInfo {
            fname,
            fbase: start,
            sname,
            saddr,
        }
    }

    /// Returns the address of the name `dladdr` has for an object.
    fn file_name(&self, object: &Object) -> usize {
        if object.list_name_address() == object.path_address() {
            object.path_address()
        } else {
            self.program_name()
        }
    }

    /// Returns the address of `argv[0]`.
    pub(crate) fn program_name(&self) -> usize {
        let argv = self.init_arguments().argv;
        if argv == 0 {
            return c"".as_ptr().addr();
        }
        // SAFETY: the initial stack's argument vector, which ends with a null pointer.
        let name = unsafe { *(argv as *const usize) };
        // A null pointer is an empty string, too.
        if name == 0 { argv } else { name }
    }

    /// `_dl_readonly_area`: 0 read-only, 1 writable, 2 not in any object.
    pub(crate) fn readonly_area(&self, at: usize, size: usize) -> usize {
        let snapshot = self.registry().snapshot();
        let object = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.object_at(at));
        let Some(object) = object else { return 2 };
        if object
            .relro()
            .is_some_and(|span| span.contains(&at) && at + size <= span.end)
        {
            return 0;
        }
        let vaddr = at.wrapping_sub(object.bias());
        let segment = object.segments().iter().find(|segment| {
            segment.p_type == pt::PT_LOAD
                && (address(segment.p_vaddr)..address(segment.p_vaddr + segment.p_memsz))
                    .contains(&vaddr)
        });
        segment.map_or(2, |segment| usize::from(segment.p_flags & pt::PF_W != 0))
    }
}

impl Loader {
    /// `_dl_find_object`.
    pub(crate) fn find_object(&self, at: usize) -> Option<DlFindObject> {
        let snapshot = self.registry().snapshot()?;
        let entry = snapshot.at(at)?;
        let (link_map, eh_frame) = match &entry.value {
            Occupant::Object(object) => {
                if object.role() == Role::Vdso {
                    self.unwinds();
                }
                (object.handle(), object.unwind_header())
            }
            Occupant::Code(_, code) => match code.unwind.address() {
                // Who asks wants to unwind, and would read what is there.
                0 => return None,
                header => {
                    let own = self.host().code();
                    if own.is_some_and(|own| own.range.contains(&at)) {
                        self.unwinds();
                    }
                    (code.handle(), header)
                }
            },
        };
        Some(DlFindObject {
            flags: 0,
            map_start: entry.start,
            map_end: entry.end,
            link_map,
            eh_frame,
            reserved: [0; 7],
        })
    }

    /// `dl_iterate_phdr`: visits the objects of the namespace that `caller`, an address, is in.
    pub(crate) fn iterate_phdr(&self, callback: Callback<DlPhdrInfo>, caller: usize) -> usize {
        let snapshot = self.registry().snapshot();
        let calling = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.object_at(caller));
        let namespace = calling.map_or(BASE, |object| object.namespace());
        drop(snapshot);
        self.iterate_namespace(namespace, callback)
    }

    /// Calls back for each object and proxy of a namespace, a proxy's with the object's own headers, until one call gives
    /// something. The objects visited stay mapped while the callback runs, whatever other threads close.
    pub(crate) fn iterate_namespace(
        &self,
        namespace: NamespaceId,
        callback: Callback<DlPhdrInfo>,
    ) -> usize {
        let thread_pointer = self.host().thread_pointer();
        let visited = self.with_world(Some(callback.function()), |world| {
            let entries = world
                .space(namespace)
                .map_or(&[][..], |space| &space.entries);
            let objects = entries
                .iter()
                .map(|entry| DlPhdrInfo::new(world, &entry.object, thread_pointer));
            // Unwinders look for the tables of the host's code here, in whatever namespace they are.
            let own = self.loaded().linker_object().get();
            let own = own.map(|linker| DlPhdrInfo::of_linker(world, linker));
            let mut results = objects
                .chain(own)
                .map(|info| callback.visit_sized(self.host(), &info));
            results.find(|result| result & 0xffff_ffff != 0)
        });
        visited.flatten().unwrap_or(0)
    }
}
