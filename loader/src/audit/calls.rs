//! What auditors are told of calls through PLT slots: `la_x86_64_gnu_pltenter` before, `la_x86_64_gnu_pltexit` after.
//!
//! Slots of such objects are never filled: each call comes here ([`crate::arch`]), where the binding is kept that the
//! first one has found out. As with `ld.so`, an auditor may change the caller's registers, and if it wants to know of the
//! return, the function is called with a copy of as much of the caller's frame as the auditor asks for.

use core::sync::atomic::Ordering;

use super::bind::{LA_SYMB_ALTVALUE, LA_SYMB_NOPLTENTER, LA_SYMB_NOPLTEXIT, LateBinding, QUIET};
use super::notices::Notices;
use crate::arch::{self, PltCall, Results};
use crate::auditors::Slot;
use crate::loaded::Loaded;
use crate::object::Object;
use crate::signals;

impl Loaded {
    /// Binds a PLT slot of an object, if that has not been done, and tells auditors of a call through it; returns the
    /// address to go to.
    pub(crate) fn bind_audited(&self, object: &Object, index: usize, call: &PltCall) -> usize {
        let Some(place) = object.slot(index) else {
            return self.bind(object, index);
        };
        let notices = self.notices();
        let known = place.get();
        let binding = known.and_then(|slot| self.binding_of(object, slot));
        let (slot, binding) = match (known, binding) {
            (Some(slot), Some(binding)) => (slot, binding),
            _ => {
                let (target, binding) = self.resolve(object, index);
                let Some(binding) = binding else {
                    return target;
                };
                let outcome = binding.tell(notices, target, super::Way::Lazy);
                let made = Slot {
                    value: outcome.value,
                    flags: outcome.flags,
                    quiet: outcome.quiet.into(),
                    to: (binding.to.namespace(), binding.to.id()),
                    index: binding.index,
                };
                // A handler that comes in here would wait for itself.
                let slot = signals::undisturbed(self.host(), || place.call_once(|| made));
                (slot, binding)
            }
        };
        if slot.quiet.load(Ordering::Relaxed) & LA_SYMB_NOPLTENTER != 0 {
            return slot.value;
        }
        notices.enter(&binding, slot, call)
    }

    /// Tells auditors that a function has returned which was called through a PLT slot of an object.
    pub(crate) fn plt_exit(
        &self,
        object: &Object,
        index: usize,
        call: &PltCall,
        results: &Results,
    ) {
        let slot = object.slot(index).and_then(|place| place.get());
        let binding = slot.and_then(|slot| Some((slot, self.binding_of(object, slot)?)));
        if let Some((slot, binding)) = binding {
            call.show_results(results);
            self.notices().exit(&binding, slot, call, results);
            call.take_results(results);
        }
    }

    /// Returns the binding of a slot.
    fn binding_of(&self, object: &Object, slot: &Slot) -> Option<LateBinding> {
        let world = self.world().read()?;
        let (namespace, id) = slot.to;
        Some(LateBinding {
            from: world.entry_of(object)?.object.clone(),
            to: world.entry(namespace, id)?.object.clone(),
            index: slot.index,
        })
    }
}

impl Notices<'_> {
    /// Tells of a call that is about to be made; returns the address to go to.
    fn enter(&self, binding: &LateBinding, slot: &Slot, plt_call: &PltCall) -> usize {
        let (mut value, mut flags, mut frame_size) = (slot.value, slot.flags, -1);
        plt_call.show();
        for (number, auditor) in self.auditors.all() {
            let shift = 2 * (number + 1);
            let quiet = slot.quiet.load(Ordering::Relaxed) >> shift;
            let call = binding.call(number, value, flags);
            let wanted = auditor.pltenter != 0 && quiet & LA_SYMB_NOPLTENTER == 0;
            let Some(mut call) = call.filter(|_| wanted) else {
                continue;
            };
            call.function = auditor.pltenter;
            call.registers = plt_call.registers();
            let at = core::ptr::from_mut(&mut call).expose_provenance();
            let other = self.call(arch::audit_pltenter(), [at, 0, 0, 0]);
            flags = call.flags;
            if other != value {
                value = other;
                flags |= LA_SYMB_ALTVALUE;
            }
            slot.quiet
                .fetch_or((flags & QUIET) << shift, Ordering::Relaxed);
            if (quiet | flags) & LA_SYMB_NOPLTEXIT == 0 {
                frame_size = frame_size.max(call.frame_size);
            }
        }
        plt_call.take();
        plt_call.set_frame_size(frame_size);
        value
    }

    /// Tells of a function that has returned.
    fn exit(&self, binding: &LateBinding, slot: &Slot, plt_call: &PltCall, results: &Results) {
        for (number, auditor) in self.auditors.all() {
            let quiet = slot.quiet.load(Ordering::Relaxed) >> (2 * (number + 1));
            let call = binding.call(number, slot.value, slot.flags);
            let wanted = auditor.pltexit != 0 && quiet & LA_SYMB_NOPLTEXIT == 0;
            if let Some(mut call) = call.filter(|_| wanted) {
                call.function = auditor.pltexit;
                call.registers = plt_call.registers();
                call.results = core::ptr::from_ref(results).expose_provenance();
                let at = core::ptr::from_mut(&mut call).expose_provenance();
                self.call(arch::audit_pltexit(), [at, 0, 0, 0]);
            }
        }
    }
}
