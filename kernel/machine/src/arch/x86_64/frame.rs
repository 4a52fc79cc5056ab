//! The saved state of interrupted code.

use super::layout::USER_END;

/// What entry code saves on the thread's kernel stack, the same for system calls, exceptions and interrupts.
///
/// The upper halves of the vector registers are not here: the kernel uses legacy SSE only, which leaves them alone;
/// [`super::fpu`] saves them at a context switch and into signal frames.
#[repr(C, align(16))]
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are the registers")]
pub struct TrapFrame {
    /// `xmm0`–`xmm15`.
    pub xmm: [u128; 16],
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    /// Vector of the exception or interrupt; [`TrapFrame::SYSCALL`] for a system call.
    pub vector: u64,
    /// Error code of the exception; for a system call the original `rax`.
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl TrapFrame {
    /// `vector` of a system call.
    pub const SYSCALL: u64 = 0x100;

    /// Whether the interrupted code ran on the program's stack: signals and preemption are possible then.
    pub fn is_program(&self) -> bool {
        self.rsp < USER_END as u64
    }
}
