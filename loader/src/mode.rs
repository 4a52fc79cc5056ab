//! How `dlopen` and `dlmopen` are asked to load.

use bitflags::bitflags;

bitflags! {
    /// The second argument of `dlopen` (`dlopen(3)`; RTLD_SHARED and RTLD_ISOLATE are those of glibc's proposed
    /// `bits/dlfcn.h`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Mode: usize {
        /// Bind functions when they are first called.
        const LAZY = 0x1;
        /// Bind functions now.
        const NOW = 0x2;
        /// Load nothing: find what is loaded.
        const NOLOAD = 0x4;
        /// Search what is loaded here before the global scope.
        const DEEPBIND = 0x8;
        /// Of nothing is there a proxy: the namespace gets copies of its own.
        const ISOLATE = 0x40;
        /// Load into the base namespace, and give the target namespace a proxy.
        const SHARED = 0x80;
        /// Make the symbols available to what is loaded later.
        const GLOBAL = 0x100;
        /// Never unload.
        const NODELETE = 0x1000;
    }
}

impl Mode {
    /// Says whether this can be done: when to bind must be said, and a proxy is no copy.
    pub(crate) fn makes_sense(self) -> bool {
        self.intersects(Self::LAZY | Self::NOW) && !self.contains(Self::SHARED | Self::ISOLATE)
    }
}
