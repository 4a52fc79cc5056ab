//! ptrace(2). Left out: the debug registers (hardware breakpoints and watchpoints), PTRACE_SYSEMU, PTRACE_SINGLEBLOCK,
//! PTRACE_PEEKSIGINFO, and what is about seccomp and 32-bit programs.
use crate::process::{
    ptrace::{
        self, ARCHITECTURE, Context, DEBUG_REGISTERS, Point, Registers, Resume, USER, are_options,
        with_stopped,
    },
    signal::{SigInfo, UNBLOCKABLE},
};
use abi::{Errno, SysResult};
use alloc::{sync::Arc, vec, vec::Vec};
use linux_raw_sys::ptrace as linux;
use machine::{
    arch::fpu,
    mm::{
        space::{Access, Space},
        user,
    },
    sched::Tid,
};
use zerocopy::{FromBytes, IntoBytes};

/// `NT_PRSTATUS`, `NT_PRFPREG`, `NT_X86_XSTATE`
mod note {
    pub(super) const REGISTERS: usize = 1;
    pub(super) const LEGACY: usize = 2;
    pub(super) const EXTENDED: usize = 0x202;
}

const WORD: usize = size_of::<u64>();
/// Size of `struct user_fpregs_struct`.
const LEGACY: usize = 512;
/// Size of `struct ptrace_syscall_info`, and of what all kinds of it have.
const SYSCALL_INFO: usize = 88;
const SYSCALL_INFO_NONE: usize = 24;

/// ptrace(2)
pub fn ptrace(request: usize, pid: usize, addr: usize, data: usize) -> SysResult {
    let request = u32::try_from(request).map_err(|_| Errno::EIO)?;
    // A pid_t.
    let tid = Tid::from_ne_bytes(core::array::from_fn(|i| pid.to_ne_bytes()[i]));
    match request {
        linux::PTRACE_TRACEME => ptrace::trace_me()?,
        linux::PTRACE_ATTACH => ptrace::attach(tid, None)?,
        linux::PTRACE_SEIZE => {
            if addr != 0 {
                return Err(Errno::EIO);
            }
            ptrace::attach(tid, Some(options(data).map_err(|_| Errno::EIO)?))?;
        }
        linux::PTRACE_INTERRUPT => ptrace::interrupt(tid)?,
        linux::PTRACE_LISTEN => ptrace::listen(tid)?,
        linux::PTRACE_KILL => ptrace::kill(tid)?,
        linux::PTRACE_DETACH => ptrace::detach(tid, data)?,
        linux::PTRACE_CONT => ptrace::resume(tid, Resume::Continue, data)?,
        linux::PTRACE_SYSCALL => ptrace::resume(tid, Resume::Syscall, data)?,
        linux::PTRACE_SINGLESTEP => ptrace::resume(tid, Resume::Step, data)?,
        linux::PTRACE_PEEKTEXT | linux::PTRACE_PEEKDATA => {
            let mut word = [0; WORD];
            let got = space(tid)?.read(addr, &mut word, Access::Forced);
            complete(got)?;
            user::copy_out(data, &word)?;
        }
        linux::PTRACE_POKETEXT | linux::PTRACE_POKEDATA => {
            complete(space(tid)?.write(addr, &data.to_ne_bytes(), Access::Forced))?;
        }
        linux::PTRACE_PEEKUSR => {
            let word = peek_user(&registers(tid)?, addr)?;
            user::write(data, &word)?;
        }
        linux::PTRACE_POKEUSR => poke_user(tid, addr, data)?,
        linux::PTRACE_GETREGS => user::write(data, &registers(tid)?)?,
        linux::PTRACE_SETREGS => {
            with_stopped(tid, |_, _, _| Ok(()))?;
            set_registers(tid, user::read(data)?)?;
        }
        linux::PTRACE_GETFPREGS => user::copy_out(data, &get(tid, |one| one.legacy().to_vec())?)?,
        linux::PTRACE_SETFPREGS => {
            let mut bytes = [0; LEGACY];
            user::copy_in(data, &mut bytes)?;
            with_stopped(tid, |_, stop, _| stop.context.set_legacy(&bytes))?;
        }
        linux::PTRACE_GETREGSET => get_set(tid, addr, data)?,
        linux::PTRACE_SETREGSET => set_set(tid, addr, data)?,
        linux::PTRACE_GETSIGINFO => {
            let info = with_stopped(tid, |_, stop, _| stop.info.ok_or(Errno::EINVAL))?;
            user::copy_out(data, &info.to_bytes())?;
        }
        linux::PTRACE_SETSIGINFO => {
            let mut bytes = [0; SigInfo::SIZE];
            user::copy_in(data, &mut bytes)?;
            let signal = i32::from_ne_bytes(core::array::from_fn(|i| bytes[i]));
            let info = SigInfo::from_bytes(signal, &bytes);
            with_stopped(tid, |_, stop, _| stop.set_info(info))?;
        }
        linux::PTRACE_GETSIGMASK => {
            check_set_size(addr)?;
            user::write(data, &get(tid, |context| context.mask)?)?;
        }
        linux::PTRACE_SETSIGMASK => {
            check_set_size(addr)?;
            let mask: u64 = user::read(data)?;
            with_stopped(tid, |_, stop, _| {
                stop.context.mask = mask & !UNBLOCKABLE;
                Ok(())
            })?;
        }
        linux::PTRACE_GETEVENTMSG => {
            let message = with_stopped(tid, |_, stop, _| Ok(stop.message))?;
            user::write(data, &message)?;
        }
        linux::PTRACE_SETOPTIONS | linux::PTRACE_OLDSETOPTIONS => {
            let options = options(data);
            with_stopped(tid, |state, _, _| {
                state.options = options?;
                Ok(())
            })?;
        }
        linux::PTRACE_GET_SYSCALL_INFO => return syscall_info(tid, addr, data),
        _ => {
            with_stopped(tid, |_, _, _| Ok(()))?;
            log::warn!("ptrace request {request:#x} is not there");
            return Err(Errno::EIO);
        }
    }
    Ok(0)
}

/// `PTRACE_O_*`; `EINVAL`.
fn options(data: usize) -> Result<u32, Errno> {
    let options = u32::try_from(data).map_err(|_| Errno::EINVAL)?;
    are_options(options).then_some(options).ok_or(Errno::EINVAL)
}

/// `EIO` unless all of a word could be had.
fn complete(done: usize) -> Result<(), Errno> {
    (done == WORD).then_some(()).ok_or(Errno::EIO)
}

fn check_set_size(size: usize) -> Result<(), Errno> {
    (size == WORD).then_some(()).ok_or(Errno::EINVAL)
}

/// The memory of a tracee that is stopped.
fn space(tid: Tid) -> Result<Arc<Space>, Errno> {
    let process = with_stopped(tid, |_, _, process| Ok(process.clone()))?;
    process.space().ok_or(Errno::EIO)
}

/// Something of a stopped tracee's state.
fn get<R>(tid: Tid, f: impl FnOnce(&Context) -> R) -> Result<R, Errno> {
    with_stopped(tid, |_, stop, _| Ok(f(&stop.context)))
}

fn registers(tid: Tid) -> Result<Registers, Errno> {
    get(tid, |context| *context.registers())
}

fn set_registers(tid: Tid, registers: Registers) -> Result<(), Errno> {
    with_stopped(tid, |_, stop, _| stop.context.set_registers(registers))
}

/// Checks an offset in `struct user`.
fn check_offset(addr: usize) -> Result<(), Errno> {
    let is_word = addr.is_multiple_of(WORD) && addr < USER;
    is_word.then_some(()).ok_or(Errno::EIO)
}

/// A word of `struct user`, of which only the registers are there, and the debug registers are 0.
fn peek_user(registers: &Registers, addr: usize) -> Result<u64, Errno> {
    check_offset(addr)?;
    let word = registers.as_bytes().get(addr..addr + WORD);
    let word = word.and_then(|word| u64::read_from_bytes(word).ok());
    Ok(word.unwrap_or(0))
}

fn poke_user(tid: Tid, addr: usize, data: usize) -> Result<(), Errno> {
    let mut registers = registers(tid)?;
    check_offset(addr)?;
    if DEBUG_REGISTERS.contains(&addr) {
        // There are none for programs.
        return if data == 0 {
            Ok(())
        } else {
            Err(Errno::ENOSPC)
        };
    }
    let mut bytes = registers.as_bytes().to_vec();
    let word = bytes.get_mut(addr..addr + WORD).ok_or(Errno::EIO)?;
    word.copy_from_slice(&data.to_ne_bytes());
    registers = Registers::read_from_bytes(&bytes).map_err(|_| Errno::EIO)?;
    set_registers(tid, registers)
}

/// The `struct iovec` at `at`, for one of the sets of registers.
fn vector(at: usize) -> Result<(usize, usize), Errno> {
    let [base, len]: [usize; 2] = user::read(at)?;
    if !len.is_multiple_of(WORD) {
        return Err(Errno::EINVAL);
    }
    Ok((base, len))
}

fn set_len(vector: usize, len: usize) -> Result<(), Errno> {
    user::write(vector + WORD, &len)
}

/// PTRACE_GETREGSET
fn get_set(tid: Tid, kind: usize, at: usize) -> Result<(), Errno> {
    with_stopped(tid, |_, _, _| Ok(()))?;
    let (base, len) = vector(at)?;
    let bytes: Vec<u8> = get(tid, |context| match kind {
        note::REGISTERS => Ok(context.registers().as_bytes().to_vec()),
        note::LEGACY => Ok(context.legacy().to_vec()),
        note::EXTENDED => Ok(context.extended().to_vec()),
        _ => Err(Errno::EINVAL),
    })??;
    let len = len.min(bytes.len());
    user::copy_out(base, &bytes[..len])?;
    set_len(at, len)
}

/// PTRACE_SETREGSET
fn set_set(tid: Tid, kind: usize, at: usize) -> Result<(), Errno> {
    let registers = registers(tid)?;
    let (base, len) = vector(at)?;
    let size = match kind {
        note::REGISTERS => size_of::<Registers>(),
        note::LEGACY => LEGACY,
        note::EXTENDED => fpu::area_size(),
        _ => return Err(Errno::EINVAL),
    };
    let len = len.min(size);
    let mut bytes = vec![0; len];
    user::copy_in(base, &mut bytes)?;
    match kind {
        note::REGISTERS => {
            let mut all = registers.as_bytes().to_vec();
            all[..len].copy_from_slice(&bytes);
            let registers = Registers::read_from_bytes(&all).map_err(|_| Errno::EIO)?;
            set_registers(tid, registers)?;
        }
        note::LEGACY => with_stopped(tid, |_, stop, _| stop.context.set_legacy(&bytes))?,
        _ => with_stopped(tid, |_, stop, _| stop.context.set_extended(&bytes))?,
    }
    set_len(at, len)
}

/// PTRACE_GET_SYSCALL_INFO: fills in `struct ptrace_syscall_info`; how much there is of it.
fn syscall_info(tid: Tid, size: usize, at: usize) -> SysResult {
    let (registers, point) = with_stopped(tid, |_, stop, _| {
        let point = if stop.is_call() {
            stop.point
        } else {
            Point::Program
        };
        Ok((*stop.context.registers(), point))
    })?;
    let mut info = [0; SYSCALL_INFO];
    let mut put = |at: usize, bytes: &[u8]| info[at..at + bytes.len()].copy_from_slice(bytes);
    put(4, &ARCHITECTURE.to_ne_bytes());
    put(8, &registers.rip.to_ne_bytes());
    put(16, &registers.rsp.to_ne_bytes());
    let (kind, len) = match point {
        Point::Entry => {
            put(24, &registers.orig_rax.to_ne_bytes());
            let Registers {
                rdi,
                rsi,
                rdx,
                r10,
                r8,
                r9,
                ..
            } = registers;
            put(32, [rdi, rsi, rdx, r10, r8, r9].as_bytes());
            (linux::PTRACE_SYSCALL_INFO_ENTRY, 80)
        }
        Point::Exit => {
            let failed = (-4095..0).contains(&registers.rax.cast_signed());
            put(24, &registers.rax.to_ne_bytes());
            put(32, &[u8::from(failed)]);
            (linux::PTRACE_SYSCALL_INFO_EXIT, 33)
        }
        _ => (linux::PTRACE_SYSCALL_INFO_NONE, SYSCALL_INFO_NONE),
    };
    put(0, &kind.to_ne_bytes()[..1]);
    user::copy_out(at, &info[..len.min(size)])?;
    Ok(len)
}
