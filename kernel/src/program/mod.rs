//! Starting the program: finding it, its initial stack, and who loads it: the kernel's own dynamic linker, or for a
//! foreign program the interpreter that it names.

mod foreign;
mod path;
mod stack;

use crate::{end, linker};
use abi::Errno;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux::config::{self, Config};
use linux::fs::{context::FsContext, mount, path::lookup};
use linux::process::{Process, Program, ThreadState, with_space};
use linux::{fs, process};
use loader::{Error, Foreign, PAGE_SIZE};
use machine::arch::gate;
use machine::drivers::random;
use machine::mm::arena;
use machine::mm::space::Space;
use machine::sched;

/// What a program is entered with.
struct Entry {
    address: usize,
    stack: usize,
    rdx: usize,
}

/// Exit statuses of a shell for programs that cannot be run.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Loads and starts the program that the boot configuration names. Runs on the loader thread; on failure it says why on
/// the program's standard error and ends the machine with the status a shell would give.
pub fn start() {
    let config = config::get();
    let (Ok(image) | Err(image)) = path::find(config).map_err(|(line, status)| fail(&line, status));
    // Up to 64 GiB below the top.
    with_space(|space| space.open((random::number() & 0xff_ffff) as usize));
    let stack =
        linker::vdso::map().and_then(|()| stack::build(&image.args, &config.env, &image.path));
    let stack = match stack {
        Ok(stack) => stack,
        Err(errno) => no_memory(&image.path, errno),
    };
    let process = process::with_current(Arc::clone);
    process.set_program(Program {
        exe: image.path.clone(),
        cmdline: stack::joined(&image.args),
        environ: stack::joined(&config.env),
        auxv: stack.auxv.clone(),
    });
    // IFUNC resolvers run on the program's stack.
    gate::set_user_stack(stack.pointer, stack.range.clone());
    let loaded = linker::with_current(|linker| {
        // SAFETY: the stack was just built as Linux lays it out, and stays.
        arena::inside(|| unsafe { linker.loader.load_program(&image.path, stack.pointer) })
    });
    match loaded {
        Ok(program) => {
            let objects = linker::with_current(|linker| linker.loader.objects());
            let end = objects.first().map_or(0, |main| main.end);
            place_break(end);
            drop(linker::with_current(|linker| linker.tried(b"")));
            start_main(&stack, move || {
                let initialised = linker::with_current(|linker| {
                    // SAFETY: just loaded, not run before, on a thread without a thread pointer.
                    arena::inside(|| unsafe { linker.loader.run_init(&program) })
                });
                match initialised {
                    Ok(()) => Entry {
                        address: program.entry,
                        stack: program.stack,
                        rdx: program.fini,
                    },
                    Err(error) => loader_failed(&error),
                }
            });
        }
        Err(Error::Foreign(reason)) => {
            if let Foreign::Glibc(version) = &reason {
                log::warn!(
                    "glibc {} has not been reviewed: starting the program through its own ld.so",
                    String::from_utf8_lossy(version)
                );
            }
            match foreign::load(&image.path, &stack) {
                Ok(address) => start_main(&stack, move || {
                    process::adopt_main(&sched::current());
                    Entry {
                        address,
                        stack: stack.pointer,
                        rdx: 0,
                    }
                }),
                Err(line) => fail(&line, NOT_EXECUTABLE),
            }
        }
        Err(error) => loader_failed(&error),
    }
}

/// Makes the machine's only process: in the directory that the configuration names, with the console as descriptors 0,
/// 1 and 2.
pub(crate) fn make_process(config: &Config) -> Result<Arc<Process>, String> {
    let root = mount::root();
    let linker = Arc::new(linker::Linker::new());
    let space = Space::new().ok_or("no memory for an address space")?;
    let process = Process::start(1, FsContext::new(root.clone()), Arc::new(space), linker);
    if !config.cwd.is_empty() {
        let cwd = lookup(root, &config.cwd).and_then(|path| process.fs.set_cwd(path));
        cwd.map_err(|error| {
            let cwd = String::from_utf8_lossy(&config.cwd);
            format!("working directory {cwd}: {}", error.text())
        })?;
    }
    fs::open::open_standard(&process.files)
        .map_err(|error| format!("cannot open the console: {}", error.text()))?;
    fs::procfs::add(&process).map_err(|error| format!("cannot set up /proc: {}", error.text()))?;
    Ok(process)
}

/// Starts the worker thread that initialises the program and goes on as its main thread.
fn start_main(stack: &stack::Stack, prepare: impl FnOnce() -> Entry + Send + 'static) {
    let (pointer, range) = (stack.pointer, stack.range.clone());
    let process = process::with_current(Arc::clone);
    let main = sched::new_main(
        process.space.clone(),
        Box::new(ThreadState::new(process)),
        Box::new(move || {
            gate::set_user_stack(pointer, range);
            let entry = prepare();
            // SAFETY: the program is ready; `prepare` has dropped what it had on this stack.
            unsafe { gate::enter_user(entry.address, entry.stack, entry.rdx) }
        }),
    );
    match main {
        Some(main) => sched::start(main),
        None => no_memory(b"the main thread", Errno::ENOMEM),
    }
}

/// Puts the heap of brk(2) behind a program that ends at `end`; one that lies among the libraries, where nothing is
/// free behind it, gets it where Linux has position-independent programs.
fn place_break(end: usize) {
    const AMONG_LIBRARIES: usize = 0x7000_0000_0000;
    const APART: usize = 0x5555_5555_4000;
    let start = if end < AMONG_LIBRARIES { end } else { APART };
    with_space(|space| space.set_break(start + (random::number() as usize & 0x1fff) * PAGE_SIZE));
}

fn no_memory(what: &[u8], errno: Errno) -> ! {
    let what = String::from_utf8_lossy(what);
    let line = format!("{what}: {}; give more with --memory", errno.text());
    fail(&line, NOT_EXECUTABLE)
}

fn loader_failed(error: &Error) -> ! {
    let name = config::get().args.first().map_or(&[][..], Vec::as_slice);
    let (mut line, status) = error.at_startup(name);
    if let Error::CannotOpen { name, .. } = error {
        let paths = linker::with_current(|linker| linker.tried(name));
        let paths: Vec<_> = paths
            .iter()
            .map(|path| String::from_utf8_lossy(path))
            .filter(|path| !path.contains("/glibc-hwcaps/"))
            .collect();
        if !paths.is_empty() {
            line += &format!("\nelfin: not in the image: {}", paths.join(", "));
        }
    }
    end::with_line(&line, status)
}

/// Ends the machine with a line of elfin's own.
fn fail(line: &str, status: i32) -> ! {
    end::with_line(&format!("elfin: {line}"), status)
}
