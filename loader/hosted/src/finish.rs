//! Finishing a call that a signal handler has interrupted, while the handler waits ([`InterruptedCall`]).
//!
//! The interrupted context is gone on with as the kernel does it when handlers return, `rt_sigreturn(2)`, from a copy
//! with all signals blocked. The call returns to code of this module's, which makes the state of then the interrupted
//! context, puts the handlers' part of the stack back, this program's frames among it, and goes on in [`finish`].

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::global_asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::mem::offset_of;
use core::ops::Range;

use loader::{Errno, InterruptedCall};

use crate::sys;
use crate::thread::{self, set_blocked_signals};

/// `ucontext_t` as the kernel knows it, in words: `uc_stack`, the general registers, the floating-point state,
/// `uc_sigmask`.
type Context = [u64; 38];
const STACK: Range<usize> = 2..5;
const REGISTERS: usize = 5;
const FLOATING_POINT: usize = 28;
const MASK: usize = 37;

/// What the kernel reports as blocked when everything is: SIGKILL and SIGSTOP never are.
const ALL_BLOCKED: u64 = !(1 << 8 | 1 << 18);

/// More than this program's frames below the one of [`finish`] take.
const FRAMES: usize = 4096;

/// Registers as `elfin_hosted_finished` pushes them, the last one first.
type Pushed = [u64; 16];
/// Which of the pushed ones is each of `ucontext_t`'s: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx.
const ORDER: [usize; 15] = [7, 6, 5, 4, 3, 2, 1, 0, 8, 9, 10, 11, 12, 14, 13];
const FLAGS: usize = 15;

/// A call being finished.
#[repr(C)]
struct Finishing {
    /// What is put back in the end.
    start: usize,
    len: usize,
    copy: usize,
    /// The stack pointer to go on with here.
    stack: usize,
    /// Where what is kept ends, if it starts at that stack pointer; else 0.
    end: usize,
    /// Whose call it is, and the stack pointer it returns with.
    thread: usize,
    returned: usize,
    return_to: u64,
    context: usize,
}

/// What is being finished. Each entry points to what waits in [`finish`].
static UNDER_WAY: spin::Mutex<Vec<usize>> = spin::Mutex::new(Vec::new());

global_asm!(
    r#"
    .pushsection .text.elfin_hosted_finish, "ax", @progbits
    // (call being finished, context): goes on with the context, and returns when the call has.
    .globl elfin_hosted_resume
    .type elfin_hosted_resume, @function
    elfin_hosted_resume:
        push rbp
        push rbx
        push r12
        push r13
        push r14
        push r15
        sub rsp, 8
        stmxcsr [rsp]
        fnstcw [rsp + 4]
        mov [rdi + {stack}], rsp
        mov rdx, rsi
        mov rcx, [rdi + {end}]
        test rcx, rcx
        jz 2f
        mov rsi, rsp
        sub rcx, rsp
        mov [rdi + {start}], rsp
        mov [rdi + {len}], rcx
        mov rdi, [rdi + {copy}]
        cld
        rep movsb
    2:  mov rsp, rdx
        mov eax, 15
        syscall
        ud2

    // Where the call returns: everything below the stack pointer is free.
    .globl elfin_hosted_finished
    .type elfin_hosted_finished, @function
    elfin_hosted_finished:
        pushfq
        push rax
        push rcx
        push rdx
        push rbx
        push rbp
        push rsi
        push rdi
        push r8
        push r9
        push r10
        push r11
        push r12
        push r13
        push r14
        push r15
        cld
        mov rbx, rsp
        sub rsp, [rip + {save_size}]
        and rsp, -64
        mov eax, [rip + {save_mask}]
        xor edx, edx
        .irp at, 512, 520, 528, 536, 544, 552, 560, 568
        mov [rsp + \at], rdx
        .endr
        xsave64 [rsp]
        mov rdi, rbx
        mov rsi, rsp
        call {finished}
        mov rdi, [rax + {start}]
        mov rsi, [rax + {copy}]
        mov rcx, [rax + {len}]
        mov rdx, [rax + {stack}]
        rep movsb
        mov rsp, rdx
        fninit
        fldcw [rsp + 4]
        ldmxcsr [rsp]
        add rsp, 8
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbx
        pop rbp
        ret
    .popsection
    "#,
    start = const offset_of!(Finishing, start),
    len = const offset_of!(Finishing, len),
    copy = const offset_of!(Finishing, copy),
    stack = const offset_of!(Finishing, stack),
    end = const offset_of!(Finishing, end),
    save_size = sym SAVE_SIZE,
    save_mask = sym SAVE_MASK,
    finished = sym finished,
);

unsafe extern "C" {
    fn elfin_hosted_resume(call: *mut Finishing, context: *const Context);
    fn elfin_hosted_finished();
}

/// The state components that are saved, and the room they take. Written once, before they are used.
static SAVE_MASK: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);
static SAVE_SIZE: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

/// x87, SSE, AVX, the three of AVX-512 and APX's registers.
const COMPONENTS: u32 = 0b1110_0111 | 1 << 19;
/// Offsets in an XSAVE area: the bytes that are software's, with the kernel's mark that the area is a whole one; the
/// header that says which components are there.
const SOFTWARE: usize = 464;
const HEADER: usize = 512;
const MAGIC: u32 = 0x4650_5853;

/// Goes on with the interrupted code until the call returns, and makes its state then the interrupted context.
///
/// # Safety
///
/// The call must be one that the calling thread is in, as described.
pub(crate) unsafe fn finish(call: &InterruptedCall) -> Result<(), Errno> {
    let mask = find_components().ok_or(Errno::ENOSYS)?;
    SAVE_MASK.store(mask, core::sync::atomic::Ordering::Relaxed);
    let mut context: Box<Context> = Box::new([0; 38]);
    let mut return_to = 0u64;
    let from = (call.context, call.slot);
    if !thread::read(from.0, bytes(&mut *context)) || !thread::read(from.1, bytes(&mut return_to)) {
        return Err(Errno::EFAULT);
    }
    context[MASK] = u64::MAX;
    let stack = core::ptr::from_mut(&mut context[STACK.start]).expose_provenance();
    // SAFETY: the kernel writes a `stack_t` there, which says what is so now.
    unsafe { sys::call(sys::SIGALTSTACK, [0, stack, 0, 0, 0, 0]) };

    let here = core::ptr::from_ref(&return_to).addr();
    let start = if call.keeps_gate {
        here - FRAMES
    } else {
        call.keep.start
    };
    let len = call.keep.end.saturating_sub(start);
    let mut copy = Vec::new();
    copy.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    copy.resize(len, 0);
    if !thread::read(start, &mut copy) {
        return Err(Errno::EFAULT);
    }
    let mut finishing = Box::new(Finishing {
        start,
        len,
        copy: copy.as_mut_ptr().expose_provenance(),
        stack: 0,
        end: if call.keeps_gate { call.keep.end } else { 0 },
        thread: thread::thread_pointer(),
        returned: call.slot + 8,
        return_to,
        context: call.context,
    });
    let finishing = &raw mut *finishing;
    UNDER_WAY.lock().push(finishing.expose_provenance());
    // SAFETY: the caller says that the word is a return address of this thread's stack, which goes on with the context
    // until the call returns. The rest of the stack is put back then, so that this function finds its frame as it was.
    unsafe {
        (call.slot as *mut usize).write((elfin_hosted_finished as *const ()).expose_provenance());
        elfin_hosted_resume(finishing, &raw const *context);
    }
    drop(copy);
    Ok(())
}

/// Comes from `elfin_hosted_finished`, on the stack of the code that has been gone on with.
unsafe extern "C" fn finished(pushed: &Pushed, area: *const u8) -> usize {
    let returned = core::ptr::from_ref(pushed).addr() + size_of::<Pushed>();
    let thread = thread::thread_pointer();
    let at = {
        let mut under_way = UNDER_WAY.lock();
        let found = under_way.iter().rposition(|&at| {
            // SAFETY: entries point to what waits in `finish`.
            let finishing = unsafe { &*(at as *const Finishing) };
            (finishing.thread, finishing.returned) == (thread, returned)
        });
        let Some(found) = found else {
            sys::write_error(b"elfin-hosted: a call that nobody waits for has been finished\n");
            sys::exit(125);
        };
        under_way.remove(found)
    };
    // SAFETY: what has just been an entry of the list points to what waits in `finish`.
    let finishing = unsafe { &*(at as *const Finishing) };
    let place = |address: usize| {
        let kept = finishing.start..finishing.start + finishing.len;
        if kept.contains(&address) {
            finishing.copy + (address - finishing.start)
        } else {
            address
        }
    };
    // SAFETY: the context was there when it was read, and is where it was, or in the copy of that part of the stack.
    let context = unsafe { &mut *(place(finishing.context) as *mut Context) };
    let registers = &mut context[REGISTERS..];
    for (register, &at) in registers.iter_mut().zip(&ORDER) {
        *register = pushed[at];
    }
    registers[15] = returned as u64;
    registers[16] = finishing.return_to;
    registers[17] = pushed[FLAGS];
    // What the call has blocked, or not, is the interrupted code's.
    let blocked = set_blocked_signals(u64::MAX);
    if blocked != ALL_BLOCKED {
        context[MASK] = blocked;
    }
    if context[FLOATING_POINT] != 0 {
        let state = place(context[FLOATING_POINT] as usize);
        // SAFETY: the state that belongs to the context, and what was saved just now.
        unsafe { save_state(state as *mut u8, area) };
    }
    at
}

/// Writes saved components over those of a signal frame.
///
/// # Safety
///
/// `frame` must be the floating-point state of a signal frame, `area` an XSAVE area in standard format.
unsafe fn save_state(frame: *mut u8, area: *const u8) {
    // SAFETY: the legacy region is always there; the rest is if the kernel's mark is.
    unsafe {
        frame.copy_from_nonoverlapping(area, SOFTWARE);
        if frame.add(SOFTWARE).cast::<u32>().read_unaligned() != MAGIC {
            return;
        }
        let header = frame.add(HEADER).cast::<u64>();
        let (mask, new) = (
            u64::from(SAVE_MASK.load(core::sync::atomic::Ordering::Relaxed)),
            area.add(HEADER).cast::<u64>().read(),
        );
        header.write_unaligned((header.read_unaligned() & !mask) | (new & mask));
        for component in (2..u32::BITS).filter(|component| mask & (1 << component) != 0) {
            let leaf = __cpuid_count(0xd, component);
            let (size, offset) = (leaf.eax as usize, leaf.ebx as usize);
            frame
                .add(offset)
                .copy_from_nonoverlapping(area.add(offset), size);
        }
    }
}

/// Returns which components there are, and notes the room they take; `None` without XSAVE.
fn find_components() -> Option<u32> {
    if __cpuid(1).ecx & (1 << 27) == 0 {
        return None;
    }
    // SAFETY: OSXSAVE is set, so there is register 0.
    let mask = COMPONENTS & unsafe { enabled() };
    let sizes = (2..u32::BITS).filter(|component| mask & (1 << component) != 0);
    let ends = sizes.map(|component| {
        let leaf = __cpuid_count(0xd, component);
        (leaf.eax + leaf.ebx) as usize
    });
    let size = ends.max().unwrap_or(0).max(HEADER + 64);
    SAVE_SIZE.store(size, core::sync::atomic::Ordering::Relaxed);
    Some(mask)
}

/// Returns the low half of XCR0.
#[target_feature(enable = "xsave")]
fn enabled() -> u32 {
    // SAFETY: register 0 exists wherever XGETBV does, which the target feature stands for.
    unsafe { _xgetbv(0) as u32 }
}

/// A value as bytes to be read into.
fn bytes<T>(value: &mut T) -> &mut [u8] {
    // SAFETY: used for integers only, of which any bytes are values.
    unsafe { core::slice::from_raw_parts_mut(core::ptr::from_mut(value).cast(), size_of::<T>()) }
}
