//! The kernel's binary: the entry that `boot` jumps to and the panic handler. ARCH fills this in.
fn main() {}
