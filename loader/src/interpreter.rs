//! The program's interpreter, `ld.so`: mapped before anything is searched for, since what it finds out about the CPU
//! says where libraries are looked for. It becomes part of the program where something needs it, as with glibc.

use alloc::sync::Arc;

use crate::arch::{self, Kind};
use crate::elf::Rela;
use crate::elf::address;
use crate::error::{Error, Foreign};
use crate::glibc::cpu::Before;
use crate::glibc::release_of;
use crate::glibc::tunables::Tunables;
use crate::host::{FileId, Host};
use crate::hwcaps::Hwcaps;
use crate::linker::Linker;
use crate::load::Load;
use crate::lookup::Value;
use crate::namespace::{BASE, Key, NamespaceId};
use crate::object::{Object, Role};
use crate::relocate::{Deferred, apply_relr, r_type};
use crate::stack::InitialStack;
use crate::state::State;

/// What mapping it has shown.
pub(crate) struct Interpreter {
    /// Its tunables, with what the environment says of them.
    pub(crate) tunables: Option<Tunables>,
    /// What it has decided about the CPU.
    pub(crate) hwcaps: Hwcaps,
}

impl Linker<'_> {
    /// Maps the interpreter of a program, and lets it look at the CPU.
    pub(crate) fn map_interpreter(
        &self,
        state: &mut State,
        load: &mut Load,
        path: &[u8],
        stack: &InitialStack,
    ) -> Result<Interpreter, Error> {
        let file = self.host().open(path).map_err(|errno| Error::CannotOpen {
            name: path.to_vec(),
            errno,
        })?;
        let object = self.map_object(state, load, &*file, path, (BASE, path))?;
        if object.role() != Role::Rtld {
            return Err(Error::Foreign(Foreign::Interpreter(path.to_vec())));
        }
        let minor = release_of(&object)?;
        let tunables = Tunables::find(&object, minor);
        if let Some(tunables) = &tunables {
            // Before its resolver, and libc, look at them.
            tunables.set_from(stack);
        }
        relocate_by_itself(self.host(), &object)?;
        let before = Before::of(&object);
        self.resolve(&object);
        // SAFETY: it has just been relocated, but for references to functions that a program may replace.
        let decided = before.and_then(|before| unsafe {
            before.decided(self.host(), &object, minor, tunables.as_ref(), stack)
        });
        load.interpreter = Some(object);
        Ok(Interpreter {
            tunables,
            hwcaps: decided.unwrap_or_default(),
        })
    }

    /// Moves an interpreter that was added early to the end of the program's objects, if this is it; returns what the
    /// node is then.
    pub(crate) fn place_interpreter(&self, state: &mut State, load: &mut Load, key: Key) -> Key {
        let found = state.node(key).filter(|_| key.namespace == BASE);
        let found = found.map(|node| &node.object);
        let rtld = found.filter(|it| load.has_early_interpreter && it.role() == Role::Rtld);
        let Some(rtld) = rtld.cloned() else {
            return key;
        };
        load.has_early_interpreter = false;
        let (host, span) = (self.host(), rtld.span());
        self.registry().remove_object(host, key.id, span.start);
        rtld.set_id(state.new_id());
        state.base().move_to_end(key.id);
        self.registry()
            .add_object(host, rtld.id(), span, rtld.clone());
        let moved = Key::of(&rtld);
        for added in load.added.iter_mut().filter(|added| **added == key) {
            *added = moved;
        }
        moved
    }

    /// Calls the IFUNC resolvers of `ld.so`: it looks at the CPU before it does anything that needs another object.
    fn resolve(&self, rtld: &Object) {
        for (place, resolver) in words(rtld, Kind::IRelative) {
            if rtld.is_executable(resolver) {
                let word = Deferred::Word {
                    place,
                    value: Value::Resolver(resolver),
                    addend: 0,
                    told: None,
                };
                // SAFETY: what refers to the object itself is relocated, and the resolver uses nothing else.
                unsafe { word.finish(self.loaded()) };
            }
        }
    }
}

/// Does the relocations of `ld.so` that need no symbol.
fn relocate_by_itself(host: &dyn Host, rtld: &Object) -> Result<(), Error> {
    apply_relr(host, rtld)?;
    for (place, value) in words(rtld, Kind::Relative) {
        // SAFETY: a word in a writable segment of the object. It may be unaligned.
        unsafe { (place as *mut usize).write_unaligned(value) };
    }
    Ok(())
}

/// Returns the places of relocations of a kind, and the addresses they name.
fn words(rtld: &Object, kind: Kind) -> impl Iterator<Item = (usize, usize)> {
    let of_kind = move |rela: &&Rela| arch::kind(r_type(rela)) == kind;
    rtld.rela().iter().filter(of_kind).filter_map(|rela| {
        let place = rtld.real(address(rela.r_offset));
        let target = rtld.real(rela.r_addend.cast_unsigned() as usize);
        rtld.is_writable(place, 8).then_some((place, target))
    })
}

impl Load {
    /// Takes the interpreter, if it is what is looked for: in the base namespace, by its name or as this file.
    pub(crate) fn take_interpreter(
        &mut self,
        state: &mut State,
        namespace: NamespaceId,
        name: &[u8],
        file: Option<FileId>,
    ) -> Option<Arc<Object>> {
        let rtld = self.interpreter.take_if(|rtld| {
            let known = rtld.soname() == Some(name) || rtld.path() == name;
            namespace == BASE && (known || file == Some(rtld.file_id()))
        })?;
        rtld.set_id(state.new_id());
        Some(rtld)
    }
}
