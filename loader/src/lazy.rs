//! Lazy binding: the first call through a PLT slot.
//!
//! It may happen in a signal handler that interrupted anything, so it takes no lock, allocates nothing and calls
//! nothing but the host's thread pointer, and an IFUNC resolver if the definition is one.

use core::sync::atomic::{AtomicUsize, Ordering};

use goblin::elf64::reloc::r_sym;

use crate::audit::{LateBinding, Way};
use crate::elf::address;
use crate::elf::hash::Name;
use crate::host::Event;
use crate::loaded::Loaded;
use crate::lookup::{self, Request, UniqueTables, Value, is_dependency, resolve, wanted_version};
use crate::object::Object;
use crate::observer::{Step, tell};
use crate::relocate::undefined;
use crate::signals;
use crate::tls;

impl Loaded {
    /// Binds the slot of a relocation of `object`'s PLT and returns the address to go to.
    /// The object is the one whose address `Relocation::prepare_plt` put into its GOT; `index` is what its PLT pushed.
    pub(crate) fn bind(&self, object: &Object, index: usize) -> usize {
        let (target, told) = self.resolve(object, index);
        let target = match told {
            Some(told) => told.tell(self.notices(), target, Way::Lazy).value,
            None => target,
        };
        if let Some(rela) = object.plt_rela().get(index) {
            let slot = object.real(address(rela.r_offset));
            if object.is_writable(slot, 8) && slot.is_multiple_of(8) {
                // SAFETY: a word of the object's GOT, written and read whole.
                let slot = unsafe { &*(slot as *const AtomicUsize) };
                slot.store(target, Ordering::Release);
            }
        }
        target
    }

    /// Finds what the slot of a relocation of `object`'s PLT is to be bound to, and what auditors are to be told.
    pub(crate) fn resolve(&self, object: &Object, index: usize) -> (usize, Option<LateBinding>) {
        let missing = || -> ! {
            self.host()
                .fatal("elfin: a PLT entry without a relocation was called")
        };
        let Some(rela) = object.plt_rela().get(index) else {
            missing()
        };
        let symbol_index = r_sym(rela.r_info) as usize;
        let Some(symbol) = object.symbol(symbol_index) else {
            missing()
        };
        let name = object.hashed_name(symbol).unwrap_or(Name::new(b""));
        let Some(world) = self.world().read() else {
            missing()
        };
        let Some(entry) = world.entry_of(object) else {
            missing()
        };
        let record = tls::current(self.host().thread_pointer());
        let request = Request {
            version: wanted_version(object, symbol_index),
            defined_only: true,
            referrer: Some(object.id()),
            ..Request::new(self.host(), name, record.map(|record| &*record.thread))
        };
        let unique = &UniqueTables::PUBLISHED;
        let Some(found) = resolve(&world, entry, unique, &request, symbol_index) else {
            signals::undisturbed(self.host(), || -> ! {
                let error = undefined(object, symbol_index, name.bytes);
                tell(self.host(), &Step::NotFound(&error));
                // SAFETY: `program_name` gives a C string that stays.
                let program = unsafe { crate::stack::c_bytes(self.program_name()) };
                let program = crate::text::Text(program);
                self.host()
                    .fatal(&alloc::format!("{program}: symbol lookup error: {error}"))
            });
        };
        request.tell_bound(object, &found, lookup::is_protected(symbol));
        if is_dependency(object, found.object) {
            object.bind_to(found.object);
        }
        let value = found.value(self.host());
        let told = self.late_binding(&world, object, &found, Way::Lazy);
        // A resolver need not come back. What it belongs to stays, now that the object is bound to it.
        drop(world);
        let target = match value {
            Value::Address(target) => target,
            // SAFETY: the definition's object is relocated, or the asking thread could not see it.
            Value::Resolver(resolver) => unsafe { signals::call(self.host(), resolver, [0; 4]) },
        };
        self.host().trace(&Event::Bound {
            object: object.path(),
            symbol: name.bytes,
            address: target,
        });
        (target, told)
    }
}
