//! prctl(2): what a process and its threads say of themselves.
use crate::{
    credentials,
    process::{
        self, LinuxThread, NAME_LEN,
        settings::{ProcessSettings, ThreadSettings},
    },
};
use abi::{Errno, SysResult};
use core::sync::atomic::Ordering;
use linux_raw_sys::{general::CAP_LAST_CAP, prctl as options};
use machine::{mm::user, sched};

fn with_thread<R>(f: impl FnOnce(&ThreadSettings) -> R) -> R {
    sched::with_current(|thread| f(&thread.linux().settings))
}

fn with_process<R>(f: impl FnOnce(&ProcessSettings) -> R) -> R {
    process::with_current(|process| f(&process.settings))
}

/// A `CAP_*` number; `EINVAL`.
fn capability(arg: usize) -> Result<u32, Errno> {
    let capability = u32::try_from(arg).ok();
    capability
        .filter(|&capability| capability <= CAP_LAST_CAP)
        .ok_or(Errno::EINVAL)
}

/// `PR_CAP_AMBIENT`
fn ambient([operation, arg, arg4, arg5]: [usize; 4]) -> SysResult {
    let operation = u32::try_from(operation).map_err(|_| Errno::EINVAL)?;
    if operation == options::PR_CAP_AMBIENT_CLEAR_ALL && arg | arg4 | arg5 == 0 {
        super::change(|one| {
            one.capabilities.ambient = 0;
            Ok(())
        })?;
        return Ok(0);
    }
    let capability = capability(arg)?;
    match operation {
        _ if arg4 | arg5 != 0 => Err(Errno::EINVAL),
        options::PR_CAP_AMBIENT_IS_SET => {
            let ambient = credentials::current().capabilities.ambient;
            Ok(usize::from(ambient >> capability & 1 != 0))
        }
        options::PR_CAP_AMBIENT_RAISE => {
            super::change(|one| one.raise_ambient(capability)).map(|()| 0)
        }
        options::PR_CAP_AMBIENT_LOWER => super::change(|one| {
            one.capabilities.ambient &= !(1 << capability);
            Ok(())
        })
        .map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// prctl(2)
pub fn prctl(option: usize, arg: usize, arg3: usize, arg4: usize, arg5: usize) -> SysResult {
    let rest = arg3 | arg4 | arg5;
    match option as u32 {
        options::PR_SET_NAME => {
            // A name may end with its memory: byte by byte up to the NUL.
            let mut name = [0u8; NAME_LEN];
            for (i, byte) in name[..NAME_LEN - 1].iter_mut().enumerate() {
                user::copy_in(arg.wrapping_add(i), core::slice::from_mut(byte))?;
                if *byte == 0 {
                    break;
                }
            }
            let len = name
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(NAME_LEN - 1);
            sched::with_current(|thread| thread.linux().set_name(&name[..len]));
        }
        options::PR_GET_NAME => {
            let name = sched::with_current(|thread| *thread.linux().name.lock());
            user::copy_out(arg, &name)?;
        }
        options::PR_SET_PDEATHSIG => {
            let signal = i32::try_from(arg).map_err(|_| Errno::EINVAL)?;
            if signal > process::signal::LAST {
                return Err(Errno::EINVAL);
            }
            with_thread(|thread| thread.death_signal.store(signal, Ordering::Relaxed));
        }
        options::PR_GET_PDEATHSIG => {
            let signal = with_thread(|thread| thread.death_signal.load(Ordering::Relaxed));
            user::write(arg, &signal)?;
        }
        options::PR_GET_DUMPABLE => {
            return Ok(with_process(|process| {
                process.dumpable.load(Ordering::Relaxed)
            }));
        }
        options::PR_SET_DUMPABLE if arg <= 1 => {
            with_process(|process| process.dumpable.store(arg, Ordering::Relaxed));
        }
        options::PR_GET_KEEPCAPS => return Ok(credentials::current().keeps_capabilities().into()),
        options::PR_SET_KEEPCAPS if arg <= 1 => {
            super::change(|one| one.keep_capabilities(arg == 1))?;
        }
        options::PR_GET_SECUREBITS => {
            return Ok(credentials::current().secure_bits.bits());
        }
        options::PR_SET_SECUREBITS => super::change(|one| one.set_secure_bits(arg))?,
        options::PR_GET_TIMING | options::PR_GET_SECCOMP => {}
        options::PR_SET_TIMING if arg == 0 => {}
        options::PR_SET_TIMERSLACK => {
            let ns = if arg.cast_signed() < 0 { 0 } else { arg };
            with_thread(|thread| thread.set_timer_slack(ns));
        }
        options::PR_GET_TIMERSLACK => {
            return Ok(with_thread(|thread| {
                thread.timer_slack.load(Ordering::Relaxed)
            }));
        }
        options::PR_SET_NO_NEW_PRIVS if arg == 1 && rest == 0 => {
            with_thread(|thread| thread.no_new_privileges.store(true, Ordering::Relaxed));
        }
        options::PR_GET_NO_NEW_PRIVS if arg | rest == 0 => {
            let set = with_thread(|thread| thread.no_new_privileges.load(Ordering::Relaxed));
            return Ok(set.into());
        }
        options::PR_SET_CHILD_SUBREAPER => {
            with_process(|process| process.child_subreaper.store(arg != 0, Ordering::Relaxed));
        }
        options::PR_GET_CHILD_SUBREAPER => {
            let set = with_process(|process| process.child_subreaper.load(Ordering::Relaxed));
            user::write(arg, &i32::from(set))?;
        }
        options::PR_SET_THP_DISABLE if rest == 0 => {
            with_process(|process| process.no_huge_pages.store(arg != 0, Ordering::Relaxed));
        }
        options::PR_GET_THP_DISABLE if arg | rest == 0 => {
            let set = with_process(|process| process.no_huge_pages.load(Ordering::Relaxed));
            return Ok(set.into());
        }
        options::PR_GET_TSC => user::write(arg, &options::PR_TSC_ENABLE)?,
        options::PR_SET_TSC if arg == 1 => {}
        options::PR_CAPBSET_READ => {
            let capability = capability(arg)?;
            let bounding = credentials::current().capabilities.bounding;
            return Ok(usize::from(bounding >> capability & 1 != 0));
        }
        options::PR_CAPBSET_DROP => {
            let capability = capability(arg)?;
            super::change(|one| one.drop_from_bounding(capability))?;
        }
        // Who may trace it is said by ids and capabilities alone.
        options::PR_SET_PTRACER if arg == 0 || arg == usize::MAX => {}
        options::PR_SET_PTRACER => {
            let pid = i32::try_from(arg).map_err(|_| Errno::EINVAL)?;
            process::with_process(pid, |_| ()).map_err(|_| Errno::EINVAL)?;
        }
        options::PR_CAP_AMBIENT => return ambient([arg, arg3, arg4, arg5]),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
