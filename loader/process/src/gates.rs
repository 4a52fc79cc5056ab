//! The gates of this host: plain C functions on the caller's own stack.

use loader::Gate;

use crate::LOADER;

macro_rules! gates {
    ($($gate:ident)*) => {
        /// Returns the address of a gate.
        pub(crate) fn address(gate: Gate) -> usize {
            match gate {
                $(Gate::$gate => {
                    extern "C" fn enter(a: usize, b: usize, c: usize, d: usize) -> usize {
                        // SAFETY: a loaded object called this gate with these arguments.
                        unsafe { LOADER.enter(Gate::$gate, [a, b, c, d], 0) }
                    }
                    (enter as *const ()).expose_provenance()
                })*
            }
        }
    };
}

loader::for_each_gate!(gates);
