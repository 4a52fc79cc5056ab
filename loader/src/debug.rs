//! What debuggers read: `struct r_debug`, found through DT_DEBUG, and the function they stop at.

use goblin::elf::dynamic::DT_DEBUG;

use crate::gates::address_of;
use crate::host::Host;
use crate::image::address;
use crate::loader::Loader;
use crate::object::Object;
use crate::state::State;

/// `r_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RState {
    /// The list is whole.
    Consistent = 0,
    /// Objects are being added.
    Add = 1,
    /// Objects are being removed.
    Delete = 2,
}

impl Loader {
    /// Fills in `_r_debug` of the mapped `ld.so` and DT_DEBUG of the program.
    pub(crate) fn describe_to_debuggers(&self, state: &mut State, main: &Object, rtld: &Object) {
        let Some(at) = address_of(rtld, b"_r_debug").filter(|&at| rtld.is_writable(at, 40)) else {
            return;
        };
        let brk = address_of(rtld, b"_dl_debug_state").unwrap_or(0);
        // r_version, r_map, r_brk, r_state, r_ldbase.
        for (index, value) in [1, main.handle(), brk, 0, rtld.bias()]
            .into_iter()
            .enumerate()
        {
            // SAFETY: checked just above to be writable memory of the mapped ld.so; nobody runs yet.
            unsafe { *((at + index * 8) as *mut usize) = value };
        }
        if let Some(entry) = main
            .dynamic_entry(address(DT_DEBUG))
            .filter(|&entry| main.is_writable(entry, 16))
        {
            // SAFETY: just checked.
            unsafe { *((entry + 8) as *mut usize) = at };
        }
        (state.r_debug, state.r_brk) = (at, brk);
    }
}

/// Tells a debugger that the list of objects is about to change or has changed.
pub(crate) fn announce(host: &dyn Host, r_debug: usize, r_brk: usize, r_state: RState) {
    if r_debug == 0 || r_brk == 0 {
        return;
    }
    // SAFETY: `describe_to_debuggers` found the structure in `ld.so`'s writable data.
    unsafe { *((r_debug + 24) as *mut u32) = r_state as u32 };
    // SAFETY: an empty function of `ld.so`, there for breakpoints.
    unsafe { host.call(r_brk, [0; 4]) };
}
