//! What auditors are told of bindings (`la_symbind64`): what a reference was bound to, and what it is to be bound to
//! instead; and how their functions are called that take a symbol.

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
pub(super) const LA_SYMB_NOPLTENTER: u64 = 0x01;
pub(super) const LA_SYMB_NOPLTEXIT: u64 = 0x02;
const LA_SYMB_DLSYM: u64 = 0x08;
pub(super) const LA_SYMB_ALTVALUE: u64 = 0x10;
pub(super) const QUIET: u64 = LA_SYMB_NOPLTENTER | LA_SYMB_NOPLTEXIT;

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
pub(super) struct SymbolCall {
    pub(super) function: usize,
    /// What follows, up to the frame's size, is copied there and back.
    symbol: Sym,
    pub(super) flags: u64,
    pub(super) frame_size: i64,
    index: usize,
    from: usize,
    to: usize,
    name: usize,
    pub(super) registers: usize,
    pub(super) results: usize,
}

/// What has come of telling auditors of a binding.
pub(crate) struct Outcome {
    /// What the reference is to be bound to.
    pub(crate) value: usize,
    pub(super) flags: u64,
    /// By auditor, from bit 2 on, the flags with which it has said of what it need not be told; in bits 0 and 1 what
    /// none of them wants to hear.
    pub(super) quiet: u64,
}

/// A binding that auditors are to be told of.
pub(crate) struct LateBinding {
    pub(super) from: Arc<Object>,
    pub(super) to: Arc<Object>,
    /// The definition's number in its object's symbol table.
    pub(super) index: usize,
}

impl LateBinding {
    /// Makes the call of an auditor about the binding; `None` if the definition is none.
    pub(super) fn call(&self, auditor: usize, value: usize, flags: u64) -> Option<SymbolCall> {
        let symbol = self.to.symbol(self.index)?;
        let name = self.to.symbol_name(symbol);
        Some(SymbolCall {
            function: 0,
            symbol: Sym {
                st_value: value as u64,
                ..*symbol
            },
            flags,
            frame_size: -1,
            index: self.index,
            from: self.from.mark(auditor).cookie(),
            to: self.to.mark(auditor).cookie(),
            name: name.map_or(0, |name| name.as_ptr().addr()),
            registers: 0,
            results: 0,
        })
    }

    /// Tells of it; returns what the reference is to be bound to instead of a value.
    pub(crate) fn tell(&self, notices: Notices<'_>, value: usize, way: Way) -> Outcome {
        let (mut value, mut flags, mut quiet) = (value, 0, QUIET);
        for (number, auditor) in notices.auditors.all() {
            let shift = 2 * (number + 1);
            let (from, to) = (self.from.mark(number), self.to.mark(number));
            let call = self.call(number, value, flags);
            let Some(mut call) = call.filter(|_| is_of_interest(from, to, way)) else {
                quiet |= QUIET << shift;
                continue;
            };
            if auditor.symbind != 0 {
                call.function = auditor.symbind;
                call.flags = match way {
                    Way::Lazy => flags,
                    Way::Now => flags | QUIET,
                    Way::Dlsym => flags & LA_SYMB_ALTVALUE | LA_SYMB_DLSYM,
                };
                let at = core::ptr::from_mut(&mut call).expose_provenance();
                let other = notices.call(arch::audit_symbind(), [at, 0, 0, 0]);
                flags = call.flags;
                if other != value {
                    value = other;
                    flags |= LA_SYMB_ALTVALUE;
                }
            }
            quiet = quiet & (flags | !QUIET) | (flags & QUIET) << shift;
        }
        Outcome {
            value,
            flags,
            quiet,
        }
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
