//! System calls about memory: argument checking and conversion; the work is done in `mm::space`.

mod policy;

pub use policy::*;

use crate::ipc::shared_memory;
use crate::linker;
use crate::process::with_space;
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;
use machine::mm::space::{Advice, Backing, Marks, Options, Place, Prot, Remap};
use machine::mm::{PAGE, USER_END, user};

const MAP_TYPE: u32 = 0xf;

fn prot(bits: u32) -> Result<Prot, Errno> {
    // PROT_SEM means nothing on x86-64.
    let known = linux::PROT_READ | linux::PROT_WRITE | linux::PROT_EXEC | linux::PROT_SEM;
    if bits & !known != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Prot::from_bits_truncate(bits))
}

/// Flags that `MAP_SHARED_VALIDATE` lets pass, whether they mean something or not.
const VALIDATED: u32 = linux::MAP_SHARED_VALIDATE
    | linux::MAP_FIXED
    | linux::MAP_ANONYMOUS
    | linux::MAP_DENYWRITE
    | linux::MAP_EXECUTABLE
    | linux::MAP_UNINITIALIZED
    | linux::MAP_GROWSDOWN
    | linux::MAP_LOCKED
    | linux::MAP_NORESERVE
    | linux::MAP_POPULATE
    | linux::MAP_NONBLOCK
    | linux::MAP_STACK
    | linux::MAP_HUGETLB
    | linux::MAP_HUGE_2MB
    | linux::MAP_HUGE_1GB
    | MAP_32BIT
    | MAP_ABOVE4G
    | linux::MAP_FIXED_NOREPLACE;
const MAP_32BIT: u32 = 0x40;
const MAP_ABOVE4G: u32 = 0x80;

fn place(addr: usize, flags: u32) -> Place {
    if flags & linux::MAP_FIXED_NOREPLACE != 0 {
        Place::FixedNoReplace(addr)
    } else if flags & linux::MAP_FIXED != 0 {
        Place::Fixed(addr)
    } else if flags & MAP_32BIT != 0 {
        Place::Low { hint: addr }
    } else {
        Place::Anywhere { hint: addr }
    }
}

/// mmap(2).
pub fn mmap(
    addr: usize,
    len: usize,
    protection: usize,
    flags: usize,
    fd: usize,
    offset: usize,
) -> SysResult {
    let flags = flags as u32;
    // Linux looks at no other bits here.
    let prot = Prot::from_bits_truncate(protection as u32);
    if !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let anonymous = flags & linux::MAP_ANONYMOUS != 0;
    let open = match anonymous {
        true => None,
        false => Some(super::fs::descriptor(fd)?),
    };
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let shared = match flags & MAP_TYPE {
        linux::MAP_PRIVATE => false,
        linux::MAP_SHARED => true,
        linux::MAP_SHARED_VALIDATE if anonymous => return Err(Errno::EINVAL),
        linux::MAP_SHARED_VALIDATE if flags & !VALIDATED != 0 => return Err(Errno::EOPNOTSUPP),
        linux::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL),
    };
    let grows_down = flags & linux::MAP_GROWSDOWN != 0;
    if flags & linux::MAP_HUGETLB != 0 {
        // There is no pool of huge pages, as on a Linux without one.
        return Err(if anonymous {
            Errno::ENOMEM
        } else {
            Errno::EINVAL
        });
    }
    let place = place(addr, flags);
    let mut options = Options {
        populate: flags & linux::MAP_POPULATE != 0,
        ..Options::default()
    };
    options
        .marks
        .set(Marks::NO_RESERVE, flags & linux::MAP_NORESERVE != 0);
    let end = addr.checked_add(len);
    if matches!(place, Place::Fixed(_)) && end.is_none_or(|end| end > USER_END) {
        return Err(Errno::ENOMEM);
    }
    let Some(open) = open else {
        if shared && grows_down {
            return Err(Errno::EINVAL);
        }
        let backing = if shared {
            let is_reserved = !options.marks.contains(Marks::NO_RESERVE);
            shared_memory::anonymous(len, is_reserved)?
        } else {
            Backing::Anonymous
        };
        return map(place, len, prot, backing, options);
    };
    if open.flags() & linux::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    if !open.readable() || (shared && prot.contains(Prot::WRITE) && !open.writable()) {
        return Err(Errno::EACCES);
    }
    if grows_down {
        return Err(Errno::EINVAL);
    }
    match open.file.page_source(open.writable()) {
        // It is sealed.
        Some(source) if shared && prot.contains(Prot::WRITE) && !source.writable() => {
            Err(Errno::EPERM)
        }
        Some(source) => {
            let backing = Backing::File {
                source,
                offset: offset as u64,
                shared,
            };
            map(place, len, prot, backing, options)
        }
        // A mapping of /dev/zero is anonymous memory (zero(4)).
        None if shared && is_zero_device(&open)? => map(
            place,
            len,
            prot,
            shared_memory::anonymous(len, true)?,
            options,
        ),
        None if is_zero_device(&open)? => {
            options.name = Some("/dev/zero");
            map(place, len, prot, Backing::Anonymous, options)
        }
        None => Err(Errno::ENODEV),
    }
}

/// The program gives up what it has at `start`: its dynamic linker is told first.
fn unmapped(start: usize, len: usize) {
    linker::get().unmapped(start, len);
}

fn map(place: Place, len: usize, prot: Prot, backing: Backing, options: Options) -> SysResult {
    if let Place::Fixed(addr) = place {
        unmapped(addr, len);
    }
    with_space(|space| space.map(place, len, prot, backing, options))
}

fn is_zero_device(open: &crate::fs::OpenFile) -> Result<bool, Errno> {
    /// `makedev(1, 5)`.
    const ZERO: u64 = 0x105;
    Ok(open.file.metadata()?.rdev == ZERO)
}

/// munmap(2).
pub fn munmap(addr: usize, len: usize) -> SysResult {
    unmapped(addr, len);
    with_space(|space| space.unmap(addr, len))?;
    Ok(0)
}

/// mprotect(2).
pub fn mprotect(addr: usize, len: usize, protection: usize) -> SysResult {
    const GROWS: u32 = linux::PROT_GROWSDOWN | linux::PROT_GROWSUP;
    // Bits beyond are unknown in any case.
    let protection = u32::try_from(protection).unwrap_or(!GROWS);
    let grows = protection & GROWS;
    if grows == GROWS || !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let prot = prot(protection & !GROWS)?;
    match grows {
        0 => with_space(|space| space.protect(addr, len, prot))?,
        linux::PROT_GROWSDOWN => with_space(|space| space.protect_down(addr, len, prot))?,
        // Nothing grows upwards.
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// pkey_mprotect(2): with no key it is mprotect(2), and there are no keys.
pub fn pkey_mprotect(addr: usize, len: usize, protection: usize, key: usize) -> SysResult {
    if key as i32 != -1 {
        return Err(Errno::EINVAL);
    }
    mprotect(addr, len, protection)
}

/// mremap(2).
pub fn mremap(old: usize, old_len: usize, new_len: usize, flags: usize, to: usize) -> SysResult {
    let flags = flags as u32;
    let has = |flag| flags & flag != 0;
    let known = linux::MREMAP_MAYMOVE | linux::MREMAP_FIXED | linux::MREMAP_DONTUNMAP;
    let fixed = has(linux::MREMAP_FIXED);
    let keep = has(linux::MREMAP_DONTUNMAP);
    if flags & !known != 0
        || (fixed || keep) && !has(linux::MREMAP_MAYMOVE)
        || keep && old_len != new_len
        || !old.is_multiple_of(PAGE)
        || (fixed && !to.is_multiple_of(PAGE))
    {
        return Err(Errno::EINVAL);
    }
    let mode = match (keep, has(linux::MREMAP_MAYMOVE)) {
        (true, _) => Remap::Keep,
        (false, true) => Remap::Move,
        (false, false) => Remap::InPlace,
    };
    if fixed {
        unmapped(to, new_len);
    }
    let new = with_space(|space| space.remap(old, old_len, new_len, mode, fixed.then_some(to)))?;
    let kept = if new == old {
        new_len.next_multiple_of(PAGE)
    } else {
        0
    };
    if kept < old_len {
        unmapped(old + kept, old_len - kept);
    }
    Ok(new)
}

/// brk(2).
pub fn brk(addr: usize) -> SysResult {
    Ok(with_space(|space| space.set_break_end(addr)))
}

/// madvise(2).
pub fn madvise(addr: usize, len: usize, advice: usize) -> SysResult {
    let advice = match advice as u32 {
        linux::MADV_DONTNEED => Advice::Forget,
        linux::MADV_DONTNEED_LOCKED => Advice::ForgetLocked,
        linux::MADV_FREE => Advice::Free,
        linux::MADV_REMOVE => Advice::Remove,
        linux::MADV_POPULATE_READ => Advice::Read,
        linux::MADV_POPULATE_WRITE => Advice::Write,
        linux::MADV_DONTFORK => Advice::Fork(false),
        linux::MADV_DOFORK => Advice::Fork(true),
        linux::MADV_WIPEONFORK => Advice::Wipe(true),
        linux::MADV_KEEPONFORK => Advice::Wipe(false),
        linux::MADV_NORMAL
        | linux::MADV_RANDOM
        | linux::MADV_SEQUENTIAL
        | linux::MADV_WILLNEED
        | linux::MADV_MERGEABLE
        | linux::MADV_UNMERGEABLE
        | linux::MADV_HUGEPAGE
        | linux::MADV_NOHUGEPAGE
        | linux::MADV_DONTDUMP
        | linux::MADV_DODUMP
        | linux::MADV_COLD
        | linux::MADV_PAGEOUT => Advice::Nothing,
        _ => return Err(Errno::EINVAL),
    };
    let end = pages_end(addr, len).ok_or(Errno::EINVAL)?;
    if end != addr {
        with_space(|space| space.advise(addr, end - addr, advice))?;
    }
    Ok(0)
}

/// Where a range that begins with a page ends; `None` if it does not, or goes round.
fn pages_end(addr: usize, len: usize) -> Option<usize> {
    let len = len.checked_next_multiple_of(PAGE)?;
    addr.checked_add(len).filter(|_| addr.is_multiple_of(PAGE))
}

/// msync(2): mappings and files are the same pages; those of files elsewhere are written there.
pub fn msync(addr: usize, len: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    let both = linux::MS_ASYNC | linux::MS_SYNC;
    if flags & !(both | linux::MS_INVALIDATE) != 0
        || flags & both == both
        || !addr.is_multiple_of(PAGE)
    {
        return Err(Errno::EINVAL);
    }
    let end = pages_end(addr, len).ok_or(Errno::ENOMEM)?;
    with_space(|space| space.check_mapped(addr, end - addr))?;
    if flags & linux::MS_INVALIDATE != 0 && with_space(|space| space.has_locked(addr, end)) {
        return Err(Errno::EBUSY);
    }
    if flags & linux::MS_SYNC != 0 {
        with_space(|space| space.sync(addr, end))?;
    }
    Ok(0)
}

/// mincore(2).
pub fn mincore(addr: usize, len: usize, to: usize) -> SysResult {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let end = pages_end(addr, len).ok_or(Errno::ENOMEM)?;
    user::check(to, (end - addr) / PAGE)?;
    user::copy_out(to, &with_space(|space| space.resident(addr, end - addr))?)?;
    Ok(0)
}

/// The pages that have some of a range.
fn pages_of(addr: usize, len: usize) -> Result<(usize, usize), Errno> {
    let start = addr & !(PAGE - 1);
    let end = pages_end(start, len.saturating_add(addr - start)).ok_or(Errno::EINVAL)?;
    Ok((start, end))
}

/// mlock(2): nothing is ever paged out.
pub fn mlock(addr: usize, len: usize) -> SysResult {
    mlock2(addr, len, 0)
}

/// mlock2(2).
pub fn mlock2(addr: usize, len: usize, flags: usize) -> SysResult {
    if flags as u32 & !linux::MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    let (start, end) = pages_of(addr, len)?;
    with_space(|space| space.lock(start, end, flags == 0))?;
    Ok(0)
}

/// munlock(2).
pub fn munlock(addr: usize, len: usize) -> SysResult {
    let (start, end) = pages_of(addr, len)?;
    with_space(|space| space.unlock(start, end))?;
    Ok(0)
}

/// mlockall(2).
pub fn mlockall(flags: usize) -> SysResult {
    let flags = flags as u32;
    let known = linux::MCL_CURRENT | linux::MCL_FUTURE | linux::MCL_ONFAULT;
    if flags & known == 0 || flags & !known != 0 || flags == linux::MCL_ONFAULT {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

/// munlockall(2).
pub fn munlockall() -> SysResult {
    Ok(0)
}
