//! `elfin-hosted PROGRAM ARGS…`: runs a program under Elfin's loader in an ordinary Linux process.
//!
//! The same loader crate as in the kernel, with Linux beneath it, for gdb, quick tests, fuzzing, and races against the
//! real `ld.so`. No libc, no thread-local storage of its own: `%fs` belongs to the program. One thread plays both the
//! loader thread L and the worker W, one after the other.
#![no_std]
#![no_main]

extern crate alloc;

mod finish;
mod gates;
mod image;
mod memory;
mod process;
mod stack;
mod sys;
mod thread;

use alloc::format;
use alloc::vec::Vec;
use core::arch::global_asm;
use core::ffi::CStr;
use core::panic::PanicInfo;

use loader::{Error, Loader};

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator::new();

/// The loader of this process.
static LOADER: Loader = Loader::new(&process::Process);

global_asm!(
    r#"
    .pushsection .text._start, "ax", @progbits
    .globl _start
    .type _start, @function
    _start:
        .cfi_startproc
        .cfi_undefined rip                  // the outermost frame
        xor ebp, ebp
        mov rdi, rsp
        and rsp, -16
        call {main}
        ud2
        .cfi_endproc
    // (entry, stack, fini): enters the program as Linux would, but for %rdx.
    .globl elfin_hosted_enter
    .type elfin_hosted_enter, @function
    elfin_hosted_enter:
        mov rsp, rsi
        mov rax, rdi
        xor ebp, ebp
        jmp rax
    .popsection
    "#,
    main = sym main,
);

unsafe extern "C" {
    fn elfin_hosted_enter(entry: usize, stack: usize, fini: usize) -> !;
}

/// Comes from `_start` with the address of `argc`.
unsafe extern "C" fn main(stack: usize) -> ! {
    // SAFETY: the kernel put `argc` there, and an argument vector behind it.
    let argc = unsafe { *(stack as *const usize) };
    let mut skip = 1;
    if argc > 1 && argument(stack, 1) == b"--" {
        skip = 2;
    }
    if argc <= skip {
        sys::write_error(b"usage: elfin-hosted [--] PROGRAM [ARGUMENT...]\n");
        sys::exit(125);
    }
    let path = match find_program(argument(stack, skip), environment(stack, argc, b"PATH=")) {
        Some(path) => path,
        None => {
            sys::write_error(b"elfin-hosted: no such program\n");
            sys::exit(127);
        }
    };
    // The program's stack content starts that much further up; it must stay 16-byte aligned, so an odd number of
    // arguments left out moves everything down by one word instead.
    let stack = drop_arguments(stack, argc, skip);
    stack::set_initial(stack);
    // SAFETY: the kernel's own layout, with fewer arguments.
    let program = match unsafe { LOADER.load_program(&path, stack) } {
        Ok(program) => program,
        Err(error) => fail(argument(stack, 0), &error),
    };
    // SAFETY: just loaded; this thread has no thread pointer of its own.
    if let Err(error) = unsafe { LOADER.run_init(&program) } {
        fail(argument(stack, 0), &error);
    }
    // SAFETY: the loader says that the program is ready.
    unsafe { elfin_hosted_enter(program.entry, program.stack, program.fini) }
}

fn argument(stack: usize, index: usize) -> &'static [u8] {
    // SAFETY: the caller checked `index` against `argc`; the vector holds C strings.
    unsafe { CStr::from_ptr(*((stack + 8 + 8 * index) as *const *const core::ffi::c_char)) }
        .to_bytes()
}

fn environment(stack: usize, argc: usize, name: &[u8]) -> Option<&'static [u8]> {
    let mut at = stack + 8 * (argc + 2);
    loop {
        // SAFETY: the environment follows the arguments and ends with a null pointer.
        let string = unsafe { *(at as *const *const core::ffi::c_char) };
        if string.is_null() {
            return None;
        }
        // SAFETY: it holds C strings.
        if let Some(value) = unsafe { CStr::from_ptr(string) }
            .to_bytes()
            .strip_prefix(name)
        {
            return Some(value);
        }
        at += 8;
    }
}

/// Looks a program up in PATH and makes its path absolute.
fn find_program(name: &[u8], path: Option<&[u8]>) -> Option<Vec<u8>> {
    if name.contains(&b'/') {
        return Some(process::resolved(name));
    }
    path.unwrap_or(b"/usr/bin:/bin")
        .split(|&byte| byte == b':')
        .find_map(|dir| {
            let candidate = [dir, b"/", name].concat();
            process::is_file(&candidate).then(|| process::resolved(&candidate))
        })
}

/// Takes the first `skip` arguments out of the initial stack content by moving everything behind them down.
fn drop_arguments(stack: usize, argc: usize, skip: usize) -> usize {
    // SAFETY: the kernel's layout: arguments, environment, auxiliary vector up to AT_NULL; all of it moves down by
    // `skip` words, within itself.
    unsafe {
        *(stack as *mut usize) = argc - skip;
        let mut from = (stack + 8 * (1 + skip)) as *const usize;
        let mut to = (stack + 8) as *mut usize;
        let mut nulls = 0;
        while nulls < 2 {
            let word = *from;
            *to = word;
            nulls += usize::from(word == 0);
            from = from.add(1);
            to = to.add(1);
        }
        loop {
            let (key, value) = (*from, *from.add(1));
            *to = key;
            *to.add(1) = value;
            if key == 0 {
                return stack;
            }
            from = from.add(2);
            to = to.add(2);
        }
    }
}

fn fail(program: &[u8], error: &Error) -> ! {
    let (line, status) = error.at_startup(program);
    sys::write_error(line.as_bytes());
    sys::write_error(b"\n");
    sys::exit(usize::try_from(status).unwrap_or(127));
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    sys::write_error(format!("elfin-hosted: {info}\n").as_bytes());
    sys::exit(125);
}
