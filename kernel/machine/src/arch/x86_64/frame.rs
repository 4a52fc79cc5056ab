//! The saved state of interrupted code.

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

/// Bit of the flags register: interrupts are on.
const RFLAGS_IF: u64 = 1 << 9;
/// Length of the `syscall` instruction.
const SYSCALL_LEN: u64 = 2;

impl TrapFrame {
    /// `vector` of a system call.
    pub const SYSCALL: u64 = 0x100;

    /// Whether the interrupted code was the program's, or the kernel's on the program's stack: signals and preemption
    /// are possible then. A program may have lost its stack pointer, or jumped to nowhere.
    #[inline]
    pub fn is_program(&self) -> bool {
        (self.rip & self.rsp) >> 63 == 0
    }

    /// The program is interruptible, whatever it has popped into its flags.
    #[inline]
    pub(super) fn turn_interrupts_on(&mut self) {
        self.rflags |= RFLAGS_IF;
    }

    /// Whether interrupts were on.
    #[inline]
    pub fn has_interrupts(&self) -> bool {
        self.rflags & RFLAGS_IF != 0
    }

    /// Address of the interrupted instruction, or of the one after a system call.
    pub fn instruction_pointer(&self) -> usize {
        self.rip as usize
    }

    /// Makes it go on elsewhere.
    pub fn set_instruction_pointer(&mut self, at: usize) {
        self.rip = at as u64;
    }

    /// The interrupted code's stack pointer.
    pub fn stack_pointer(&self) -> usize {
        self.rsp as usize
    }

    /// Number of the system call (Linux' convention for x86-64, syscall(2)).
    #[inline]
    pub fn system_call(&self) -> usize {
        self.rax as usize
    }

    /// Arguments of the system call.
    #[inline]
    pub fn arguments(&self) -> [usize; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9].map(|argument| argument as usize)
    }

    /// What the system call has returned: a value, or the negative of an error number.
    pub fn result(&self) -> i64 {
        self.rax as i64
    }

    /// Makes the system call return a value, or the negative of an error number.
    #[inline]
    pub fn set_result(&mut self, result: i64) {
        self.rax = result as u64;
    }

    /// Makes the program do the system call again, with this number.
    pub fn restart_system_call(&mut self, number: u64) {
        self.rax = number;
        self.rip -= SYSCALL_LEN;
    }

    /// The registers in the order of DWARF's numbers (psABI, "DWARF Register Number Mapping"): rax to r15, then the
    /// return address.
    pub fn by_dwarf_number(&self) -> [u64; 17] {
        [
            self.rax, self.rdx, self.rcx, self.rbx, self.rsi, self.rdi, self.rbp, self.rsp,
            self.r8, self.r9, self.r10, self.r11, self.r12, self.r13, self.r14, self.r15, self.rip,
        ]
    }
}
