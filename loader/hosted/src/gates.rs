//! The gates of this host: plain C functions on the program's own stack.

use loader::Gate;

use crate::LOADER;

macro_rules! gates {
    ($($gate:ident)*) => {
        /// Returns the address of a gate.
        pub(crate) fn address(gate: Gate) -> usize {
            match gate {
                $(Gate::$gate => {
                    extern "C" fn enter(a: usize, b: usize, c: usize, d: usize) -> usize {
                        // SAFETY: the program called this gate with these arguments.
                        unsafe { LOADER.enter(Gate::$gate, [a, b, c, d]) }
                    }
                    (enter as *const ()).expose_provenance()
                })*
            }
        }
    };
}

gates! {
    Bind TlsGetAddr AllocateTls AllocateTlsInit DeallocateTls FindDsoForObject IteratePhdr FindObject ThreadAtexit
    ThreadAtexitRun Dlopen Dlclose Dlsym Dlvsym Dlerror Dladdr Dladdr1 Dlinfo Dlmopen LibcDlopen LibcDlsym LibcDlvsym
    LibcDlclose ReadonlyArea Worker CodeRegister CodeUnregister CodeFind CodeCount CodeThreadEnd Fini
}
