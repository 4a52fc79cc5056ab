//! Signal frames: what a handler finds on the stack, byte for byte as Linux on x86-64 lays it out, and the way back.
use super::{Action, AltStack, SigInfo, deliver, with_state};
use crate::{
    arch::{TrapFrame, fpu},
    mm::{
        USER_END,
        user::{self, Plain},
    },
    syscall::{Errno, SysResult},
};
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::{ptr::NonNull, slice};
use linux_raw_sys::general as linux;

/// `struct rt_sigframe`.
#[repr(C)]
#[derive(Clone, Copy)]
struct SigFrame {
    /// Return address of the handler: the restorer.
    pretcode: u64,
    context: Context,
    info: [u8; SigInfo::SIZE],
}

/// `struct ucontext` as the kernel knows it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Context {
    flags: u64,
    link: u64,
    stack: Stack,
    machine: Machine,
    mask: u64,
}

/// `stack_t`
#[repr(C)]
#[derive(Clone, Copy)]
struct Stack {
    start: u64,
    flags: u32,
    padding: u32,
    size: u64,
}

/// `struct sigcontext_64`
#[repr(C)]
#[derive(Clone, Copy)]
struct Machine {
    /// r8–r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags.
    registers: [u64; 18],
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error: u64,
    trap: u64,
    old_mask: u64,
    cr2: u64,
    fpstate: u64,
    reserved: [u64; 8],
}

// SAFETY: integers only, and every field starts where the one before it ends (checked by the sizes in the tests).
unsafe impl Plain for SigFrame {}
// SAFETY: as above.
unsafe impl Plain for Context {}

const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

/// Selectors of a 64-bit program under Linux, for show: the real ones are the kernel's and are kept.
const LINUX_CS: u16 = 0x33;
const LINUX_SS: u16 = 0x2b;

/// Bytes below the stack pointer that belong to the interrupted function.
const RED_ZONE: u64 = 128;

/// Flags that a handler may change: AC, RF, OF, DF, TF, SF, ZF, AF, PF, CF.
const USER_FLAGS: u64 = 0x5_0dd5;
/// TF, DF, RF: clear when a handler starts.
const HANDLER_CLEARS: u64 = 0x100 | 0x400 | 0x1_0000;

/// Offsets in an XSAVE area: MXCSR, the bytes that are software's, and the header after the legacy region.
const MXCSR: usize = 24;
const SOFTWARE: usize = 464;
const HEADER: usize = 512;
const HEADER_LEN: usize = 64;
const MXCSR_MASK: u32 = 0xffff;
const INITIAL_FCW: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;
/// XSTATE_BV of the legacy region: x87 and SSE.
const LEGACY: u64 = 3;
/// `FP_XSTATE_MAGIC1`, in the software bytes, and `FP_XSTATE_MAGIC2`, behind the area.
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
const MAGIC_LEN: usize = 4;

/// An XSAVE area in the kernel, with room for the second magic number behind it.
struct Area {
    memory: NonNull<u8>,
    layout: Layout,
}

impl Area {
    /// Zeroed.
    fn new() -> Result<Self, Errno> {
        let layout = Layout::from_size_align(fpu::area_size() + MAGIC_LEN, 64).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(Errno::ENOMEM)?;
        Ok(Self { memory, layout })
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the memory is ours alone, of this size, initialised by `alloc_zeroed`.
        unsafe { slice::from_raw_parts_mut(self.memory.as_ptr(), self.layout.size()) }
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        self.bytes()[at..at + value.len()].copy_from_slice(value);
    }

    fn word(&mut self, at: usize) -> u32 {
        let bytes = self.bytes();
        u32::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]))
    }

    /// Saves the program's state, with Linux' marks that it is an XSAVE area.
    fn save(&mut self, frame: &TrapFrame) {
        // SAFETY: the area is `area_size` bytes long and aligned to 64.
        unsafe { fpu::save(self.memory.as_ptr(), frame) };
        let size = fpu::area_size();
        let len = (size + MAGIC_LEN) as u32;
        self.put(SOFTWARE, &[0; HEADER - SOFTWARE]);
        self.put(SOFTWARE, &MAGIC1.to_ne_bytes());
        self.put(SOFTWARE + 4, &len.to_ne_bytes());
        self.put(SOFTWARE + 8, &fpu::xcr0().to_ne_bytes());
        self.put(SOFTWARE + 16, &(size as u32).to_ne_bytes());
        self.put(size, &MAGIC2.to_ne_bytes());
    }

    /// Becomes the state that a handler or a new program starts with.
    fn make_initial(&mut self) {
        self.bytes().fill(0);
        self.put(0, &INITIAL_FCW.to_ne_bytes());
        self.put(MXCSR, &INITIAL_MXCSR.to_ne_bytes());
    }

    /// Reads what is at `addr` in the program; only the legacy region when the marks are not there.
    fn read(&mut self, addr: usize) -> Result<(), Errno> {
        let size = fpu::area_size();
        user::copy_in(addr, &mut self.bytes()[..HEADER])?;
        let mut complete = self.word(SOFTWARE) == MAGIC1 && self.word(SOFTWARE + 16) == size as u32;
        if complete {
            user::copy_in(addr + HEADER, &mut self.bytes()[HEADER..])?;
            complete = self.word(size) == MAGIC2;
        }
        let states = if complete {
            let bytes = self.bytes();
            u64::from_ne_bytes(core::array::from_fn(|i| bytes[HEADER + i])) & fpu::xcr0()
        } else {
            LEGACY
        };
        // Standard format, no reserved bits: XRSTOR faults on anything else.
        self.put(HEADER, &[0; HEADER_LEN]);
        self.put(HEADER, &states.to_ne_bytes());
        let mxcsr = self.word(MXCSR) & MXCSR_MASK;
        self.put(MXCSR, &mxcsr.to_ne_bytes());
        Ok(())
    }

    /// Makes it the program's state.
    fn restore(&self, frame: &mut TrapFrame) -> Result<(), Errno> {
        // SAFETY: the area is `area_size` bytes long and aligned to 64.
        unsafe { fpu::restore(self.memory.as_ptr(), frame) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and nothing refers to it any more.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

/// The `si_code` for a floating-point exception, vector 16 (x87) or 19 (SSE).
pub(super) fn fpu_exception_code(frame: &TrapFrame, sse: bool) -> u32 {
    let Ok(mut area) = Area::new() else {
        return linux::FPE_FLTINV;
    };
    area.save(frame);
    let raised = if sse {
        let mxcsr = area.word(MXCSR);
        mxcsr & !(mxcsr >> 7)
    } else {
        // Control word in the lower half, status word in the upper; both have the same six bits lowest.
        let words = area.word(0);
        (words >> 16) & !words
    };
    match raised & 0x3f {
        bits if bits & 0x01 != 0 => linux::FPE_FLTINV,
        bits if bits & 0x04 != 0 => linux::FPE_FLTDIV,
        bits if bits & 0x08 != 0 => linux::FPE_FLTOVF,
        bits if bits & 0x12 != 0 => linux::FPE_FLTUND,
        bits if bits & 0x20 != 0 => linux::FPE_FLTRES,
        _ => 0,
    }
}

/// Builds the frame for a handler on the program's stack and makes `frame` start the handler. On an error nothing has changed that
/// matters to a program about to be killed.
pub(super) fn push(frame: &mut TrapFrame, info: &SigInfo, action: &Action) -> Result<(), Errno> {
    if !action.has(linux::SA_RESTORER) {
        return Err(Errno::EFAULT);
    }
    let (mask, altstack, cr2) = with_state(|_, state| {
        let mask = state.saved_mask.take().unwrap_or(state.mask);
        let altstack = state.altstack;
        if altstack.flags & linux::SS_AUTODISARM != 0 {
            state.altstack = AltStack::default();
        }
        (mask, altstack, state.fault_addr)
    });
    let mut area = Area::new()?;
    area.save(frame);
    let on_altstack = altstack.contains(frame.rsp);
    let top = if action.has(linux::SA_ONSTACK) && altstack.size != 0 && !on_altstack {
        altstack.start.wrapping_add(altstack.size)
    } else {
        frame.rsp.wrapping_sub(RED_ZONE)
    };
    let fpstate = top.wrapping_sub(area.layout.size() as u64) & !63;
    // As after a call: the return address is 8 bytes off the alignment.
    let sp = (fpstate.wrapping_sub(size_of::<SigFrame>() as u64) & !15).wrapping_sub(8);
    if on_altstack && !altstack.contains(sp) {
        return Err(Errno::EFAULT);
    }
    user::copy_out(fpstate as usize, area.bytes())?;
    let context = Context {
        flags: UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
        link: 0,
        stack: Stack {
            start: altstack.start,
            flags: stack_flags(&altstack, frame.rsp),
            padding: 0,
            size: altstack.size,
        },
        machine: Machine::of(frame, mask, cr2, fpstate),
        mask,
    };
    user::write(sp as usize, &SigFrame { pretcode: action.restorer, context, info: info.to_bytes() })?;
    area.make_initial();
    area.restore(frame)?;
    with_state(|_, state| {
        state.mask |= action.mask;
        if !action.has(linux::SA_NODEFER) {
            state.mask |= super::bit(info.signal);
        }
    });
    frame.rax = 0;
    frame.rdi = info.signal as u64;
    frame.rsi = sp + core::mem::offset_of!(SigFrame, info) as u64;
    frame.rdx = sp + core::mem::offset_of!(SigFrame, context) as u64;
    frame.rsp = sp;
    frame.rip = action.handler;
    frame.rflags &= !HANDLER_CLEARS;
    Ok(())
}

/// `ss_flags` as the program sees them.
pub(crate) fn stack_flags(stack: &AltStack, rsp: u64) -> u32 {
    let state = if stack.size == 0 {
        linux::SS_DISABLE
    } else if stack.contains(rsp) {
        linux::SS_ONSTACK
    } else {
        0
    };
    state | stack.flags
}

impl Machine {
    fn of(frame: &TrapFrame, mask: u64, cr2: u64, fpstate: u64) -> Self {
        let exception = frame.vector < 32;
        Self {
            registers: [
                frame.r8, frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15, frame.rdi,
                frame.rsi, frame.rbp, frame.rbx, frame.rdx, frame.rax, frame.rcx, frame.rsp, frame.rip, frame.rflags,
            ],
            cs: LINUX_CS,
            gs: 0,
            fs: 0,
            ss: LINUX_SS,
            error: if exception { frame.error } else { 0 },
            trap: if exception { frame.vector } else { 0 },
            old_mask: mask,
            cr2,
            fpstate,
            reserved: [0; 8],
        }
    }

    /// Puts the registers back. `EFAULT` when the program would not go on in its own half.
    fn restore(&self, frame: &mut TrapFrame) -> Result<(), Errno> {
        let [r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags] =
            self.registers;
        if rip >= USER_END as u64 || rsp >= USER_END as u64 {
            return Err(Errno::EFAULT);
        }
        let rflags = (frame.rflags & !USER_FLAGS) | (rflags & USER_FLAGS);
        (frame.r8, frame.r9, frame.r10, frame.r11) = (r8, r9, r10, r11);
        (frame.r12, frame.r13, frame.r14, frame.r15) = (r12, r13, r14, r15);
        (frame.rdi, frame.rsi, frame.rbp, frame.rbx) = (rdi, rsi, rbp, rbx);
        (frame.rdx, frame.rax, frame.rcx) = (rdx, rax, rcx);
        (frame.rsp, frame.rip, frame.rflags) = (rsp, rip, rflags);
        Ok(())
    }
}

/// `rt_sigreturn`: back to what the handler interrupted. The result is the `rax` of then.
pub fn sigreturn(frame: &mut TrapFrame) -> SysResult {
    // The handler's return has taken the restorer's address off the stack.
    if resume(frame, (frame.rsp as usize).wrapping_sub(8)).is_err() {
        let info = SigInfo::from_kernel(linux::SIGSEGV as i32, linux::SI_KERNEL as i32, 0);
        deliver::force(frame, info, None);
    }
    frame.error = super::NO_RESTART;
    Ok(frame.rax as usize)
}

fn resume(frame: &mut TrapFrame, sp: usize) -> Result<(), Errno> {
    let context: Context = user::read(sp.wrapping_add(core::mem::offset_of!(SigFrame, context)))?;
    let mut area = Area::new()?;
    match context.machine.fpstate {
        0 => area.make_initial(),
        addr => area.read(addr as usize)?,
    }
    context.machine.restore(frame)?;
    area.restore(frame)?;
    with_state(|_, state| {
        state.mask = context.mask & !super::UNBLOCKABLE;
        state.altstack = if context.stack.flags & linux::SS_DISABLE != 0 {
            AltStack::default()
        } else {
            AltStack {
                start: context.stack.start,
                flags: context.stack.flags & linux::SS_AUTODISARM,
                size: context.stack.size,
            }
        };
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn the_layout_is_linux_one() {
        assert_eq!(size_of::<SigFrame>(), 440);
        assert_eq!(offset_of!(SigFrame, context), 8);
        assert_eq!(offset_of!(SigFrame, info), 312);
        assert_eq!(size_of::<Stack>(), 24);
        assert_eq!(offset_of!(Context, machine), 40);
        assert_eq!(size_of::<Machine>(), 256);
        assert_eq!(offset_of!(Context, mask), 296);
        assert_eq!(offset_of!(Machine, fpstate), 184);
    }

    #[test]
    fn an_alternate_stack_that_disarms_itself_is_never_in_use() {
        let stack = AltStack { start: 0x1000, flags: 0, size: 0x1000 };
        assert!(stack.contains(0x1800) && !stack.contains(0x3000));
        let disarming = AltStack { flags: linux::SS_AUTODISARM, ..stack };
        assert!(!disarming.contains(0x1800));
    }
}
