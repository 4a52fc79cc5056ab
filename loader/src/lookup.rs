//! From a name to a definition: groups of objects in order, hash tables, versions, visibility.

use alloc::sync::Arc;
use alloc::vec::Vec;

use goblin::elf::section_header::{SHN_ABS, SHN_UNDEF};
use goblin::elf::sym;
use goblin::elf64::reloc::{r_sym, r_type};

use crate::arch;
use crate::elf::hash::Name;
use crate::elf::version::{HIDDEN, Version};
use crate::elf::{Rela, Sym};
use crate::group::Group;
use crate::host::Host;
use crate::namespace::NamespaceId;
use crate::object::{Object, ObjectId, Role};
use crate::observer::{self, Category, Step, tell};
use crate::thread::ThreadProxy;
use crate::world::{Entry, UniqueTable, World};

/// What a reference asks for.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Who is told how the search goes.
    pub(crate) host: &'a dyn Host,
    pub(crate) name: Name<'a>,
    pub(crate) version: Option<Version<'a>>,
    /// `dlsym`: of an unversioned request's candidates take the default version, not the base version.
    pub(crate) newest: bool,
    /// A reference from a PLT or to TLS: an undefined symbol with a value (the address of a PLT entry in an executable)
    /// is no definition for it.
    pub(crate) defined_only: bool,
    /// A COPY relocation looks everywhere but in the executable that contains it.
    pub(crate) skip: Option<ObjectId>,
    /// The thread that asks.
    pub(crate) thread: Option<&'a ThreadProxy>,
    /// The object that asks: it sees itself at any time.
    pub(crate) referrer: Option<ObjectId>,
}

impl<'a> Request<'a> {
    /// Makes the request of a reference without a version.
    pub(crate) fn new(host: &'a dyn Host, name: Name<'a>, thread: Option<&'a ThreadProxy>) -> Self {
        Self {
            host,
            name,
            version: None,
            newest: false,
            defined_only: false,
            skip: None,
            thread,
            referrer: None,
        }
    }

    /// Tells that an object's reference has been bound. `protected`: the object's own symbol is.
    #[inline]
    pub(crate) fn tell_bound(&self, from: &Object, to: &Definition<'_>, protected: bool) {
        if !observer::is_on(Category::Bindings) {
            return;
        }
        let step = Step::Bound {
            from: from.label(),
            to: to.object.label(),
            symbol: self.name.bytes,
            version: self.version.map(|version| version.name),
            protected,
        };
        tell(self.host, &step);
    }
}

/// A symbol that answers a request.
#[derive(Clone, Copy)]
pub(crate) struct Definition<'a> {
    pub(crate) object: &'a Arc<Object>,
    pub(crate) index: usize,
    pub(crate) symbol: &'a Sym,
}

/// Where a definition is, or how to find out.
pub(crate) enum Value {
    /// At this address.
    Address(usize),
    /// At the address this IFUNC resolver returns.
    Resolver(usize),
}

impl Definition<'_> {
    /// Returns where the definition is. TLS symbols have no single place; see [`Self::is_tls`].
    pub(crate) fn value(&self, host: &dyn Host) -> Value {
        if let Some(substitute) = self.object.override_of(self.index) {
            return Value::Address(substitute.address(host));
        }
        let value = crate::elf::address(self.symbol.st_value);
        if u32::from(self.symbol.st_shndx) == SHN_ABS {
            return Value::Address(value);
        }
        let address = self.object.real(value);
        let is_ifunc = sym::st_type(self.symbol.st_info) == sym::STT_GNU_IFUNC;
        if is_ifunc && u32::from(self.symbol.st_shndx) != SHN_UNDEF {
            Value::Resolver(address)
        } else {
            Value::Address(address)
        }
    }

    /// Says whether the symbol is thread-local.
    pub(crate) fn is_tls(&self) -> bool {
        sym::st_type(self.symbol.st_info) == sym::STT_TLS
    }

    pub(crate) fn is_unique(&self) -> bool {
        sym::st_bind(self.symbol.st_info) == sym::STB_GNU_UNIQUE
    }
}

/// Finds the first definition in groups of objects. `unique` holds what a load under way has added.
pub(crate) fn find<'w>(
    world: &'w World,
    groups: impl Iterator<Item = &'w Group>,
    unique: &UniqueTables,
    request: &Request<'_>,
) -> Option<Definition<'w>> {
    tell(request.host, &Step::LookingUp);
    let is_told = observer::is_on(Category::Symbols);
    for group in groups {
        let found = match group.index() {
            Some(index) if !is_told => {
                let mut positions = index.positions(&request.name);
                positions.find_map(|position| find_in(group.get(position)?, request))
            }
            None if !is_told => group.iter().find_map(|object| {
                // Most objects do not have the name, and their Bloom filters say so.
                let may_have = object.may_have(&request.name);
                may_have.then(|| find_in_bucket(object, request)).flatten()
            }),
            _ => group.iter().find_map(|object| find_in(object, request)),
        };
        if let Some(found) = found {
            let is_unique = found.is_unique();
            return Some(if is_unique {
                the_unique(world, found, unique, request)
            } else {
                found
            });
        }
    }
    None
}

/// Finds what a reference from an object's own symbol table means: with DT_SYMBOLIC the object itself comes first, and
/// what is protected is not overridden by others (gABI, "Symbol Table").
#[inline]
pub(crate) fn resolve<'w>(
    world: &'w World,
    entry: &'w Entry,
    unique: &UniqueTables,
    request: &Request<'_>,
    index: usize,
) -> Option<Definition<'w>> {
    let object = &entry.object;
    let own = object.dynamic().symbolic.then(|| find_in(object, request));
    let found = own
        .flatten()
        .or_else(|| find(world, world.scopes(entry), unique, request))?;
    let Some(symbol) = object.symbol(index).filter(|symbol| is_protected(symbol)) else {
        return Some(found);
    };
    let own = Definition {
        object,
        index,
        symbol,
    };
    if found.object.id() == object.id() || request.defined_only {
        return Some(own);
    }
    // Two things may stand for the definition without overriding it: the program's PLT entry for a function, and the
    // program's copy of a variable.
    let stands_for_it = if u32::from(found.symbol.st_shndx) == SHN_UNDEF {
        let request = Request {
            defined_only: true,
            ..*request
        };
        let defined = find(world, world.scopes(entry), unique, &request);
        defined.is_some_and(|defined| defined.object.id() == object.id())
    } else {
        found.object.role() == Role::Main && is_copy(&found)
    };
    Some(if stands_for_it { found } else { own })
}

/// Says whether a reference is to the object's own definition, whatever other objects define (gABI, "Symbol Table").
pub(crate) fn binds_locally(symbol: &Sym) -> bool {
    sym::st_bind(symbol.st_info) == sym::STB_LOCAL
        || matches!(
            sym::st_visibility(symbol.st_other),
            sym::STV_HIDDEN | sym::STV_INTERNAL
        )
}

pub(crate) fn is_protected(symbol: &Sym) -> bool {
    sym::st_visibility(symbol.st_other) == sym::STV_PROTECTED
        && u32::from(symbol.st_shndx) != SHN_UNDEF
}

/// Says whether a definition is a copy (R_X86_64_COPY) of a variable that another object defines.
fn is_copy(found: &Definition<'_>) -> bool {
    let copies = |rela: &&Rela| arch::kind(r_type(rela.r_info)) == arch::Kind::Copy;
    let mut copies = found.object.rela().iter().filter(copies);
    copies.any(|rela| r_sym(rela.r_info) as usize == found.index)
}

/// Finds an object's definition.
pub(crate) fn find_in<'w>(
    object: &'w Arc<Object>,
    request: &Request<'_>,
) -> Option<Definition<'w>> {
    if observer::is_on(Category::Symbols) && request.skip != Some(object.id()) {
        let (file, symbol) = (object.label(), request.name.bytes);
        tell(request.host, &Step::LookingInto { file, symbol });
    }
    // The hash table is asked first: most objects do not have the name, and then nothing else matters.
    let may_have = object.may_have(&request.name);
    may_have.then(|| find_in_bucket(object, request)).flatten()
}

/// Finds the definition of an object that may have it.
fn find_in_bucket<'w>(object: &'w Arc<Object>, request: &Request<'_>) -> Option<Definition<'w>> {
    if request.skip == Some(object.id()) {
        return None;
    }
    let mut fallback = None;
    let mut fallbacks = 0;
    for index in object.hash()?.bucket(&request.name) {
        match judge(object, index, request) {
            Fit::Yes => return definition(object, index),
            Fit::IfOnly => {
                fallbacks += 1;
                fallback.get_or_insert(index);
            }
            Fit::No => {}
            Fit::Invisible => return None,
        }
    }
    definition(object, fallback.filter(|_| fallbacks == 1)?)
}

fn definition(object: &Arc<Object>, index: usize) -> Option<Definition<'_>> {
    Some(Definition {
        object,
        index,
        symbol: object.symbol(index)?,
    })
}

/// Says whether a symbol of the name's bucket is what is asked for.
#[inline(never)]
fn judge(object: &Object, index: usize, request: &Request<'_>) -> Fit {
    let Some(symbol) = object.symbol(index) else {
        return Fit::No;
    };
    if !could_answer(symbol, request.defined_only)
        || !object.is_named(symbol, request.name.bytes)
        || has_bad_resolver(object, symbol)
    {
        return Fit::No;
    }
    if request.referrer != Some(object.id()) && !object.is_visible_to(request.thread) {
        return Fit::Invisible;
    }
    fits(object, index, request)
}

/// A name that is STB_GNU_UNIQUE means the same definition everywhere in a namespace: the first that was bound to.
fn the_unique<'w>(
    world: &'w World,
    found: Definition<'w>,
    unique: &UniqueTables,
    request: &Request<'_>,
) -> Definition<'w> {
    let namespace = found.object.namespace();
    let first = unique.first(world, namespace, request.name.bytes);
    let definition = first.and_then(|(id, index)| {
        let object = &world.entry(namespace, id)?.object;
        Some(Definition {
            object,
            index,
            symbol: object.symbol(index)?,
        })
    });
    definition.unwrap_or(found)
}

/// The tables of unique definitions that a load under way has changed; the published ones stand for the others.
#[derive(Default)]
pub(crate) struct UniqueTables(Vec<(NamespaceId, Arc<UniqueTable>)>);

impl UniqueTables {
    /// No changes: what look-ups outside loads use.
    pub(crate) const PUBLISHED: Self = Self(Vec::new());

    fn first(
        &self,
        world: &World,
        namespace: NamespaceId,
        name: &[u8],
    ) -> Option<(ObjectId, usize)> {
        let changed = self.0.iter().find(|(id, _)| *id == namespace);
        let table = match changed {
            Some((_, table)) => table,
            None => &world.space(namespace)?.unique,
        };
        table.get(name).copied()
    }

    /// Notes a definition, if it is of that kind and new. Its object lasts as long as its namespace then.
    #[inline]
    pub(crate) fn note(&mut self, world: &World, definition: &Definition<'_>, name: &[u8]) {
        if definition.is_unique() {
            self.enter(world, definition, name);
        }
    }

    fn enter(&mut self, world: &World, definition: &Definition<'_>, name: &[u8]) {
        let namespace = definition.object.namespace();
        if self.first(world, namespace, name).is_some() {
            return;
        }
        definition.object.keep();
        let at = match self.0.iter().position(|(id, _)| *id == namespace) {
            Some(at) => at,
            None => {
                let published = world.space(namespace).map(|space| space.unique.clone());
                self.0.push((namespace, published.unwrap_or_default()));
                self.0.len() - 1
            }
        };
        if let Some((_, table)) = self.0.get_mut(at) {
            let value = (definition.object.id(), definition.index);
            Arc::make_mut(table).insert(name.to_vec(), value);
        }
    }

    /// Returns the changed tables.
    pub(crate) fn changed(self) -> Vec<(NamespaceId, Arc<UniqueTable>)> {
        self.0
    }
}

/// Says whether a symbol is an IFUNC whose resolver is not code.
fn has_bad_resolver(object: &Object, symbol: &Sym) -> bool {
    sym::st_type(symbol.st_info) == sym::STT_GNU_IFUNC
        && !object.is_executable(object.real(crate::elf::address(symbol.st_value)))
}

/// Says whether a symbol can answer a reference, by its kind.
pub(crate) fn could_answer(symbol: &Sym, defined_only: bool) -> bool {
    let kind = sym::st_type(symbol.st_info);
    let section = u32::from(symbol.st_shndx);
    let has_value = symbol.st_value != 0 || section == SHN_ABS || kind == sym::STT_TLS;
    let is_defined = section != SHN_UNDEF;
    let right_kind = matches!(
        kind,
        sym::STT_NOTYPE
            | sym::STT_OBJECT
            | sym::STT_FUNC
            | sym::STT_COMMON
            | sym::STT_TLS
            | sym::STT_GNU_IFUNC
    );
    let exported = matches!(
        sym::st_bind(symbol.st_info),
        sym::STB_GLOBAL | sym::STB_WEAK | sym::STB_GNU_UNIQUE
    ) && matches!(
        sym::st_visibility(symbol.st_other),
        sym::STV_DEFAULT | sym::STV_PROTECTED
    );
    has_value && (is_defined || (!defined_only && kind != sym::STT_TLS)) && right_kind && exported
}

/// Says whether a symbol is a definition that others can be bound to.
pub(crate) fn is_exported(symbol: &Sym) -> bool {
    could_answer(symbol, true)
}

/// Says whether a symbol is an exported definition of a function or variable that ought to be there only once.
pub(crate) fn is_strong(symbol: &Sym) -> bool {
    is_exported(symbol)
        && sym::st_bind(symbol.st_info) == sym::STB_GLOBAL
        && sym::st_type(symbol.st_info) != sym::STT_NOTYPE
}

enum Fit {
    Yes,
    /// Only if the object has no other candidate of this sort.
    IfOnly,
    No,
    /// The object has it, but the asking thread may not see the object.
    Invisible,
}

/// Matches a definition's version with the one asked for, exactly as glibc's `check_match` does (elf/dl-lookup.c).
///
/// A definition with the hidden bit answers only a reference that names its version (LSB Core, "Symbol Versioning"). A
/// reference without a version takes the base or first version, else the one that is not hidden, if there is just one.
fn fits(object: &Object, index: usize, request: &Request<'_>) -> Fit {
    let Some(entry) = object.version_index(index) else {
        return Fit::Yes;
    };
    let hidden = entry & HIDDEN != 0;
    let number = entry & !HIDDEN;
    match request.version {
        None => {
            let limit = if request.newest { 2 } else { 3 };
            if number < limit {
                Fit::Yes
            } else if hidden {
                Fit::No
            } else {
                Fit::IfOnly
            }
        }
        Some(wanted) => match object.versions().get(number) {
            Some(version) if version.hash == wanted.hash && version.name == wanted.name => Fit::Yes,
            None if !wanted.hidden && !hidden => Fit::Yes,
            _ => Fit::No,
        },
    }
}

/// Returns the version a reference from an object's own symbol table asks for.
pub(crate) fn wanted_version(object: &Object, index: usize) -> Option<Version<'_>> {
    object.versions().get(object.version_index(index)?)
}

/// Says whether it must be noted that one object was bound to another: it is another, and may be unloaded some day.
/// What lives in another namespace is there for good. What stays anyway is not noted, as in glibc, which shows in the order
/// of FINI functions.
pub(crate) fn is_dependency(user: &Object, used: &Object) -> bool {
    used.id() != user.id()
        && used.namespace() == user.namespace()
        && !matches!(used.role(), Role::Main | Role::Libc | Role::Rtld)
        && !used.is_pinned()
        && !used.is_kept()
}
