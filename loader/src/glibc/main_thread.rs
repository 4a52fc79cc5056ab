//! The main thread's control block: what `ld.so` writes into `tcbhead_t` and `struct pthread` before libc runs.

use crate::glibc::Fields;
use crate::glibc::probe::Offsets;
use crate::host::Host;
use crate::stack::InitialStack;
use crate::tls::Area;

/// RSEQ_CPU_ID_REGISTRATION_FAILED: new threads see it in the main thread and do not register either.
const RSEQ_NOT_REGISTERED: u32 = u32::MAX - 1;

/// Writes the TCB header: self pointers, stack guard and pointer guard.
///
/// # Safety
///
/// `tp` must be the address of zeroed memory for a `struct pthread`; `random`, 16 readable bytes.
pub(crate) unsafe fn write_header(tp: usize, random: usize) {
    let word = |offset: usize| (tp + offset) as *mut usize;
    // SAFETY: the caller vouches for the 16 bytes.
    let guards = unsafe { *(random as *const [[u8; 8]; 2]) };
    let [stack, pointer] = guards.map(usize::from_le_bytes);
    // tcb, self, and the two guards (the lowest byte of the stack guard is 0, so that strings do not leak it).
    for (offset, value) in [(0, tp), (0x10, tp), (0x28, stack & !0xff), (0x30, pointer)] {
        // SAFETY: `tcbhead_t` is fixed by the ABI; the caller vouches for the memory.
        unsafe { *word(offset) = value };
    }
}

/// The main thread as long as it does not run.
pub(crate) struct MainThread {
    /// The thread pointer.
    pub(crate) pointer: usize,
    /// Where the area for restartable sequences is, if libc has one.
    pub(crate) rseq_offset: Option<usize>,
    pub(crate) stack: InitialStack,
    /// The area for static thread-local storage.
    pub(crate) area: Area,
    pub(crate) fields: Fields,
    /// Where `ld.so`'s data has what, once a libc has been asked, which has been told then.
    pub(crate) offsets: Option<Offsets>,
    /// Whether it has been registered.
    pub(crate) is_adopted: spin::Once<()>,
}

impl MainThread {
    /// Says whether `ld.so`'s data has been filled in.
    pub(crate) fn is_told(&self) -> bool {
        self.offsets.is_some()
    }

    /// Makes the calling thread the main thread in libc's eyes, the first time: it is the one whose control block this
    /// is, and `ld.so`'s data has been filled in.
    pub(crate) fn adopt(&self, host: &dyn Host) {
        self.is_adopted.call_once(|| self.adopt_main(host));
    }

    /// Fills the main thread's `struct pthread`.
    fn adopt_main(&self, host: &dyn Host) {
        let (fields, tp, rseq_offset) = (&self.fields, self.pointer, self.rseq_offset);
        let stack_end = self.stack.address();
        let word = |offset: usize| (tp + offset) as *mut usize;
        let tid_at = tp + fields.tid;
        // Taken by adjacency, alike in all reviewed versions.
        let (robust_prev, robust_head) = (tid_at + 8, tid_at + 16);
        let first_block = tp + fields.specific - 512;
        let tid = host.register_main_thread(tid_at, robust_head, 24);
        // SAFETY: all of these are fields of the main thread's descriptor, by offsets glibc gave.
        unsafe {
            *(tid_at as *mut u32) = tid;
            *(robust_prev as *mut usize) = robust_head;
            *(robust_head as *mut [usize; 3]) = [robust_head, (-32isize).cast_unsigned(), 0];
            *word(fields.specific) = first_block;
            // The main thread is on the list of threads whose stacks their users own.
            let (list, node) = (fields.stack_user as *mut usize, tp + fields.list);
            *(node as *mut [usize; 2]) = [*list, fields.stack_user];
            *((*list + 8) as *mut usize) = node;
            *list = node;
            if let Some(offset) = rseq_offset {
                *((tp.wrapping_add(offset) + 4) as *mut u32) = RSEQ_NOT_REGISTERED;
            }
        }
        // SAFETY: fields of the main thread's descriptor. Its stack is the user's: `user_stack` follows
        // `report_events`, or is stack_mode in 2.42 and 2.43; and it can be joined, says joinstate in 2.43.
        unsafe {
            if fields.minor >= 42 {
                *((tp + 1556) as *mut u32) = 2;
            } else {
                *((tp + fields.report_events + 1) as *mut u8) = 1;
            }
            if fields.minor >= 43 {
                *((tp + 1576) as *mut u32) = 2;
            }
        }
        // SAFETY: a field of the main thread's descriptor: stackblock_size, which holds the stack's end (1688 in 2.34
        // to 2.43).
        unsafe { *word(1688) = stack_end };
    }
}
