//! What the program asks about and of the machine: its name, memory, randomness, and things that are not for it to
//! change.
use crate::{
    config, credentials,
    process::{self},
    syscall::time::SECOND,
};
use abi::{Errno, SysResult};
use alloc::{vec, vec::Vec};
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use machine::{
    drivers::random,
    mm::{self, user},
    sched,
    sync::Mutex,
    time::Instant,
};

/// Length of a field of `struct utsname`, with its NUL.
const UTS_FIELD: usize = 65;

/// Kernel release that programs see: the Linux whose interface this is.
pub const RELEASE: &str = "6.1.0-elfin";
/// `uname -v`
pub const VERSION: &str = concat!("#1 Elfin ", env!("CARGO_PKG_VERSION"));

/// uname(2)
pub fn uname(to: usize) -> SysResult {
    let (host, domain) = (hostname(), NAMES.lock().domain.clone());
    let fields = [
        b"Linux",
        &host[..],
        RELEASE.as_bytes(),
        VERSION.as_bytes(),
        b"x86_64",
        domain.as_deref().unwrap_or(b"(none)"),
    ];
    let mut bytes = [0; 6 * UTS_FIELD];
    for (bytes, field) in bytes.chunks_exact_mut(UTS_FIELD).zip(fields) {
        let len = field.len().min(UTS_FIELD - 1);
        bytes[..len].copy_from_slice(&field[..len]);
    }
    user::copy_out(to, &bytes)?;
    Ok(0)
}

/// sysinfo(2)
pub fn sysinfo(to: usize) -> SysResult {
    /// Words of `struct sysinfo`: uptime, loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap, procs
    /// (16 bits), totalhigh, freehigh, mem_unit (32 bits).
    const WORDS: usize = 14;
    /// Bits behind the point of a load average (`SI_LOAD_SHIFT`).
    const SHIFT: u32 = 16;
    let (frames, free) = mm::frame::counts();
    let mut words = [0u64; WORDS];
    words[0] = Instant::now().0 / SECOND;
    words[1..4]
        .copy_from_slice(&sched::load_averages().map(|load| load << (SHIFT - sched::LOAD_SHIFT)));
    words[4] = (frames * mm::PAGE) as u64;
    words[5] = (free * mm::PAGE) as u64;
    words[10] = sched::thread_count() as u64 & 0xffff;
    words[13] = 1;
    let mut bytes = [0; WORDS * 8];
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    user::copy_out(to, &bytes)?;
    Ok(0)
}

/// getrandom(2): the generator is always ready.
pub fn getrandom(to: usize, len: usize, flags: usize) -> SysResult {
    /// Most bytes that Linux gives at a time.
    const MOST: usize = 0x1ff_ffff;
    const FLAGS: u32 = linux::GRND_NONBLOCK | linux::GRND_RANDOM | linux::GRND_INSECURE;
    if flags as u32 & !FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let len = len.min(MOST);
    let mut buffer = [0; 256];
    let mut done = 0;
    while done < len {
        let part = &mut buffer[..(len - done).min(256)];
        random::fill(part);
        if let Err(error) = user::copy_out(to.wrapping_add(done), part) {
            return if done == 0 { Err(error) } else { Ok(done) };
        }
        done += part.len();
        if machine::sched::signal_pending() && done >= mm::PAGE {
            break;
        }
    }
    Ok(done)
}

/// personality(2): it is kept, for the program to see; new programs, which it is for, there are none.
pub fn personality(persona: usize) -> SysResult {
    let persona = persona as u32;
    let before = process::with_current(|process| {
        if persona == u32::MAX {
            process.personality.load(Ordering::Relaxed)
        } else {
            process.personality.swap(persona, Ordering::Relaxed)
        }
    });
    Ok(before as usize)
}

/// seccomp(2): there are no filters.
pub fn seccomp(_operation: usize, _flags: usize, _args: usize) -> SysResult {
    Err(Errno::EINVAL)
}

/// Names that the program has given the machine and its domain.
#[doc(alias = "uts_namespace")]
struct Names {
    /// Before it is set, it is the boot configuration's.
    host: Option<Vec<u8>>,
    domain: Option<Vec<u8>>,
}

static NAMES: Mutex<Names> = Mutex::new(Names {
    host: None,
    domain: None,
});

/// The machine's name.
pub fn hostname() -> Vec<u8> {
    let set = NAMES.lock().host.clone();
    set.unwrap_or_else(|| config::get().hostname.clone().into_bytes())
}

/// A name that the program gives.
fn new_name(from: usize, len: usize) -> Result<Option<Vec<u8>>, Errno> {
    credentials::require(linux::CAP_SYS_ADMIN)?;
    if len >= UTS_FIELD {
        return Err(Errno::EINVAL);
    }
    let mut text = vec![0; len];
    user::copy_in(from, &mut text)?;
    Ok(Some(text))
}

/// sethostname(2)
pub fn sethostname(from: usize, len: usize) -> SysResult {
    NAMES.lock().host = new_name(from, len)?;
    Ok(0)
}

/// setdomainname(2)
pub fn setdomainname(from: usize, len: usize) -> SysResult {
    NAMES.lock().domain = new_name(from, len)?;
    Ok(0)
}

/// reboot(2): the machine ends with its first program and not otherwise. Who may ask is told what is wrong with how.
pub fn reboot(magic: usize, magic2: usize, _command: usize, _arg: usize) -> SysResult {
    let seconds = [
        linux::LINUX_REBOOT_MAGIC2,
        linux::LINUX_REBOOT_MAGIC2A,
        linux::LINUX_REBOOT_MAGIC2B,
        linux::LINUX_REBOOT_MAGIC2C,
    ];
    let [magic, magic2] = [magic, magic2].map(|value| u32::try_from(value & 0xffff_ffff));
    let is_meant = magic == Ok(linux::LINUX_REBOOT_MAGIC1)
        && magic2.is_ok_and(|magic2| seconds.contains(&magic2));
    if credentials::capable(linux::CAP_SYS_BOOT) && !is_meant {
        return Err(Errno::EINVAL);
    }
    Err(Errno::EPERM)
}
