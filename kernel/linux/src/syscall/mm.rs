//! System calls about memory: argument checking and conversion; the work is done in `mm::space`.

use crate::process::{self, with_space};
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;
use machine::mm::space::{Backing, Options, Place, Prot};
use machine::mm::{PAGE, user};

const MAP_TYPE: u32 = 0xf;

fn prot(bits: usize) -> Result<Prot, Errno> {
    // PROT_SEM and its like mean nothing on x86-64.
    let known = (linux::PROT_READ | linux::PROT_WRITE | linux::PROT_EXEC) as usize;
    if bits & !(known | linux::PROT_SEM as usize) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Prot::from_bits_truncate(bits as u32))
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
    let prot = prot(protection)?;
    if !offset.is_multiple_of(PAGE) || len == 0 {
        return Err(Errno::EINVAL);
    }
    let shared = match flags & MAP_TYPE {
        linux::MAP_PRIVATE => false,
        linux::MAP_SHARED | linux::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL),
    };
    if flags & linux::MAP_HUGETLB != 0 {
        // There is no pool of huge pages, as on a Linux without one.
        return Err(Errno::ENOMEM);
    }
    let place = if flags & linux::MAP_FIXED_NOREPLACE != 0 {
        Place::FixedNoReplace(addr)
    } else if flags & linux::MAP_FIXED != 0 {
        Place::Fixed(addr)
    } else {
        Place::Anywhere { hint: addr }
    };
    let mut options = Options {
        populate: flags & linux::MAP_POPULATE != 0,
        name: None,
    };
    if flags & linux::MAP_ANONYMOUS != 0 {
        let backing = if shared {
            Backing::SharedAnonymous
        } else {
            Backing::Anonymous
        };
        return map(place, len, prot, backing, options);
    }
    let open = super::fs::descriptor(fd)?;
    if !open.readable() || (shared && prot.contains(Prot::WRITE) && !open.writable()) {
        return Err(Errno::EACCES);
    }
    match open.file.page_source(open.writable()) {
        Some(source) => {
            let backing = Backing::File {
                source,
                offset: offset as u64,
                shared,
            };
            map(place, len, prot, backing, options)
        }
        // A private mapping of /dev/zero is anonymous memory (zero(4)).
        None if is_zero_device(&open)? => {
            options.name = Some("/dev/zero");
            map(place, len, prot, Backing::Anonymous, options)
        }
        None => Err(Errno::ENODEV),
    }
}

/// The program gives up what it has at `start`: its dynamic linker is told first.
fn unmapped(start: usize, len: usize) {
    process::with_current(|process| process.linker.unmapped(start, len));
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
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let grows = protection & (linux::PROT_GROWSDOWN | linux::PROT_GROWSUP) as usize;
    let prot = prot(protection & !grows)?;
    if len == 0 {
        return Ok(0);
    }
    match grows as u32 {
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
    let may_move = flags & linux::MREMAP_MAYMOVE != 0;
    let fixed = flags & linux::MREMAP_FIXED != 0;
    if flags & !(linux::MREMAP_MAYMOVE | linux::MREMAP_FIXED) != 0
        || (fixed && !may_move)
        || !old.is_multiple_of(PAGE)
        || (fixed && !to.is_multiple_of(PAGE))
    {
        return Err(Errno::EINVAL);
    }
    if fixed {
        unmapped(to, new_len);
    }
    let new =
        with_space(|space| space.remap(old, old_len, new_len, may_move, fixed.then_some(to)))?;
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
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    match advice as u32 {
        linux::MADV_DONTNEED | linux::MADV_FREE | linux::MADV_DONTNEED_LOCKED => {
            with_space(|space| space.forget(addr, len))?;
        }
        linux::MADV_NORMAL
        | linux::MADV_RANDOM
        | linux::MADV_SEQUENTIAL
        | linux::MADV_WILLNEED
        | linux::MADV_DONTFORK
        | linux::MADV_DOFORK
        | linux::MADV_MERGEABLE
        | linux::MADV_UNMERGEABLE
        | linux::MADV_HUGEPAGE
        | linux::MADV_NOHUGEPAGE
        | linux::MADV_DONTDUMP
        | linux::MADV_DODUMP
        | linux::MADV_COLD
        | linux::MADV_PAGEOUT => with_space(|space| space.check_mapped(addr, len))?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// msync(2): mappings and files are the same pages.
pub fn msync(addr: usize, len: usize, _flags: usize) -> SysResult {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    with_space(|space| space.check_mapped(addr, len))?;
    Ok(0)
}

/// mincore(2).
pub fn mincore(addr: usize, len: usize, to: usize) -> SysResult {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    user::copy_out(to, &with_space(|space| space.resident(addr, len))?)?;
    Ok(0)
}

/// mlock(2): nothing is ever paged out.
pub fn mlock(addr: usize, len: usize) -> SysResult {
    with_space(|space| space.check_mapped(addr & !(PAGE - 1), len + addr % PAGE))?;
    Ok(0)
}

/// mlock2(2).
pub fn mlock2(addr: usize, len: usize, _flags: usize) -> SysResult {
    mlock(addr, len)
}

/// munlock(2).
pub fn munlock(addr: usize, len: usize) -> SysResult {
    mlock(addr, len)
}

/// mlockall(2).
pub fn mlockall(_flags: usize) -> SysResult {
    Ok(0)
}

/// munlockall(2).
pub fn munlockall() -> SysResult {
    Ok(0)
}

/// mbind(2): there is one memory node.
pub fn mbind(_a: usize, _b: usize, _c: usize, _d: usize, _e: usize, _f: usize) -> SysResult {
    Ok(0)
}

/// set_mempolicy(2).
pub fn set_mempolicy(_mode: usize, _mask: usize, _max: usize) -> SysResult {
    Ok(0)
}

/// get_mempolicy(2): the default policy, node 0.
pub fn get_mempolicy(mode: usize, mask: usize, max: usize, _a: usize, _f: usize) -> SysResult {
    if mode != 0 {
        user::write(mode, &0i32)?;
    }
    if mask != 0 && max != 0 {
        user::zero(mask, max.div_ceil(64) * 8)?;
    }
    Ok(0)
}
