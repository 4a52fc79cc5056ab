//! What a tracer sees of a tracee's processor: `struct user_regs_struct`, and the XSAVE area as PTRACE_GETREGSET has
//! it.
use super::Point;
use crate::process::signal::{self, NO_RESTART};
use abi::Errno;
use alloc::boxed::Box;
use core::ops::Range;
use machine::{
    arch::{
        TrapFrame, context,
        fpu::{self, Image},
    },
    mm::USER_END,
    sched::{self, Thread},
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct user_regs_struct`
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout,
)]
pub(crate) struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// Number of the system call that it is in, or -1.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// Size of `struct user`, and where the debug registers are in it.
pub(crate) const USER: usize = 912;
/// Where the debug registers are in it.
pub(crate) const DEBUG_REGISTERS: Range<usize> = 848..912;

/// Selectors of a program under Linux, for show.
const CS: u64 = 0x33;
const SS: u64 = 0x2b;

/// AC, RF, OF, DF, TF, SF, ZF, AF, PF, CF.
const USER_FLAGS: u64 = 0x5_0dd5;
const TRAP_FLAG: u64 = 0x100;

/// Offsets in an XSAVE area: MXCSR, what Linux says of it, and the header, of which the first word is which components
/// are there.
const MXCSR: usize = 24;
const SOFTWARE: usize = 464;
const HEADER: Range<usize> = 512..576;
/// The components of the legacy region.
const X87: u64 = 1;
const LEGACY: u64 = 3;
const INITIAL_FCW: u16 = 0x37f;
const INITIAL_TAGS: Range<usize> = 2..24;

/// What can be seen and changed of a tracee that is stopped.
pub(crate) struct Context {
    registers: Registers,
    fpu: Image,
    /// The blocked signals.
    pub(crate) mask: u64,
}

/// -ENOSYS, what a system call returns that is not made.
fn no_call() -> u64 {
    i64::from(-Errno::ENOSYS.0).cast_unsigned()
}

impl Registers {
    fn of(frame: &TrapFrame, point: Point) -> Self {
        let is_call = frame.vector == TrapFrame::SYSCALL;
        Self {
            r15: frame.r15,
            r14: frame.r14,
            r13: frame.r13,
            r12: frame.r12,
            rbp: frame.rbp,
            rbx: frame.rbx,
            r11: frame.r11,
            r10: frame.r10,
            r9: frame.r9,
            r8: frame.r8,
            rax: match point {
                Point::Entry | Point::Call => no_call(),
                Point::Exit | Point::Program => frame.rax,
            },
            rcx: frame.rcx,
            rdx: frame.rdx,
            rsi: frame.rsi,
            rdi: frame.rdi,
            orig_rax: if is_call { frame.error } else { NO_RESTART },
            rip: frame.rip,
            cs: CS,
            eflags: frame.rflags,
            rsp: frame.rsp,
            ss: SS,
            fs_base: sched::with_current(Thread::thread_pointer),
            gs_base: sched::gs(),
            ..Self::default()
        }
    }

    /// `EIO` for what a program cannot have.
    fn check(&self) -> Result<(), Errno> {
        let end = u64::try_from(USER_END).unwrap_or(u64::MAX);
        let is_selector = |selector: u64| selector & 3 == 3 && selector <= u16::MAX.into();
        let are_selectors = [self.cs, self.ss].into_iter().all(is_selector)
            && [self.ds, self.es, self.fs, self.gs]
                .into_iter()
                .all(|selector| selector == 0 || is_selector(selector));
        let are_bases = self.fs_base < end && self.gs_base < end;
        if are_selectors && are_bases && self.rsp < end && context::is_canonical(self.rip) {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }

    /// Puts the registers back, of which `before` were shown.
    fn restore(&self, before: &Self, frame: &mut TrapFrame, point: Point) {
        (frame.r15, frame.r14, frame.r13, frame.r12) = (self.r15, self.r14, self.r13, self.r12);
        (frame.r11, frame.r10, frame.r9, frame.r8) = (self.r11, self.r10, self.r9, self.r8);
        (frame.rbp, frame.rbx, frame.rcx, frame.rdx) = (self.rbp, self.rbx, self.rcx, self.rdx);
        (frame.rsi, frame.rdi, frame.rip, frame.rsp) = (self.rsi, self.rdi, self.rip, self.rsp);
        frame.rflags = (frame.rflags & !USER_FLAGS) | (self.eflags & USER_FLAGS);
        match point {
            // One that is not to be made has the result that is there.
            Point::Entry if self.orig_rax.cast_signed() < 0 => {
                (frame.rax, frame.error) = (self.rax, NO_RESTART);
            }
            Point::Entry => (frame.rax, frame.error) = (self.orig_rax, self.orig_rax),
            Point::Call => {}
            Point::Exit | Point::Program => {
                frame.rax = self.rax;
                if self.orig_rax.cast_signed() >= 0 {
                    // It is in a system call, whose result says whether it is made again.
                    (frame.vector, frame.error) = (TrapFrame::SYSCALL, self.orig_rax);
                } else if frame.vector == TrapFrame::SYSCALL {
                    frame.error = NO_RESTART;
                }
            }
        }
        if self.fs_base != before.fs_base {
            sched::set_thread_pointer(self.fs_base);
        }
        if self.gs_base != before.gs_base {
            sched::set_gs(self.gs_base);
        }
    }
}

impl Context {
    /// The calling thread's, which is at `point`. `None` without memory.
    pub(super) fn save(frame: &TrapFrame, point: Point) -> Option<Box<Self>> {
        let mut fpu = Image::new(0)?;
        fpu.save(frame);
        let mut context = Box::new(Self {
            registers: Registers::of(frame, point),
            fpu,
            mask: signal::shown_mask(),
        });
        if context.components() & X87 == 0 {
            // Not there means initial, which readers of the legacy region do not know.
            context.put(0, &INITIAL_FCW.to_ne_bytes());
            context.fpu.bytes_mut()[INITIAL_TAGS].fill(0);
        }
        context.put(SOFTWARE, &fpu::xcr0().to_ne_bytes());
        Some(context)
    }

    /// Makes it the calling thread's.
    pub(super) fn restore(&self, before: &Registers, frame: &mut TrapFrame, point: Point) {
        // It has been checked.
        let _ = self.fpu.restore(frame);
        self.registers.restore(before, frame, point);
        signal::change_shown_mask(self.mask);
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.fpu.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn components(&self) -> u64 {
        u64::from_ne_bytes(core::array::from_fn(|i| self.fpu.bytes()[HEADER.start + i]))
    }

    /// The registers.
    pub(crate) fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Changes registers; `EIO` for what a program cannot have.
    pub(crate) fn set_registers(&mut self, registers: Registers) -> Result<(), Errno> {
        registers.check()?;
        self.registers = registers;
        Ok(())
    }

    /// `struct user_fpregs_struct`
    pub(crate) fn legacy(&self) -> &[u8] {
        &self.fpu.bytes()[..HEADER.start]
    }

    /// The XSAVE area.
    pub(crate) fn extended(&self) -> &[u8] {
        self.fpu.bytes()
    }

    /// Changes the legacy region; `EINVAL` for bits of MXCSR that there are not.
    pub(crate) fn set_legacy(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let mut area = self.fpu.bytes().to_vec();
        let len = bytes.len().min(HEADER.start);
        area[..len].copy_from_slice(&bytes[..len]);
        let components = self.components() | LEGACY;
        area[HEADER.start..HEADER.start + 8].copy_from_slice(&components.to_ne_bytes());
        self.set_extended(&area)
    }

    /// Changes all; `EFAULT` if there is not enough, `EINVAL` for what XRSTOR does not take.
    pub(crate) fn set_extended(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let size = fpu::area_size();
        let area = bytes.get(..size).ok_or(Errno::EFAULT)?;
        let word =
            |at: usize| u64::from_ne_bytes(core::array::from_fn(|i| area[HEADER.start + at + i]));
        let has_rest = area[HEADER.start + 8..HEADER.end]
            .iter()
            .any(|&byte| byte != 0);
        let mxcsr = u32::from_ne_bytes(core::array::from_fn(|i| area[MXCSR + i]));
        if word(0) & !fpu::xcr0() != 0 || has_rest || mxcsr & !0xffff != 0 {
            return Err(Errno::EINVAL);
        }
        self.fpu.bytes_mut()[..size].copy_from_slice(area);
        Ok(())
    }
}

/// Sets the trap flag, or clears it; whether it was clear.
pub(crate) fn set_trap_flag(frame: &mut TrapFrame, is_set: bool) -> bool {
    let was_clear = frame.rflags & TRAP_FLAG == 0;
    frame.rflags = (frame.rflags & !TRAP_FLAG) | if is_set { TRAP_FLAG } else { 0 };
    was_clear
}

/// What PTRACE_GET_SYSCALL_INFO calls the processor: `AUDIT_ARCH_X86_64`.
pub(crate) const ARCHITECTURE: u32 = 0xc000_003e;
