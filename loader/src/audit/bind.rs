//! What auditors are told of bindings (`la_symbind64`): what a reference was bound to, and what it is to be bound to
//! instead.

use alloc::sync::Arc;

use super::notices::Notices;
use crate::arch;
use crate::auditors::Mark;
use crate::elf::Sym;
use crate::loaded::Loaded;
use crate::lookup::Definition;
use crate::namespace::Audited;
use crate::object::Object;
use crate::world::World;

/// What `la_objopen` returns: which bindings of an object are of interest.
const LA_FLG_BINDTO: u32 = 1;
const LA_FLG_BINDFROM: u32 = 2;

/// Flags of `la_symbind64`. An auditor says with the first two that it need not be told of calls.
const LA_SYMB_NOPLTENTER: u64 = 0x01;
const LA_SYMB_NOPLTEXIT: u64 = 0x02;
const LA_SYMB_DLSYM: u64 = 0x08;
const LA_SYMB_ALTVALUE: u64 = 0x10;
const QUIET: u64 = LA_SYMB_NOPLTENTER | LA_SYMB_NOPLTEXIT;

/// How a reference comes to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By its first call.
    Lazy,
    /// By relocation: nobody is told of calls.
    Now,
    /// By `dlsym`.
    Dlsym,
}

/// A call of an auditor with a symbol, as the loader's assembly makes it on the program's stack.
#[repr(C)]
struct SymbolCall {
    function: usize,
    /// What follows, up to the frame's size, is copied there and back.
    symbol: Sym,
    flags: u64,
    frame_size: i64,
    index: usize,
    from: usize,
    to: usize,
    name: usize,
}

/// A reference and its definition.
pub(crate) struct Binding<'a> {
    pub(crate) from: &'a Object,
    pub(crate) to: &'a Object,
    /// The definition's number in the object's symbol table.
    pub(crate) index: usize,
}

impl Notices<'_> {
    /// Tells what a reference is bound to; returns what it is to be bound to.
    pub(crate) fn symbind(&self, binding: &Binding<'_>, value: usize, way: Way) -> usize {
        let Some(symbol) = binding.to.symbol(binding.index) else {
            return value;
        };
        let name = binding.to.symbol_name(symbol);
        let name = name.map_or(0, |name| name.as_ptr().addr());
        let mut value = value;
        let mut flags = 0;
        for (number, auditor) in self.auditors.all().filter(|(_, it)| it.symbind != 0) {
            let (from, to) = (binding.from.mark(number), binding.to.mark(number));
            if !is_of_interest(from, to, way) {
                continue;
            }
            flags = match way {
                Way::Lazy => flags,
                Way::Now => flags | QUIET,
                Way::Dlsym => flags & LA_SYMB_ALTVALUE | LA_SYMB_DLSYM,
            };
            let mut call = SymbolCall {
                function: auditor.symbind,
                symbol: Sym {
                    st_value: value as u64,
                    ..*symbol
                },
                flags,
                frame_size: -1,
                index: binding.index,
                from: from.cookie(),
                to: to.cookie(),
                name,
            };
            let at = core::ptr::from_mut(&mut call).expose_provenance();
            let other = self.call(arch::audit_symbind(), [at, 0, 0, 0]);
            flags = call.flags;
            if other != value {
                value = other;
                flags |= LA_SYMB_ALTVALUE;
            }
        }
        value
    }
}

/// Says whether an auditor wants to know of a binding. `dlsym` binds nobody: one of the two is enough there.
fn is_of_interest(from: &Mark, to: &Mark, way: Way) -> bool {
    let (from, to) = (from.has(LA_FLG_BINDFROM), to.has(LA_FLG_BINDTO));
    if way == Way::Dlsym {
        from || to
    } else {
        from && to
    }
}

/// A binding that auditors are to be told of.
pub(crate) struct LateBinding {
    from: Arc<Object>,
    to: Arc<Object>,
    index: usize,
}

impl LateBinding {
    /// Tells of it; returns what the reference is to be bound to instead of a value.
    pub(crate) fn tell(&self, notices: Notices<'_>, value: usize, way: Way) -> usize {
        let binding = Binding {
            from: &self.from,
            to: &self.to,
            index: self.index,
        };
        notices.symbind(&binding, value, way)
    }
}

impl Loaded {
    /// Returns what auditors are to be told when a reference of an object is bound, if they are to be told.
    #[inline]
    pub(crate) fn late_binding(
        &self,
        world: &World,
        from: &Object,
        found: &Definition<'_>,
        way: Way,
    ) -> Option<LateBinding> {
        if !self.auditors().are_there() {
            return None;
        }
        // An auditor may call anything when it is told: nobody is told of that.
        let audited = world.space(from.namespace())?.audited;
        let is_own = way == Way::Lazy && audited != Audited::Wholly;
        let from = world.entry_of(from)?.object.clone();
        (!is_own && self.auditors().hear_bindings()).then(|| LateBinding {
            from,
            to: found.object.clone(),
            index: found.index,
        })
    }
}
