//! Relocation of one object, by *kind* of relocation.
//!
//! Whatever needs application code to run (IRELATIVE, and references to STT_GNU_IFUNC symbols) is put off: resolvers
//! may use anything that is relocated, so they run when everything else is in place.

use alloc::vec::Vec;

use goblin::elf::program_header as pt;
use goblin::elf::sym;

use crate::arch::{self, Kind};
use crate::audit::{LateBinding, Way};
use crate::bindings::{Scope, Table};
use crate::elf::Rela;
use crate::elf::address;
use crate::elf::hash::Name;
use crate::error::Error;
use crate::host::{Access, Host};
use crate::image::{access, page_ceil, page_floor};
use crate::loaded::Loaded;
use crate::lookup::{self, Definition, UniqueTables, Value, find};
use crate::namespace::{Audited, Key};
use crate::object::{Object, ObjectId, Role};
use crate::observer::{self, Category, Step, tell};
use crate::signals;
use crate::sync::Mutex;
use crate::thread::ThreadProxy;
use crate::tls::{Tls, TlsIndex};
use crate::world::{Entry, World};
use crate::writable::Writable;

/// When PLT slots are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// At the first call.
    Lazy,
    /// Now.
    Now,
}

/// What is left to do when resolvers may run, in the order of the relocations.
pub(crate) enum Deferred {
    /// A word of which a resolver, or auditors, have the last say.
    Word {
        /// Where it goes.
        place: usize,
        /// What it is, or the function that returns it.
        value: Value,
        /// What is added to it.
        addend: usize,
        /// What auditors are told: to what a PLT slot is bound.
        told: Option<LateBinding>,
    },
    /// A COPY relocation: the original may hold words that resolvers give.
    Copy {
        /// The original.
        from: usize,
        /// The copy.
        to: usize,
        /// Bytes.
        size: usize,
    },
}

impl Deferred {
    /// Does it.
    ///
    /// # Safety
    ///
    /// Everything the resolver may use must be relocated, and what was deferred before this must be done.
    pub(crate) unsafe fn finish(&self, loaded: &Loaded) {
        let host = loaded.host();
        match *self {
            Self::Word {
                place,
                ref value,
                addend,
                ref told,
            } => {
                let value = match *value {
                    Value::Address(value) => value,
                    // SAFETY: it comes from an IRELATIVE relocation or an STT_GNU_IFUNC symbol of a loaded object.
                    //
                    // A handler that ran meanwhile would find a load half done, and no way to wait for its end.
                    Value::Resolver(resolver) => unsafe {
                        signals::call_undisturbed(host, resolver, [0; 4])
                    },
                };
                let value = match told {
                    Some(told) => told.tell(loaded.locked_notices(), value, Way::Now).value,
                    None => value,
                };
                // SAFETY: `Relocation::place` checked that the word lies in a writable segment, and RELRO comes later.
                unsafe { (place as *mut usize).write_unaligned(value.wrapping_add(addend)) };
            }
            Self::Copy { from, to, size } => {
                // SAFETY: `Relocation::copy` checked that the target is writable and that the source lies inside the
                // other object; two objects do not overlap.
                unsafe { core::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, size) };
            }
        }
    }
}

/// What relocating an object takes and gives.
pub(crate) struct Relocation<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) loaded: &'a Loaded,
    pub(crate) world: &'a World,
    /// Who answers references, if the image says so.
    pub(crate) bindings: Option<Table<'static>>,
    pub(crate) thread: &'a ThreadProxy,
    pub(crate) bind: Bind,
    pub(crate) unique: &'a mut UniqueTables,
    pub(crate) tls: &'a Mutex<Tls>,
    pub(crate) deferred: &'a mut Vec<Deferred>,
    /// Objects of the same namespace that the relocated one now depends on.
    pub(crate) uses: &'a mut Vec<(Key, ObjectId)>,
}

/// The last symbol looked up: consecutive relocations often name the same one.
pub(crate) struct Last<'w> {
    pub(crate) symbol: usize,
    pub(crate) defined_only: bool,
    pub(crate) found: Option<Definition<'w>>,
}

/// What one relocation leaves for the next.
pub(crate) struct Run<'w> {
    pub(crate) entry: &'w Entry,
    writable: Writable<'w>,
    /// The scope, if it is known who in it answers.
    pub(crate) scope: Option<Scope<'w>>,
    pub(crate) last: Option<Last<'w>>,
}

impl<'w> Run<'w> {
    pub(crate) fn object(&self) -> &'w Object {
        &self.entry.object
    }

    /// Returns the address of the `size` bytes that a relocation writes.
    #[inline(always)]
    fn place(&mut self, rela: &Rela, size: usize) -> Result<usize, Error> {
        let object = self.object();
        let place = object.real(address(rela.r_offset));
        if self.writable.has(place, size) {
            Ok(place)
        } else {
            Err(malformed(
                object,
                "relocation outside the writable segments",
            ))
        }
    }

    /// Does a relocation without a symbol: they are most of all.
    #[inline(always)]
    fn relative(&mut self, rela: &Rela) -> Result<(), Error> {
        let value = self.object().real(rela.r_addend.cast_unsigned() as usize);
        self.write(rela, value)
    }

    /// Writes the word that a relocation is about.
    #[inline(always)]
    fn write(&mut self, rela: &Rela, value: usize) -> Result<(), Error> {
        let place = self.place(rela, 8)?;
        // SAFETY: `place` is a word in a writable segment of the object. It may be unaligned.
        unsafe { (place as *mut usize).write_unaligned(value) };
        Ok(())
    }
}

impl<'a> Relocation<'a> {
    /// Relocates an object.
    pub(crate) fn run(&mut self, entry: &'a Entry) -> Result<(), Error> {
        let object = &*entry.object;
        let (file, lazy) = (
            object.shown(),
            self.bind == Bind::Lazy && object.role() != Role::Rtld,
        );
        tell(self.host, &Step::Relocating { file, lazy });
        if !object.dynamic().text_relocations {
            return self.everything(entry);
        }
        // Resolvers run later, when the text is executable again.
        protect_text(self.host, object, true)?;
        self.everything(entry)?;
        protect_text(self.host, object, false)
    }

    fn everything(&mut self, entry: &'a Entry) -> Result<(), Error> {
        let object = &*entry.object;
        apply_relr(self.host, object)?;
        let mut run = Run {
            entry,
            writable: Writable::of(object),
            scope: self
                .bindings
                .and_then(|table| Scope::new(table, self.world, entry, self.thread)),
            last: None,
        };
        let is_counted = observer::is_on(Category::Statistics);
        for rela in object.rela() {
            if arch::kind(r_type(rela)) == Kind::Relative && !is_counted {
                run.relative(rela)?;
            } else {
                self.apply(&mut run, rela)?;
            }
        }
        let is_lazy = self.lazy(object);
        if is_lazy {
            self.prepare_plt(object)?;
        }
        for rela in object.plt_rela() {
            if is_lazy && arch::kind(r_type(rela)) == Kind::JumpSlot {
                let place = run.place(rela, 8)? as *mut usize;
                // SAFETY: `place` is a checked word of the object; it holds the address, as linked, of the
                // instruction behind the jump in its PLT entry.
                unsafe { *place = (*place).wrapping_add(object.bias()) };
            } else {
                self.apply(&mut run, rela)?;
            }
        }
        Ok(())
    }

    fn lazy(&self, object: &Object) -> bool {
        // libc and ld.so are bound at once: their slots are used with locks held that a load may wait for.
        self.bind == Bind::Lazy
            && (!object.dynamic().bind_now || self.hears_calls(object))
            && object.dynamic().plt_got.is_some()
            && !matches!(object.role(), Role::Libc | Role::Rtld)
    }

    /// Says whether auditors are told of calls through an object's PLT.
    fn hears_calls(&self, object: &Object) -> bool {
        let space = || self.world.space(object.namespace());
        self.loaded.auditors().hear_calls()
            && space().is_some_and(|space| space.audited == Audited::Wholly)
    }

    /// Fills the words of the GOT that PLT0 uses.
    fn prepare_plt(&self, object: &Object) -> Result<(), Error> {
        let Some(got) = object.dynamic().plt_got.map(|vaddr| object.real(vaddr)) else {
            return Ok(());
        };
        if !object.is_writable(got, 24) {
            return Err(malformed(object, "DT_PLTGOT outside the writable segments"));
        }
        // SAFETY: the GOT's second word is inside a writable segment, and aligned: just checked.
        unsafe { *((got + 8) as *mut usize) = object.handle() };
        let entry = if self.hears_calls(object) {
            object.audit_calls();
            arch::plt_audited()
        } else {
            arch::plt_entry()
        };
        let entry = self.host.function(entry);
        // SAFETY: so is its third.
        unsafe { *((got + 16) as *mut usize) = entry };
        Ok(())
    }

    fn apply(&mut self, run: &mut Run<'a>, rela: &Rela) -> Result<(), Error> {
        let object = run.object();
        let kind = arch::kind(r_type(rela));
        let addend = rela.r_addend.cast_unsigned() as usize;
        let value = match kind {
            Kind::None => return Ok(()),
            Kind::Relative => {
                tell(self.host, &Step::Relative);
                return run.relative(rela);
            }
            Kind::IRelative => {
                let resolver = object.real(addend);
                return self.defer(run, rela, object, Value::Resolver(resolver), 0, None);
            }
            Kind::Absolute | Kind::GlobDat | Kind::JumpSlot => {
                let addend = if kind == Kind::Absolute { addend } else { 0 };
                match self.symbol(run, rela, kind == Kind::JumpSlot)? {
                    None => addend,
                    Some(found) => {
                        let told = match kind {
                            Kind::JumpSlot => self.told(run, &found),
                            _ => None,
                        };
                        match (found.value(self.host), told) {
                            (Value::Address(address), None) => address.wrapping_add(addend),
                            (value, told) => {
                                return self.defer(run, rela, found.object, value, addend, told);
                            }
                        }
                    }
                }
            }
            Kind::Absolute32 | Kind::PcRelative32 => return self.narrow(run, rela, kind),
            Kind::PcRelative64 => {
                let found = self.symbol(run, rela, false)?;
                self.address(found)
                    .wrapping_add(addend)
                    .wrapping_sub(run.place(rela, 8)?)
            }
            Kind::Size => {
                let found = self.symbol(run, rela, false)?;
                found
                    .map_or(0, |found| address(found.symbol.st_size))
                    .wrapping_add(addend)
            }
            Kind::Copy => return self.copy(run, rela),
            Kind::TlsModule => match self.symbol(run, rela, true)? {
                Some(found) => found.object.tls_module(),
                None => 0,
            },
            Kind::TlsOffset => {
                let found = self.symbol(run, rela, true)?;
                found
                    .map_or(0, |found| address(found.symbol.st_value))
                    .wrapping_add(addend)
            }
            Kind::TlsPointerOffset => match self.symbol(run, rela, true)? {
                Some(found) => {
                    let offset = self.static_tls(object, &found)?;
                    address(found.symbol.st_value)
                        .wrapping_add(addend)
                        .wrapping_sub(offset)
                }
                None => addend,
            },
            Kind::TlsDescriptor => return self.descriptor(run, rela),
            Kind::Unknown => {
                return Err(Error::Unsupported {
                    object: object.shown().to_vec(),
                    what: "unexpected reloc type",
                });
            }
        };
        run.write(rela, value)
    }

    /// Notes a word that a resolver of `definer` gives, or of which auditors are to be told.
    fn defer(
        &mut self,
        run: &mut Run<'a>,
        rela: &Rela,
        definer: &Object,
        value: Value,
        addend: usize,
        told: Option<LateBinding>,
    ) -> Result<(), Error> {
        let place = run.place(rela, 8)?;
        let object = run.object();
        if !object.is_data(place) {
            return Err(Error::Unsupported {
                object: object.shown().to_vec(),
                what: "IFUNC relocation in a segment that is not writable",
            });
        }
        if let Value::Resolver(resolver) = value
            && !definer.is_executable(resolver)
        {
            return Err(malformed(
                definer,
                "IFUNC resolver outside the executable segments",
            ));
        }
        self.deferred.push(Deferred::Word {
            place,
            value,
            addend,
            told,
        });
        Ok(())
    }

    /// Returns what auditors are to be told when a PLT slot has been bound.
    fn told(&self, run: &Run<'a>, found: &Definition<'_>) -> Option<LateBinding> {
        self.loaded
            .late_binding(self.world, run.object(), found, Way::Now)
    }

    /// Returns an address for relocations that cannot wait for a resolver.
    fn address(&self, found: Option<Definition<'_>>) -> usize {
        match found.map(|found| found.value(self.host)) {
            Some(Value::Address(address) | Value::Resolver(address)) => address,
            None => 0,
        }
    }

    fn narrow(&mut self, run: &mut Run<'a>, rela: &Rela, kind: Kind) -> Result<(), Error> {
        let object = run.object();
        let place = run.place(rela, 4)?;
        let found = self.symbol(run, rela, false)?;
        let target = self
            .address(found)
            .wrapping_add(rela.r_addend.cast_unsigned() as usize);
        let value = if kind == Kind::PcRelative32 {
            target.wrapping_sub(place)
        } else {
            target
        };
        let signed = value.cast_signed();
        let fits = i32::try_from(signed).is_ok()
            || (kind == Kind::Absolute32 && u32::try_from(value).is_ok());
        if !fits {
            return Err(malformed(object, "relocation overflow"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
        let narrow = value as u32;
        // SAFETY: `place` has four writable bytes.
        unsafe { (place as *mut u32).write_unaligned(narrow) };
        Ok(())
    }

    /// COPY: the executable has room for a library's variable; everybody's references go there.
    fn copy(&mut self, run: &mut Run<'a>, rela: &Rela) -> Result<(), Error> {
        let object = run.object();
        let index = r_sym(rela);
        let symbol = object
            .symbol(index)
            .ok_or_else(|| malformed(object, "invalid symbol index"))?;
        let name = object.hashed_name(symbol).unwrap_or(Name::new(b""));
        let mut request = self.request(object, index, name);
        request.skip = Some(object.id());
        let scopes = self.world.scopes(run.entry);
        let Some(found) = find(self.world, scopes, self.unique, &request) else {
            return if sym::st_bind(symbol.st_info) == sym::STB_WEAK {
                Ok(())
            } else {
                Err(undefined(object, index, name.bytes))
            };
        };
        let protected = lookup::is_protected(symbol);
        request.tell_bound(object, &found, protected);
        let size = address(symbol.st_size.min(found.symbol.st_size));
        let place = run.place(rela, size)?;
        let source = found.object.real(address(found.symbol.st_value));
        let span = found.object.span();
        if source < span.start || source.checked_add(size).is_none_or(|end| end > span.end) {
            return Err(malformed(object, "COPY relocation from outside an object"));
        }
        self.deferred.push(Deferred::Copy {
            from: source,
            to: place,
            size,
        });
        Ok(())
    }

    fn descriptor(&mut self, run: &mut Run<'a>, rela: &Rela) -> Result<(), Error> {
        let object = run.object();
        let place = run.place(rela, 16)?;
        let addend = rela.r_addend.cast_unsigned() as usize;
        let (function, argument) = match self.symbol(run, rela, true)? {
            None => (arch::tlsdesc_undefined(), addend),
            Some(found) => {
                let offset = address(found.symbol.st_value).wrapping_add(addend);
                match found.object.tls_offset() {
                    Some(below) => (arch::tlsdesc_static(), offset.wrapping_sub(below)),
                    None => {
                        let index = TlsIndex {
                            module: found.object.tls_module(),
                            offset,
                        };
                        (arch::tlsdesc_dynamic(), object.keep_tls_index(index))
                    }
                }
            }
        };
        let function = self.host.function(function);
        // SAFETY: `place` has two writable words.
        unsafe { (place as *mut usize).write_unaligned(function) };
        // SAFETY: `place` has two words in a writable segment.
        unsafe { ((place + 8) as *mut usize).write_unaligned(argument) };
        Ok(())
    }

    fn static_tls(&self, object: &Object, found: &Definition<'_>) -> Result<usize, Error> {
        if found.object.tls_offset().is_none() {
            // Blocks of several threads are filled under the lock, so a thread started meanwhile gets it as well.
            self.tls.lock(self.host).make_static(found.object);
        }
        found.object.tls_offset().ok_or_else(|| Error::Unsupported {
            object: object.shown().to_vec(),
            what: "cannot allocate memory in static TLS block",
        })
    }
}

/// Does the relocations of DT_RELR, once: an even word is the address of a word to relocate, an odd one a bitmap of the 63
/// that follow (gABI, "Relative relocation table").
pub(crate) fn apply_relr(host: &dyn Host, object: &Object) -> Result<(), Error> {
    if !object.begin_relr() {
        return Ok(());
    }
    let (bias, mut writable) = (object.bias(), Writable::of(object));
    let is_counted = observer::is_on(Category::Statistics);
    // Adds to the words that a bitmap names, the lowest bit that at `start`.
    let mut add = |start: usize, bitmap: usize| {
        // Mostly all up to the last are in one segment.
        let words = (usize::BITS - bitmap.leading_zeros()) as usize;
        let are_writable = writable.has(start, words * 8);
        let mut left = bitmap;
        while left != 0 {
            let place = start.wrapping_add(left.trailing_zeros() as usize * 8);
            left &= left - 1;
            if !are_writable && !writable.has(place, 8) {
                return Err(malformed(
                    object,
                    "DT_RELR entry outside the writable segments",
                ));
            }
            // SAFETY: the word is in a writable segment: just checked.
            unsafe { *(place as *mut usize) = (*(place as *mut usize)).wrapping_add(bias) };
        }
        if is_counted {
            (0..bitmap.count_ones()).for_each(|_| tell(host, &Step::Relative));
        }
        Ok(())
    };
    let mut next = 0usize;
    for &word in object.relr() {
        let word = address(word);
        if word & 1 == 0 {
            add(object.real(word), 1)?;
            next = object.real(word).wrapping_add(8);
            continue;
        }
        add(next, word >> 1)?;
        next = next.wrapping_add(63 * 8);
    }
    Ok(())
}

pub(crate) fn r_type(rela: &Rela) -> u32 {
    goblin::elf64::reloc::r_type(rela.r_info)
}

pub(crate) fn r_sym(rela: &Rela) -> usize {
    goblin::elf64::reloc::r_sym(rela.r_info) as usize
}

/// Makes the segments of an object that are not writable so, or undoes it: DT_TEXTREL.
fn protect_text(host: &dyn Host, object: &Object, writable: bool) -> Result<(), Error> {
    for segment in object
        .segments()
        .iter()
        .filter(|segment| segment.p_type == pt::PT_LOAD && segment.p_flags & pt::PF_W == 0)
    {
        let vaddr = address(segment.p_vaddr);
        let start = page_floor(object.real(vaddr));
        let end = page_ceil(object.real(vaddr + address(segment.p_memsz)));
        let access = if writable {
            Access::ReadWrite
        } else {
            access(segment.p_flags)
        };
        // SAFETY: the pages are the object's own, and nobody runs its code yet.
        unsafe { host.protect(start, end - start, access) }.map_err(|errno| Error::Host {
            object: object.shown().to_vec(),
            doing: "cannot change memory protections",
            errno,
        })?;
    }
    Ok(())
}

pub(crate) fn malformed(object: &Object, what: &'static str) -> Error {
    Error::Malformed {
        object: object.shown().to_vec(),
        what,
    }
}

/// Makes the error for a symbol nobody defines.
pub(crate) fn undefined(object: &Object, index: usize, name: &[u8]) -> Error {
    Error::UndefinedSymbol {
        object: object.shown().to_vec(),
        symbol: name.to_vec(),
        version: lookup::wanted_version(object, index).map(|version| version.name.to_vec()),
    }
}
