//! Functions that INIT and FINI functions may call, but that must not be called in a handler which has interrupted them: they
//! hold a lock their own thread would wait for, or leave something half changed (glibc 2.36's sources).

use alloc::vec;
use alloc::vec::Vec;

use super::Program;
use crate::loaded::Loaded;
use crate::object::Role;
use crate::unwind::{Memory, Tables};

/// What is known of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A call of it is to be finished, whatever it has called.
    Finish,
    /// A call of it is to be finished, unless it has called somebody else: then it has unlocked before.
    FinishUnlessOut,
    /// A call of it cannot be finished: it does not return, or would do so with signals blocked for good. Harmless when it has
    /// called somebody else.
    Refuse,
    /// `abort`: nothing below it ever goes on.
    Abort,
}

/// Allocators'. An object that defines `malloc` may also have C++'s operators, which it does not implement by `malloc` then.
const ALLOCATOR: &[&str] = &[
    "malloc",
    "free",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "malloc_trim",
    "malloc_stats",
    "malloc_info",
    "mallinfo",
    "mallinfo2",
    "mallopt",
    "_Znwm",
    "_Znam",
    "_ZnwmRKSt9nothrow_t",
    "_ZnamRKSt9nothrow_t",
    "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t",
    "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    "_ZdlPv",
    "_ZdaPv",
    "_ZdlPvm",
    "_ZdaPvm",
    "_ZdlPvRKSt9nothrow_t",
    "_ZdaPvRKSt9nothrow_t",
    "_ZdlPvSt11align_val_t",
    "_ZdaPvSt11align_val_t",
    "_ZdlPvmSt11align_val_t",
    "_ZdaPvmSt11align_val_t",
];

/// libc's: the program break, the lists of functions for exit and fork, the environment, the cache of stacks.
const LIBC: &[(&str, Kind)] = &[
    ("sbrk", Kind::Finish),
    ("brk", Kind::Finish),
    ("__cxa_atexit", Kind::Finish),
    ("__cxa_at_quick_exit", Kind::Finish),
    ("on_exit", Kind::Finish),
    ("__cxa_finalize", Kind::FinishUnlessOut),
    ("__register_atfork", Kind::Finish),
    ("setenv", Kind::Finish),
    ("putenv", Kind::Finish),
    ("unsetenv", Kind::Finish),
    ("clearenv", Kind::Finish),
    // A thread inherits what is blocked.
    ("pthread_create", Kind::Refuse),
    ("fork", Kind::Refuse),
    ("exit", Kind::Refuse),
    ("quick_exit", Kind::Refuse),
    ("abort", Kind::Abort),
];

/// Functions that are followed at most.
const MOST: usize = 512;
/// Longer functions are not searched for jumps.
const LONGEST: u64 = 64 << 10;

/// The functions of everything that is loaded.
pub(super) struct Functions(Vec<Function>);

struct Function {
    start: u64,
    name: &'static str,
    kind: Kind,
}

impl Functions {
    /// Collects them, also local functions they end in by a jump: those have their frames in their place.
    pub(super) fn of(loader: &Loaded) -> Self {
        let mut functions = Self(Vec::new());
        let Some(world) = loader.world().get() else {
            return functions;
        };
        for object in world.objects() {
            let names = ALLOCATOR.iter().map(|&name| (name, Kind::Finish));
            let is_allocator = object.address_of(b"malloc").is_some();
            let names = names.filter(|_| is_allocator);
            let of_libc = LIBC.iter().filter(|_| object.role() == Role::Libc);
            for (name, kind) in names.chain(of_libc.copied()) {
                if let Some(start) = object.address_of(name.as_bytes()) {
                    functions.add(start as u64, name, kind);
                }
            }
        }
        let mut next = 0;
        while let Some(&Function { start, name, kind }) = functions.0.get(next)
            && next < MOST
        {
            next += 1;
            for target in jumps_from(loader, start).unwrap_or_default() {
                functions.add(target, name, kind);
            }
        }
        functions
    }

    fn add(&mut self, start: u64, name: &'static str, kind: Kind) {
        if self.get(start).is_none() {
            self.0.push(Function { start, name, kind });
        }
    }

    /// Finds a function by where it starts.
    pub(super) fn get(&self, start: u64) -> Option<(&'static str, Kind)> {
        let found = self.0.iter().find(|function| function.start == start);
        found.map(|function| (function.name, function.kind))
    }
}

/// Returns the functions of the same object that the one at `start` jumps to.
fn jumps_from(loader: &Loaded, start: u64) -> Option<Vec<u64>> {
    let memory = Program(loader);
    let header = loader.unwind_header(usize::try_from(start).ok()?)?;
    let tables = Tables::at(&memory, header as u64)?;
    let function = tables.row(&memory, start)?.function;
    let len = function.end.checked_sub(function.start)?;
    if len > LONGEST {
        return None;
    }
    let mut code = vec![0; usize::try_from(len).ok()?];
    memory.copy(function.start, &mut code)?;
    let mut found: Vec<u64> = targets(&code, function.start)
        .filter(|target| !function.contains(target))
        .filter(|&target| tables.starts_at(&memory, target) && !is_stub(&memory, target))
        .collect();
    found.dedup();
    Some(found)
}

/// Returns where each jump with a 32-bit displacement leads. Code is not decoded: other bytes may look like one, but where they
/// lead no function starts.
fn targets(code: &[u8], start: u64) -> impl Iterator<Item = u64> {
    (0..code.len()).filter_map(move |at| {
        let (opcode, len) = match code.get(at..)? {
            [0xe9, ..] => (1, 5),
            [0x0f, 0x80..=0x8f, ..] => (2, 6),
            _ => return None,
        };
        let displacement = code.get(at + opcode..at + len)?.try_into().ok()?;
        let behind = start.wrapping_add((at + len) as u64);
        Some(behind.wrapping_add_signed(i64::from(i32::from_le_bytes(displacement))))
    })
}

/// Whether an entry of a procedure linkage table is at an address: whatever lies behind it is somebody else's.
fn is_stub(memory: &Program<'_>, at: u64) -> bool {
    let Some(bytes) = memory.array::<7>(at) else {
        return true;
    };
    let rest = bytes.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]);
    let rest = rest.unwrap_or(&bytes);
    let rest = rest.strip_prefix(&[0xf2]).unwrap_or(rest);
    // jmp *(%rip); push (%rip) of the first one.
    rest.starts_with(&[0xff, 0x25]) || rest.starts_with(&[0xff, 0x35])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_found_among_other_code() {
        // xor edx, edx; lea; jmp 0x1000+0x20; a conditional one; the last five bytes.
        let code = [
            0x31, 0xd2, 0xe9, 0x19, 0, 0, 0, 0x0f, 0x84, 0xf3, 0xff, 0xff, 0xff, 0x90, 0xe9, 0xed,
            0x0f, 0, 0,
        ];
        let found: Vec<u64> = targets(&code, 0x1000).collect();
        assert_eq!(found, [0x1020, 0x1000, 0x2000]);
    }
}
