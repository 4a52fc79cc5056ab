//! The objects that the loader treats differently.

/// What an object is to the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The program.
    Main,
    /// `libc.so.6`.
    Libc,
    /// `ld-linux-x86-64.so.2`, mapped for its data: none of its loader code ever runs.
    Rtld,
    /// `libelfin.so.1`, through which programs use functions of the loader's own.
    Elfin,
    /// `linux-vdso.so.1`, which is in memory when the program starts.
    Vdso,
    /// Any other.
    Library,
}
