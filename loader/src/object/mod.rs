//! A loaded object: where it lies, its tables, who may see it.
//!
//! An [`Object`] does not change after it has been mapped, but for a few atomic fields. What loads know about each
//! other (who needs whom, who opened what) is not here but in [`crate::state`]; what readers without locks see is a
//! [`crate::world`] of objects.
//!
//! The object starts with a `struct link_map`: its address is the `dlopen` handle, what gdb walks, and what libc's
//! start-up code reads the main program's INIT functions from.

mod keep;
#[expect(unsafe_code, reason = "objects in memory")]
mod memory;
mod names;
mod role;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use goblin::elf::dynamic::DT_GNU_HASH;

pub(crate) use self::role::Role;
use crate::auditors::{Mark, Marks, Slot, Slots};
use crate::bindings::Identity;
use crate::elf::address;
use crate::elf::dynamic::Dynamic;
use crate::elf::hash::{HashTable, Name};
use crate::elf::version::Versions;
use crate::elf::{Dyn, ProgramHeader, Rela, Sym, string_at};
use crate::error::Error;
use crate::gates::Substitute;
use crate::host::{FileId, Host};
use crate::image::{Image, Region};
use crate::link_map::{Details, FULL, Fields, Layout, LinkMap, Type};
use crate::namespace::{BASE, NamespaceId};
pub(crate) use crate::tables::TlsSegment;
use crate::tables::{Memory, Tables, dynamic_section, headers_address, tls_segment};
use crate::text::In;
use crate::thread::{Family, ThreadProxy};
use crate::tls::TlsIndex;
pub(crate) use crate::visibility::Visibility;
use crate::visibility::VisibilityCell;

/// A number no other object has or had. Larger means loaded later.
pub(crate) type ObjectId = u64;

/// Where a new object goes, and what it is called.
pub(crate) struct Place<'a> {
    /// The namespace that asks for it.
    pub(crate) namespace: NamespaceId,
    /// RTLD_ISOLATE: the namespace gets a copy of its own even of what is otherwise there once.
    pub(crate) isolated: bool,
    /// How it comes: the program itself, with the program, or later.
    pub(crate) kind: Type,
    /// The path it is loaded by.
    pub(crate) path: &'a [u8],
    /// The name for messages.
    pub(crate) shown: &'a [u8],
    /// The directory it is in, absolute.
    pub(crate) origin: Vec<u8>,
    /// The vDSO, whose functions stand in for some of libc's.
    pub(crate) vdso: Option<&'a Object>,
}

/// A loaded object.
#[repr(C)]
pub(crate) struct Object {
    link_map: LinkMap<FULL>,
    id: AtomicU64,
    namespace: NamespaceId,
    /// The path it was loaded by, with a terminating NUL.
    path: Vec<u8>,
    /// What messages call it: the program goes by its `argv[0]`.
    shown: Vec<u8>,
    /// The directory it was loaded from, absolute: `$ORIGIN`.
    origin: Vec<u8>,
    file_id: FileId,
    role: Role,
    kind: Type,
    bias: usize,
    entry: usize,
    segments: Vec<ProgramHeader>,
    headers_at: usize,
    dynamic: Dynamic,
    identity: Option<Identity>,
    tables: Tables,
    tls: Option<TlsSegment>,
    /// TLS module id; 0 without PT_TLS. Set once, before the object is published.
    tls_module: AtomicUsize,
    /// Distance of the TLS block below the thread pointer; 0: the block is dynamic.
    tls_offset: AtomicUsize,
    visibility: VisibilityCell,
    /// Objects that lazy binding has tied this one to; 0 ends the list.
    bound_to: [AtomicU64; 16],
    /// The relocations of DT_RELR, which add, have been done.
    relr_done: AtomicBool,
    /// Stays loaded for ever.
    pinned: AtomicBool,
    /// Stays loaded for as long as its namespace has anything else.
    kept: AtomicBool,
    /// Thread-local destructors of the object that have not run yet.
    pub(crate) pending_destructors: AtomicUsize,
    /// Arguments of the object's TLS descriptors.
    #[expect(clippy::vec_box, reason = "descriptors hold their addresses")]
    tls_indices: spin::Mutex<Vec<Box<TlsIndex>>>,
    /// What auditors have to do with it, made when they are told of it.
    marks: spin::Once<Marks>,
    /// The slots of its PLT, if auditors are told of calls through them.
    slots: spin::Once<Slots>,
    /// Symbols whose definition is replaced by a gate: index and gate.
    overrides: Vec<(usize, Substitute)>,
    // Last, so that it goes last: the tables point into it.
    region: Region,
}

impl Object {
    /// Makes an object of a mapped file: finds and checks its tables, and relocates the addresses in its dynamic
    /// section, as glibc does and as programs that read it rely on.
    pub(crate) fn new(
        id: ObjectId,
        place: Place<'_>,
        file_id: FileId,
        image: Image,
        owner: &Arc<ThreadProxy>,
    ) -> Result<Arc<Self>, Error> {
        let Place {
            namespace,
            isolated,
            kind,
            path,
            shown,
            origin,
            vdso,
        } = place;
        let malformed = |what| Error::Malformed {
            object: shown.to_vec(),
            what,
        };
        let Image {
            region,
            bias,
            headers,
        } = image;
        let memory = Memory {
            bias,
            segments: &headers.segments,
        };
        let section = dynamic_section(&headers.segments).map_err(malformed)?;
        let section_at = address(section.p_vaddr);
        let entries: &[Dyn] = memory
            .slice(section_at, address(section.p_memsz))
            .ok_or_else(|| malformed("dynamic section outside the object"))?;
        let dynamic = Dynamic::parse(entries);
        let identity = Identity::of(&memory, entries);
        let tables = Tables::find(&memory, &dynamic).map_err(|problem| problem.about(shown))?;
        let tls = tls_segment(&memory).map_err(malformed)?;
        let soname = dynamic
            .soname
            .and_then(|offset| string_at(tables.strings, offset));
        let role = match soname {
            _ if kind == Type::Executable => Role::Main,
            Some(b"libc.so.6") => Role::Libc,
            Some(b"ld-linux-x86-64.so.2") => Role::Rtld,
            Some(b"libelfin.so.1") => Role::Elfin,
            _ => Role::Library,
        };
        // ld.so gives libc its data: there is one, whoever asks.
        let shared = is_c_library(soname) || dynamic.unique;
        let shared = if isolated { role == Role::Rtld } else { shared };
        let namespace = if shared { BASE } else { namespace };
        let mut nul_path = path.to_vec();
        nul_path.push(0);
        let headers_at = headers_address(&headers.segments, headers.phoff, bias);
        let mut object = Self {
            link_map: LinkMap::new(),
            id: AtomicU64::new(id),
            namespace,
            path: nul_path,
            shown: shown.to_vec(),
            origin,
            file_id,
            role,
            kind,
            bias,
            entry: bias.wrapping_add(headers.entry),
            segments: headers.segments,
            headers_at,
            dynamic,
            identity,
            tables,
            tls,
            tls_module: AtomicUsize::new(0),
            tls_offset: AtomicUsize::new(0),
            visibility: VisibilityCell::new(owner.id()),
            bound_to: [const { AtomicU64::new(0) }; 16],
            relr_done: AtomicBool::new(false),
            pinned: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            pending_destructors: AtomicUsize::new(0),
            tls_indices: spin::Mutex::new(Vec::new()),
            marks: spin::Once::new(),
            slots: spin::Once::new(),
            overrides: Vec::new(),
            region,
        };
        object.overrides = object.replaced(vdso);
        let object = Arc::new(object);
        object.fill_link_map(section_at, object.is_data(object.real(section_at)));
        Ok(object)
    }

    /// Says of an object that it is the vDSO, before it becomes known.
    pub(crate) fn become_vdso(&mut self) {
        self.role = Role::Vdso;
        self.pin();
    }

    /// Fills in the rest of the structure, when it is known how long its `l_info` is.
    pub(crate) fn fill_details(&self, layout: Layout) {
        let details = Details {
            headers: (self.headers_at, self.segments.len()),
            entry: self.entry,
            dynamic_entries: self.dynamic_size() / size_of::<Dyn>(),
            gnu_hash: self.dynamic_entry_of(DT_GNU_HASH).unwrap_or(0),
            span: self.span(),
            kind: self.kind,
            hash: self.hash().and_then(HashTable::gnu_fields),
        };
        self.link_map.fill_details(&details, layout);
    }

    /// Returns where the dynamic section has a tag, standard or not.
    fn dynamic_entry_of(&self, wanted: u64) -> Option<usize> {
        let at = self.dynamic_address();
        // SAFETY: `Object::new` viewed the whole section through a checked slice.
        let tag = |&entry: &usize| unsafe { *(entry as *const u64) };
        let entries = (at..at + self.dynamic_size()).step_by(16);
        let mut entries = entries.take_while(|entry| tag(entry) != 0);
        entries.find(|entry| tag(entry) == wanted)
    }

    /// Fills in the structure debuggers see, and relocates the dynamic section's addresses if it may be written to.
    fn fill_link_map(&self, section: usize, writable: bool) {
        let at = self.real(section);
        // glibc's list has no name for the program: gdb and dl_iterate_phdr users expect an empty string.
        let name = if self.role == Role::Main {
            // The end of the path is one, in memory that the program may see.
            self.path.as_ptr().addr() + self.path.len() - 1
        } else {
            self.path.as_ptr().addr()
        };
        let fields = Fields {
            bias: self.bias,
            name,
            dynamic: at,
            namespace: self.namespace,
        };
        self.link_map.fill(&fields, self.handle());
        for entry in (at..at + self.dynamic_size()).step_by(16) {
            // SAFETY: `Object::new` viewed the whole section through a checked slice.
            let tag = unsafe { *(entry as *const u64) };
            if tag == 0 {
                break;
            }
            self.link_map.set_info(address(tag), entry);
            if writable && Dynamic::is_address(tag) {
                let value = (entry + 8) as *mut u64;
                // SAFETY: the entry's second word, in a segment that is writable and not known to anybody else yet.
                unsafe { *value = (*value).wrapping_add(self.bias as u64) };
            }
        }
    }

    fn dynamic_section(&self) -> Option<&ProgramHeader> {
        dynamic_section(&self.segments).ok()
    }

    fn dynamic_size(&self) -> usize {
        self.dynamic_section()
            .map_or(0, |section| address(section.p_memsz) & !15)
    }

    /// Returns the address of the dynamic section in memory.
    pub(crate) fn dynamic_address(&self) -> usize {
        self.dynamic_section()
            .map_or(0, |section| self.real(address(section.p_vaddr)))
    }

    /// Returns the entry of the dynamic section with a standard tag.
    pub(crate) fn dynamic_entry(&self, tag: usize) -> Option<usize> {
        self.link_map.info(tag)
    }

    /// Returns the object's `struct link_map`.
    pub(crate) fn link_map(&self) -> &LinkMap<FULL> {
        &self.link_map
    }

    /// Returns the address of the object's `struct link_map`: its handle in its own namespace.
    pub(crate) fn handle(&self) -> usize {
        self.link_map.address()
    }

    /// Returns the namespace the object lives in. Others have it through a proxy.
    pub(crate) fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id.load(Ordering::Relaxed)
    }

    /// Gives the object a new id, before it becomes known: ids are in the order of loading.
    pub(crate) fn set_id(&self, id: ObjectId) {
        self.id.store(id, Ordering::Relaxed);
    }

    /// Returns the path the object was loaded by.
    pub(crate) fn path(&self) -> &[u8] {
        self.path.strip_suffix(b"\0").unwrap_or(&self.path)
    }

    /// Returns the name messages show.
    pub(crate) fn shown(&self) -> &[u8] {
        &self.shown
    }

    /// Returns the name messages show, with the namespace.
    pub(crate) fn label(&self) -> In<'_> {
        In(self.shown(), self.namespace)
    }

    /// Returns the name that the link map has, with the namespace: the program has none.
    pub(crate) fn list_label(&self) -> In<'_> {
        let is_main = self.role == Role::Main;
        In(if is_main { b"" } else { self.path() }, self.namespace)
    }

    /// Returns what `$ORIGIN` stands for.
    pub(crate) fn origin(&self) -> &[u8] {
        &self.origin
    }

    /// Returns the address of the path as a C string.
    pub(crate) fn path_address(&self) -> usize {
        self.path.as_ptr().addr()
    }

    /// Returns the address of the name `dl_iterate_phdr` reports: empty for the program.
    pub(crate) fn list_name_address(&self) -> usize {
        self.link_map.name()
    }

    pub(crate) fn file_id(&self) -> FileId {
        self.file_id
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn bias(&self) -> usize {
        self.bias
    }

    pub(crate) fn entry(&self) -> usize {
        self.entry
    }

    pub(crate) fn dynamic(&self) -> &Dynamic {
        &self.dynamic
    }

    /// Returns what the object is, whatever file it has come from.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    pub(crate) fn segments(&self) -> &[ProgramHeader] {
        &self.segments
    }

    /// Returns the address of the program headers in memory.
    pub(crate) fn headers_address(&self) -> usize {
        self.headers_at
    }

    /// Returns the addresses the object occupies.
    pub(crate) fn span(&self) -> Range<usize> {
        self.region.span()
    }

    /// Returns the real address of an address as linked.
    pub(crate) fn real(&self, vaddr: usize) -> usize {
        self.bias.wrapping_add(vaddr)
    }

    /// Returns the string at an offset of the string table.
    pub(crate) fn string(&self, offset: usize) -> Option<&[u8]> {
        string_at(self.tables.strings, offset)
    }

    /// Returns the object's own idea of its name.
    pub(crate) fn soname(&self) -> Option<&[u8]> {
        self.dynamic.soname.and_then(|offset| self.string(offset))
    }

    pub(crate) fn symbol(&self, index: usize) -> Option<&Sym> {
        self.tables.symbols.get(index)
    }

    pub(crate) fn symbol_name(&self, symbol: &Sym) -> Option<&[u8]> {
        self.string(symbol.st_name as usize)
    }

    /// Returns the name of a symbol, hashed.
    pub(crate) fn hashed_name(&self, symbol: &Sym) -> Option<Name<'_>> {
        Name::at(self.tables.strings, symbol.st_name as usize)
    }

    /// Says whether a symbol has this name.
    pub(crate) fn is_named(&self, symbol: &Sym, name: &[u8]) -> bool {
        let rest = self.tables.strings.get(symbol.st_name as usize..);
        let found = rest.and_then(|rest| rest.split_at_checked(name.len()));
        found.is_some_and(|(start, rest)| start == name && rest.first() == Some(&0))
    }

    pub(crate) fn hash(&self) -> Option<&HashTable<'_>> {
        self.tables.hash.as_ref()
    }

    /// Says whether the object may have a symbol of this name.
    #[inline(always)]
    pub(crate) fn may_have(&self, name: &Name<'_>) -> bool {
        self.hash().is_some_and(|hash| hash.may_have(name))
    }

    /// Returns the symbols that have an entry in the hash table's range: all that can be found by name.
    pub(crate) fn symbols(&self) -> &[Sym] {
        let count = self.hash().map_or(0, HashTable::symbol_count);
        self.tables
            .symbols
            .get(..count)
            .unwrap_or(self.tables.symbols)
    }

    /// Returns the symbols among which those are that are not defined.
    pub(crate) fn unhashed_symbols(&self) -> &[Sym] {
        let count = self.hash().map_or(0, HashTable::unhashed_count);
        self.tables
            .symbols
            .get(..count)
            .unwrap_or(self.tables.symbols)
    }

    /// Returns the DT_VERSYM entry of a symbol, or `None` when the object has no versions.
    pub(crate) fn version_index(&self, index: usize) -> Option<u16> {
        self.tables
            .versym
            .map(|table| table.get(index).copied().unwrap_or(1))
    }

    pub(crate) fn versions(&self) -> &Versions<'_> {
        &self.tables.versions
    }

    pub(crate) fn rela(&self) -> &[Rela] {
        self.tables.rela
    }

    pub(crate) fn plt_rela(&self) -> &[Rela] {
        self.tables.plt_rela
    }

    /// Says whether the relocations of DT_RELR are still to be done, and notes that they are.
    pub(crate) fn begin_relr(&self) -> bool {
        !self.relr_done.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn relr(&self) -> &[u64] {
        self.tables.relr
    }

    pub(crate) fn tls(&self) -> Option<&TlsSegment> {
        self.tls.as_ref()
    }

    pub(crate) fn tls_module(&self) -> usize {
        self.tls_module.load(Ordering::Relaxed)
    }

    pub(crate) fn set_tls_module(&self, module: usize) {
        self.tls_module.store(module, Ordering::Relaxed);
    }

    /// Returns how far below the thread pointer the TLS block lies, if it is static.
    pub(crate) fn tls_offset(&self) -> Option<usize> {
        Some(self.tls_offset.load(Ordering::Acquire)).filter(|&offset| offset != 0)
    }

    pub(crate) fn set_tls_offset(&self, offset: usize) {
        self.tls_offset.store(offset, Ordering::Release);
    }

    /// Returns what stands in for a definition, if something does.
    pub(crate) fn override_of(&self, symbol: usize) -> Option<Substitute> {
        self.overrides
            .iter()
            .find(|(index, _)| *index == symbol)
            .map(|&(_, substitute)| substitute)
    }

    /// Returns the symbol in whose definition's place there is something at an address.
    pub(crate) fn replaced_by(&self, host: &dyn Host, at: usize) -> Option<usize> {
        let mut overrides = self.overrides.iter();
        let replaced = overrides.find(|(_, substitute)| substitute.address(host) == at);
        replaced.map(|&(symbol, _)| symbol)
    }

    /// Keeps the argument of a TLS descriptor for as long as the object lives; returns its address.
    pub(crate) fn keep_tls_index(&self, index: TlsIndex) -> usize {
        let index = Box::new(index);
        let at = core::ptr::from_ref(&*index).addr();
        self.tls_indices.lock().push(index);
        at
    }

    /// Returns what an auditor has to do with the object.
    pub(crate) fn mark(&self, auditor: usize) -> &Mark {
        let make = || Box::new(core::array::from_fn(|_| Mark::new(self.handle())));
        &self.marks.call_once(make)[auditor]
    }

    /// Has auditors be told of calls through the object's PLT.
    pub(crate) fn audit_calls(&self) {
        let slots = || self.plt_rela().iter().map(|_| spin::Once::new()).collect();
        self.slots.call_once(slots);
    }

    /// Returns what is known of a slot of the PLT, if auditors are told of calls through it.
    pub(crate) fn slot(&self, index: usize) -> Option<&spin::Once<Slot>> {
        self.slots.get()?.get(index)
    }

    pub(crate) fn visibility(&self) -> Visibility {
        self.visibility.get()
    }

    pub(crate) fn set_visibility(&self, visibility: Visibility) {
        self.visibility.set(visibility);
    }

    /// Makes the object public if its INIT functions are being run for this family.
    pub(crate) fn open_to_all(&self, family: Family) {
        self.visibility.open_to_all(family);
    }

    /// Says whether a thread finds this object's definitions by name. `None` stands for a thread the loader does not
    /// know, which sees what is public.
    pub(crate) fn is_visible_to(&self, thread: Option<&ThreadProxy>) -> bool {
        self.visibility.admits(thread)
    }

    /// Says whether there is one copy of the object, in the base namespace, that others have through proxies:
    /// DF_GNU_1_UNIQUE, and the C library.
    pub(crate) fn is_shared_by_all(&self) -> bool {
        self.dynamic.unique || is_c_library(self.soname())
    }
}

/// The libraries glibc consists of. Two copies would be two `malloc`s and two lists of threads.
const C_LIBRARY: [&[u8]; 10] = [
    b"ld-linux-x86-64.so.2",
    b"libc.so.6",
    b"libm.so.6",
    b"libmvec.so.1",
    b"libpthread.so.0",
    b"libdl.so.2",
    b"librt.so.1",
    b"libutil.so.1",
    b"libanl.so.1",
    b"libresolv.so.2",
];

/// Says whether a soname is that of a part of the C library.
fn is_c_library(soname: Option<&[u8]>) -> bool {
    soname.is_some_and(|soname| C_LIBRARY.contains(&soname))
}
