//! The loader's own heap, and the four functions the compiler expects.
//!
//! Size classes of powers of two with free lists, cut from chunks that `mmap` gives; large blocks are mappings of their
//! own. One spin lock: the loader allocates while loading, hardly ever otherwise, and always with signals blocked.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::global_asm;
use core::ptr;

use loader::PAGE_SIZE;

use crate::sys;

const SMALLEST: usize = 16;
const CLASSES: usize = 12;
const LARGEST: usize = SMALLEST << (CLASSES - 1);
const CHUNK: usize = 1 << 20;

struct Heap {
    free: [*mut Free; CLASSES],
    next: usize,
    end: usize,
}

struct Free {
    next: *mut Free,
}

// SAFETY: the pointers are to memory of the heap's own; the lock around it admits one user.
unsafe impl Send for Heap {}

/// The allocator.
pub(crate) struct Allocator(spin::Mutex<Heap>);

impl Allocator {
    pub(crate) const fn new() -> Self {
        Self(spin::Mutex::new(Heap {
            free: [ptr::null_mut(); CLASSES],
            next: 0,
            end: 0,
        }))
    }
}

fn class(layout: Layout) -> Option<usize> {
    let size = layout
        .size()
        .max(layout.align())
        .max(SMALLEST)
        .next_power_of_two();
    (size <= LARGEST).then(|| (size / SMALLEST).trailing_zeros() as usize)
}

/// Maps `len` bytes, a multiple of the page size, at a multiple of `align`.
fn map_aligned(len: usize, align: usize) -> Option<usize> {
    let slack = align.saturating_sub(PAGE_SIZE);
    // SAFETY: an anonymous mapping wherever there is room.
    let start = unsafe { sys::result(sys::MMAP, [0, len + slack, 3, 0x22, usize::MAX, 0]) }.ok()?;
    let aligned = start.next_multiple_of(align);
    unmap(start, aligned - start);
    unmap(aligned + len, start + slack - aligned);
    Some(aligned)
}

/// Unmaps a part of the allocator's own, which may be empty.
fn unmap(at: usize, len: usize) {
    if len != 0 {
        // SAFETY: nobody knows these pages, or no longer.
        unsafe { sys::call(sys::MUNMAP, [at, len, 0, 0, 0, 0]) };
    }
}

// SAFETY: blocks come from mappings of the allocator's own, are as large and aligned as asked (powers of two at
// multiples of their size, or mappings cut to measure), and are given to one owner at a time.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            return large(layout);
        };
        let size = SMALLEST << class;
        let mut heap = self.0.lock();
        let block = heap.free[class];
        if !block.is_null() {
            // SAFETY: blocks on a free list are the heap's and start with the link.
            heap.free[class] = unsafe { (*block).next };
            return block.cast();
        }
        let at = heap.next.next_multiple_of(size);
        if at + size > heap.end {
            let Some(chunk) = map_aligned(CHUNK, size) else {
                return ptr::null_mut();
            };
            heap.next = chunk + size;
            heap.end = chunk + CHUNK;
            return chunk as *mut u8;
        }
        heap.next = at + size;
        at as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            return unmap(block.expose_provenance(), large_len(layout));
        };
        let mut heap = self.0.lock();
        let block: *mut Free = block.cast();
        // SAFETY: the block is the heap's again, aligned for its class and large enough for a link.
        unsafe { (*block).next = heap.free[class] };
        heap.free[class] = block;
    }
}

fn large_len(layout: Layout) -> usize {
    layout.size().next_multiple_of(PAGE_SIZE)
}

/// Maps a large block.
fn large(layout: Layout) -> *mut u8 {
    map_aligned(large_len(layout), layout.align()).map_or(ptr::null_mut(), |at| at as *mut u8)
}

// In assembly: the compiler may turn a loop in Rust into a call of the function it is in.
global_asm!(
    r#"
    .pushsection .text.mem, "ax", @progbits
    .globl memcpy
    .type memcpy, @function
    memcpy:
        mov rax, rdi
        mov rcx, rdx
        rep movsb
        ret
    .globl memmove
    .type memmove, @function
    memmove:
        mov rax, rdi
        mov rcx, rdx
        mov r8, rdi
        sub r8, rsi
        cmp r8, rdx
        jb 2f
        rep movsb
        ret
    2:  std
        lea rdi, [rdi + rdx - 1]
        lea rsi, [rsi + rdx - 1]
        rep movsb
        cld
        ret
    .globl memset
    .type memset, @function
    memset:
        mov r8, rdi
        mov eax, esi
        mov rcx, rdx
        rep stosb
        mov rax, r8
        ret
    .globl memcmp
    .type memcmp, @function
    .globl bcmp
    .type bcmp, @function
    memcmp:
    bcmp:
        xor eax, eax
        mov rcx, rdx
        test rcx, rcx
        jz 3f
        repe cmpsb
        je 3f
        movzx eax, byte ptr [rdi - 1]
        movzx ecx, byte ptr [rsi - 1]
        sub eax, ecx
    3:  ret
    .globl strlen
    .type strlen, @function
    strlen:
        xor eax, eax
    4:  cmp byte ptr [rdi + rax], 0
        je 5f
        inc rax
        jmp 4b
    5:  ret
    .globl _Unwind_Resume
    .globl rust_eh_personality
    rust_eh_personality:
    _Unwind_Resume:
        ud2
    .popsection
    "#
);
