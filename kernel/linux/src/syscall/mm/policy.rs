//! Policies of memory: mbind(2), set_mempolicy(2), get_mempolicy(2). There is one node, so they are checked and change
//! nothing. Threads' are remembered, those of areas are not.
use super::pages_end;
use crate::process::{LinuxThread, with_space};
use abi::{Errno, SysResult};
use core::sync::atomic::Ordering;
use machine::{
    mm::{PAGE, user},
    sched,
};

/// From Linux' mempolicy.h.
mod mode {
    pub(super) const DEFAULT: usize = 0;
    pub(super) const PREFERRED: usize = 1;
    pub(super) const BIND: usize = 2;
    pub(super) const INTERLEAVE: usize = 3;
    pub(super) const LOCAL: usize = 4;
    pub(super) const PREFERRED_MANY: usize = 5;
    pub(super) const F_RELATIVE_NODES: usize = 1 << 14;
    pub(super) const F_STATIC_NODES: usize = 1 << 15;
}
/// `MPOL_F_NODE`
const NODE: usize = 1;
/// `MPOL_F_ADDR`
const ADDR: usize = 2;
/// `MPOL_F_MEMS_ALLOWED`
const MEMS_ALLOWED: usize = 4;
/// `MPOL_MF_STRICT`, `MPOL_MF_MOVE`, `MPOL_MF_MOVE_ALL`
const BIND_FLAGS: usize = 7;

/// The only memory node, as a mask of nodes.
const NODES: u64 = 1;

/// The mode, with its flags, of a policy of memory: one that there is, with nodes that there are. `EINVAL`.
fn check(policy: usize, mask: usize, max: usize) -> Result<usize, Errno> {
    // An int.
    let policy = policy & 0xffff_ffff;
    let how = mode::F_STATIC_NODES | mode::F_RELATIVE_NODES;
    // The last bit is not counted; a null pointer is to none.
    let bits = match mask {
        0 => 0,
        _ => max.saturating_sub(1),
    };
    if bits > PAGE * 8 {
        return Err(Errno::EINVAL);
    }
    let mut nodes = 0;
    for index in 0..bits.div_ceil(64) {
        let word: u64 = user::read(mask.wrapping_add(index * 8))?;
        let word = match bits - index * 64 {
            left @ 0..64 => word & ((1 << left) - 1),
            _ => word,
        };
        match index {
            0 => nodes = word,
            _ if word != 0 => return Err(Errno::EINVAL),
            _ => (),
        }
    }
    let wants_nodes = match policy & !how {
        mode::DEFAULT | mode::LOCAL => false,
        mode::PREFERRED if nodes == 0 => false,
        mode::PREFERRED | mode::BIND | mode::INTERLEAVE | mode::PREFERRED_MANY => true,
        _ => return Err(Errno::EINVAL),
    };
    let is_wrong = match wants_nodes {
        true => nodes & NODES == 0 || policy & how == how,
        false => nodes != 0 || policy & how != 0,
    };
    if is_wrong {
        return Err(Errno::EINVAL);
    }
    // None is preferred: the one where the thread runs.
    let is_local = policy == mode::PREFERRED && !wants_nodes;
    Ok(if is_local { mode::LOCAL } else { policy })
}

/// The nodes of a policy that was set.
fn nodes(policy: usize) -> u64 {
    match policy & !(mode::F_STATIC_NODES | mode::F_RELATIVE_NODES) {
        mode::DEFAULT | mode::LOCAL => 0,
        _ => NODES,
    }
}

/// mbind(2): there is one memory node.
pub fn mbind(
    addr: usize,
    len: usize,
    mode: usize,
    mask: usize,
    max: usize,
    flags: usize,
) -> SysResult {
    if flags & !BIND_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let end = pages_end(addr, len).ok_or(Errno::EINVAL)?;
    check(mode, mask, max)?;
    if end != addr {
        with_space(|space| space.check_mapped(addr, end - addr)).map_err(|_| Errno::EFAULT)?;
    }
    Ok(0)
}

/// set_mempolicy(2)
pub fn set_mempolicy(mode: usize, mask: usize, max: usize) -> SysResult {
    let policy = check(mode, mask, max)?;
    sched::with_current(|thread| {
        let set = &thread.linux().settings.memory_policy;
        set.store(policy, Ordering::Relaxed);
    });
    Ok(0)
}

/// get_mempolicy(2): the thread's policy, or the default one of areas, or node 0.
pub fn get_mempolicy(mode: usize, mask: usize, max: usize, addr: usize, flags: usize) -> SysResult {
    let has = |flag| flags & flag != 0;
    let known = NODE | ADDR | MEMS_ALLOWED;
    let alone = has(MEMS_ALLOWED) && flags != MEMS_ALLOWED;
    let policy = match has(ADDR) || has(MEMS_ALLOWED) {
        true => mode::DEFAULT,
        false => sched::with_current(|thread| {
            let set = &thread.linux().settings.memory_policy;
            set.load(Ordering::Relaxed)
        }),
    };
    // A node without an address is the next of an interleaved policy.
    let node = has(NODE) && !has(ADDR) && policy != mode::INTERLEAVE;
    if flags & !known != 0 || alone || node || addr != 0 && !has(ADDR) || mask != 0 && max == 0 {
        return Err(Errno::EINVAL);
    }
    if has(ADDR) {
        with_space(|space| space.check_mapped(addr & !(PAGE - 1), PAGE))
            .map_err(|_| Errno::EFAULT)?;
    }
    if mode != 0 {
        let word = if has(NODE) { 0 } else { policy };
        // An int.
        user::copy_out(mode, &word.to_le_bytes()[..4])?;
    }
    if mask != 0 {
        user::zero(mask, max.div_ceil(64) * 8)?;
        let set = if has(MEMS_ALLOWED) {
            NODES
        } else {
            nodes(policy)
        };
        if set != 0 {
            user::write(mask, &set)?;
        }
    }
    Ok(0)
}
