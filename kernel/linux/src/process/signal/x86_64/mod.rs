//! What handlers find on the stack on x86-64: the signal frame and the floating-point state in it.
pub(super) mod fpstate;
pub(crate) mod frame;
