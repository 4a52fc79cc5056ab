//! Signal frames: what a handler finds on the stack, byte for byte as Linux on x86-64 lays it out, and the way back.
use super::fpstate::Area;
use crate::process::restart;
use crate::process::signal::{
    Action, AltStack, Locked, NO_RESTART, SigInfo, Trap, UNBLOCKABLE, bit, deliver, with_state,
};
use abi::{Errno, SysResult};
use core::mem::offset_of;
use linux_raw_sys::general as linux;
use machine::{
    arch::{TrapFrame, context},
    mm::{USER_END, user},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct rt_sigframe`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
struct SigFrame {
    /// Return address of the handler: the restorer.
    pretcode: u64,
    context: Context,
    info: [u8; SigInfo::SIZE],
}

/// `struct ucontext` as the kernel knows it.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
pub(in crate::process::signal) struct Context {
    flags: u64,
    link: u64,
    stack: Stack,
    machine: Machine,
    pub(in crate::process::signal) mask: u64,
}

/// `stack_t`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
pub(crate) struct Stack {
    pub(crate) start: u64,
    pub(crate) flags: u32,
    pub(crate) padding: u32,
    pub(crate) size: u64,
}

/// `struct sigcontext_64`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
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

/// Builds the frame for a handler on the program's stack and makes `frame` start the handler. On an error the thread is
/// as it was.
pub(crate) fn push(frame: &mut TrapFrame, info: &SigInfo, action: &Action) -> Result<(), Errno> {
    if !action.has(linux::SA_RESTORER) {
        return Err(Errno::EFAULT);
    }
    let (mask, altstack, trap) = with_state(|Locked { state, .. }| {
        let mask = state.saved_mask.unwrap_or(state.mask);
        (mask, state.altstack, state.trap)
    });
    let mut area = Area::new()?;
    area.save(frame);
    let on_altstack = altstack.contains(frame.rsp);
    let enters_altstack = action.has(linux::SA_ONSTACK) && altstack.size != 0 && !on_altstack;
    let top = if enters_altstack {
        altstack.start.wrapping_add(altstack.size)
    } else {
        frame.rsp.wrapping_sub(RED_ZONE)
    };
    let fpstate = top.wrapping_sub(Area::size() as u64) & !63;
    // As after a call: the return address is 8 bytes off the alignment.
    let sp = (fpstate.wrapping_sub(size_of::<SigFrame>() as u64) & !15).wrapping_sub(8);
    if (on_altstack || enters_altstack) && !altstack.covers(sp) {
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
        machine: Machine::of(frame, mask, trap, fpstate),
        mask,
    };
    user::write(
        sp as usize,
        &SigFrame {
            pretcode: action.restorer,
            context,
            info: info.to_bytes(),
        },
    )?;
    area.make_initial();
    area.restore(frame)?;
    with_state(|Locked { state, .. }| {
        state.saved_mask = None;
        state.has_run_handlers = true;
        if altstack.flags & linux::SS_AUTODISARM != 0 {
            state.altstack = AltStack::default();
        }
        state.mask |= action.mask;
        if !action.has(linux::SA_NODEFER) {
            state.mask |= bit(info.signal);
        }
    });
    frame.rax = 0;
    frame.rdi = info.signal as u64;
    frame.rsi = sp + offset_of!(SigFrame, info) as u64;
    frame.rdx = sp + offset_of!(SigFrame, context) as u64;
    frame.rsp = sp;
    frame.rip = action.handler;
    frame.rflags &= !HANDLER_CLEARS;
    Ok(())
}

/// Most bytes that a handler's frame takes below the red zone, for `AT_MINSIGSTKSZ`.
pub fn frame_size() -> usize {
    /// For the alignment of the floating-point state, and of the frame with its 8 bytes.
    const ALIGNMENT: usize = 63 + 15 + 8;
    Area::size() + size_of::<SigFrame>() + ALIGNMENT
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

impl Context {
    /// Puts the registers back; the floating-point state, too, or the initial one if there is none.
    pub(in crate::process::signal) fn restore(&self, frame: &mut TrapFrame) -> Result<(), Errno> {
        let mut area = Area::new()?;
        match self.machine.fpstate {
            0 => area.make_initial(),
            addr => area.read(addr as usize)?,
        }
        self.machine.restore(frame)?;
        area.restore(frame)
    }

    /// Makes the context that of the registers in `frame`, and the floating-point state that of now; what tells of
    /// signals stays.
    pub(in crate::process::signal) fn save(
        &mut self,
        frame: &TrapFrame,
        area: &mut Area,
    ) -> Result<(), Errno> {
        let machine = self.machine;
        let trap = Trap {
            vector: machine.trap,
            error: machine.error,
            addr: machine.cr2,
        };
        self.machine = Machine::of(frame, machine.old_mask, trap, machine.fpstate);
        match machine.fpstate {
            0 => Ok(()),
            addr => area.write_over(addr as usize, frame),
        }
    }
}

impl Machine {
    fn of(frame: &TrapFrame, mask: u64, trap: Trap, fpstate: u64) -> Self {
        Self {
            registers: [
                frame.r8,
                frame.r9,
                frame.r10,
                frame.r11,
                frame.r12,
                frame.r13,
                frame.r14,
                frame.r15,
                frame.rdi,
                frame.rsi,
                frame.rbp,
                frame.rbx,
                frame.rdx,
                frame.rax,
                frame.rcx,
                frame.rsp,
                frame.rip,
                frame.rflags,
            ],
            cs: LINUX_CS,
            gs: 0,
            fs: 0,
            ss: LINUX_SS,
            error: trap.error,
            trap: trap.vector,
            old_mask: mask,
            cr2: trap.addr,
            fpstate,
            reserved: [0; 8],
        }
    }

    /// Puts the registers back. `EFAULT` for a stack that is not the program's, which would make it kernel code, and
    /// for an address that `iretq` would fault on. Any other address is allowed: the program may have been interrupted
    /// in what it calls in the kernel's half (gates, the vDSO's functions), and it can jump there all the same.
    fn restore(&self, frame: &mut TrapFrame) -> Result<(), Errno> {
        let [
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx,
            rsp,
            rip,
            rflags,
        ] = self.registers;
        if !context::is_canonical(rip) || rsp >= USER_END as u64 {
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
        deliver::force(frame, info);
    }
    frame.error = NO_RESTART;
    restart::forget();
    Ok(frame.rax as usize)
}

fn resume(frame: &mut TrapFrame, sp: usize) -> Result<(), Errno> {
    let context: Context = user::read(sp.wrapping_add(offset_of!(SigFrame, context)))?;
    context.restore(frame)?;
    with_state(|Locked { state, .. }| {
        state.mask = context.mask & !UNBLOCKABLE;
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
    fn registers_come_back_without_the_systems_flags() {
        let mut saved = deliver::tests::frame(0);
        (saved.r8, saved.rdi, saved.rcx, saved.rax) = (8, 5, 3, 1);
        (saved.rsp, saved.rip, saved.rflags) = (0x1000, 0x2000, 0x3241);
        let machine = Machine::of(&saved, 0, Trap::default(), 0);
        let mut frame = deliver::tests::frame(0);
        frame.rflags = 0x200;
        assert_eq!(machine.restore(&mut frame), Ok(()));
        assert_eq!((frame.r8, frame.rdi, frame.rcx, frame.rax), (8, 5, 3, 1));
        assert_eq!(
            (frame.rsp, frame.rip, frame.rflags),
            (0x1000, 0x2000, 0x240 | 1)
        );
        saved.rip = 0xffff_ffff_8000_0000;
        assert_eq!(
            Machine::of(&saved, 0, Trap::default(), 0).restore(&mut frame),
            Ok(())
        );
        for (rip, rsp) in [
            (0x8000_0000_0000_0000, 0x1000),
            (0x2000, 0xffff_8000_0000_0000),
        ] {
            (saved.rip, saved.rsp) = (rip, rsp);
            assert_eq!(
                Machine::of(&saved, 0, Trap::default(), 0).restore(&mut frame),
                Err(Errno::EFAULT)
            );
        }
    }

    #[test]
    fn an_alternate_stack_that_disarms_itself_is_never_in_use() {
        let stack = AltStack {
            start: 0x1000,
            flags: 0,
            size: 0x1000,
        };
        assert!(stack.contains(0x1800) && !stack.contains(0x3000));
        let disarming = AltStack {
            flags: linux::SS_AUTODISARM,
            ..stack
        };
        assert!(!disarming.contains(0x1800));
    }
}
