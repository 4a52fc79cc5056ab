//! What a relocation refers to: the symbol, and whose definition it means.

use goblin::elf::sym;

use crate::bindings::Wanted;
use crate::elf::hash::Name;
use crate::elf::{Rela, Sym};
use crate::error::Error;
use crate::lookup::{self, Definition, Request, resolve};
use crate::namespace::Key;
use crate::object::Object;
use crate::observer::{Step, tell};
use crate::relocate::{Last, Relocation, Run, malformed, r_sym, undefined};
use crate::world::Entry;

impl<'a> Relocation<'a> {
    pub(crate) fn request<'r>(
        &'r self,
        object: &'r Object,
        index: usize,
        name: Name<'r>,
    ) -> Request<'r> {
        Request {
            version: lookup::wanted_version(object, index),
            referrer: Some(object.id()),
            ..Request::new(self.host, name, Some(self.thread))
        }
    }

    /// Returns the definition a relocation names; `None` for an undefined weak symbol.
    pub(crate) fn symbol(
        &mut self,
        run: &mut Run<'a>,
        rela: &Rela,
        defined_only: bool,
    ) -> Result<Option<Definition<'a>>, Error> {
        let entry = run.entry;
        let object = run.object();
        let index = r_sym(rela);
        if let Some(last) = &run.last
            && last.symbol == index
            && last.defined_only == defined_only
        {
            tell(self.host, &Step::FoundAgain);
            return Ok(last.found);
        }
        let symbol = object
            .symbol(index)
            .ok_or_else(|| malformed(object, "invalid symbol index"))?;
        let found = if lookup::binds_locally(symbol) {
            Some(Definition {
                object: &entry.object,
                index,
                symbol,
            })
        } else {
            let wanted = if defined_only {
                Wanted::Defined
            } else {
                Wanted::Any
            };
            let known = run.scope.as_ref();
            match known.and_then(|scope| scope.find(index, symbol, wanted)) {
                Some(found) => Some(found),
                None => self.by_name(entry, index, symbol, defined_only)?,
            }
        };
        if let Some(found) = &found
            && lookup::is_dependency(object, found.object)
        {
            let used = (Key::of(object), found.object.id());
            if self.uses.last() != Some(&used) {
                self.uses.push(used);
            }
        }
        run.last = Some(Last {
            symbol: index,
            defined_only,
            found,
        });
        Ok(found)
    }

    /// Looks up the definition that a symbol of an object refers to; `None` for an undefined weak symbol.
    fn by_name(
        &mut self,
        entry: &'a Entry,
        index: usize,
        symbol: &Sym,
        defined_only: bool,
    ) -> Result<Option<Definition<'a>>, Error> {
        let object = &*entry.object;
        let name = object
            .hashed_name(symbol)
            .ok_or_else(|| malformed(object, "invalid symbol name"))?;
        let mut request = self.request(object, index, name);
        request.defined_only = defined_only;
        let found = resolve(self.world, entry, self.unique, &request, index);
        match &found {
            Some(found) => {
                request.tell_bound(object, found, lookup::is_protected(symbol));
                self.unique.note(self.world, found, name.bytes);
            }
            None if sym::st_bind(symbol.st_info) != sym::STB_WEAK => {
                let error = undefined(object, index, name.bytes);
                tell(self.host, &Step::NotFound(&error));
                return Err(error);
            }
            None => {}
        }
        Ok(found)
    }
}
