//! Starting the program: finding it, its initial stack, and who loads it: the kernel's own dynamic linker, or for a
//! foreign program the interpreter that it names.

mod exec;
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
use exec::exec;
use linux::config::{self, Config};
use linux::control;
use linux::credentials::program::Runner;
use linux::fs::{
    context::FsContext,
    path::{Start, lookup},
};
use linux::linker::{Command, Launch};
use linux::process::exec::Identity;
use linux::process::{Process, Program, ThreadState, user::User, with_space};
use linux::{process, tty};
use linux_raw_sys::general::__NR_execve;
use loader::{Error, Foreign, PAGE_SIZE};
use machine::arch::{TrapFrame, gate};
use machine::drivers::random;
use machine::mm::arena;
use machine::mm::space::Space;
use machine::record;
use machine::sched;
use machine::sync::SpinLock;
use machine::time::Instant;
use path::Image;
use stack::Stack;

/// What a program is entered with.
struct Entry {
    address: usize,
    stack: usize,
    rdx: usize,
}

/// Exit statuses of a shell for programs that cannot be run.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// A program that cannot be run: what its standard error shows, and the exit status.
struct Failure {
    line: String,
    status: i32,
}

/// What the loader has left for the main thread to do: more of the start, which tells where to enter the program.
type Rest = Box<dyn FnOnce() -> Result<Entry, Failure> + Send>;

/// The rest of a start, and where the program will begin, for a tracer to see: address and stack pointer.
struct Ready {
    rest: Rest,
    at: (usize, usize),
}

/// Where it is left.
type Slot = Arc<SpinLock<Option<Ready>>>;

/// Starts the program that the boot configuration names, as the first process' thread without an id. On failure it says
/// why on the program's standard error and ends the machine with the status a shell would give. Afterwards the thread
/// does what elfin asks for. `asked`: when elfin was asked what time it is.
pub fn start_first(asked: Option<Instant>) {
    let before = asked.map(control::take_time).unwrap_or_default();
    if let Err(failure) = start(config::get()) {
        fail(failure);
    }
    control::serve(before, exec);
}

/// Starts the program that a configuration names in the calling thread's process, as the user that it names.
fn start(config: &Config) -> Result<(), Failure> {
    let env = become_user(config)?;
    let image = path::find(config)?;
    let process = process::with_current(Arc::clone);
    let name = config.args.first().map_or(&[][..], Vec::as_slice);
    let state = named(process::inherited_state(process.clone()), name);
    let launch = prepare(&process, image, env, state);
    process.start(launch.map_err(|errno| no_memory(name, errno))?);
    Ok(())
}

/// Has the calling thread be of the user that the configuration names, and returns the environment that it starts with.
fn become_user(config: &Config) -> Result<Vec<Vec<u8>>, Failure> {
    let user = User::find(&config.user).map_err(|line| Failure {
        line: format!("elfin: {line}"),
        status: NOT_EXECUTABLE,
    })?;
    tty::stream::give_console(user.uid).map_err(|errno| Failure {
        line: format!("elfin: /dev/console: {}", errno.text()),
        status: NOT_EXECUTABLE,
    })?;
    user.assume();
    let mut env = config.env.clone();
    if !env.iter().any(|setting| setting.starts_with(b"HOME=")) {
        let home = user.home.as_deref().unwrap_or(b"/");
        env.push([b"HOME=", home].concat());
    }
    Ok(env)
}

/// As [`linux::linker::Linker::launch`].
pub(crate) fn launch(process: &Arc<Process>, command: Command) -> Result<Launch, Errno> {
    let Command {
        path,
        name,
        is_name_lost,
        args,
        env,
    } = command;
    let state = named(process::inherited_state(process.clone()), &name);
    let image =
        path::interpret(path, (name, is_name_lost), args).map_err(|problem| problem.errno)?;
    foreign::check(&image.file)?;
    prepare(process, image, env, state)
}

/// A thread's state, with the name of a program.
fn named(state: ThreadState, path: &[u8]) -> ThreadState {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    state.set_name(name);
    state
}

/// Makes what it takes to run an image: an address space, a thread that loads it, and its main thread, with this state.
fn prepare(
    process: &Arc<Process>,
    image: Image,
    env: Vec<Vec<u8>>,
    mut state: ThreadState,
) -> Result<Launch, Errno> {
    let Identity {
        runner,
        is_dumpable,
    } = state.run(&*image.file)?;
    let space = Arc::new(Space::new().ok_or(Errno::ENOMEM)?);
    let program = Program {
        exe: image.path.clone(),
        file: Some(image.file.clone()),
        cmdline: stack::joined(&image.args),
        environ: stack::joined(&env),
        ..Program::default()
    };
    let slot = Slot::default();
    let rest = slot.clone();
    let body = Box::new(move || run(&rest));
    let main = sched::new_main(process.pid, space.clone(), Box::new(state), body);
    let state = ThreadState::of_loader(process.clone());
    let body = Box::new(move || {
        let loaded = load(&image, &env, &runner, &slot);
        drop((image, env, runner, slot));
        if let Err(failure) = loaded {
            fail(failure);
        }
        // The program may end before this thread does: nothing of it is in use here any more.
        let main = process::with_current(|process| process.main_thread());
        if let Some(main) = main {
            sched::when_left(Box::new(|| sched::start(main)));
        }
    });
    let loader = sched::new_kernel(Some(space.clone()), Box::new(state), body);
    Ok(Launch {
        main: main.ok_or(Errno::ENOMEM)?,
        loader: loader.ok_or(Errno::ENOMEM)?,
        program,
        space,
        is_dumpable,
    })
}

/// Loads a program in the calling thread's address space, and leaves the rest to its main thread.
fn load(image: &Image, env: &[Vec<u8>], runner: &Runner, slot: &Slot) -> Result<(), Failure> {
    linker::install();
    // Up to 64 GiB below the top.
    let places = Places::random();
    with_space(|space| space.open(places.mappings));
    let stack = linker::vdso::map().and_then(|()| stack::build(image, env, runner, &places));
    let stack = stack.map_err(|errno| no_memory(&image.path, errno))?;
    show(&stack);
    // IFUNC resolvers run on the program's stack.
    gate::set_user_stack(stack.pointer, stack.range.clone());
    record::phase("loading");
    let loaded = linker::with_current(|linker| {
        // SAFETY: the stack was just built as Linux lays it out, and stays.
        arena::inside(|| unsafe { linker.loader.load_program(&image.path, stack.pointer) })
    });
    let (at, rest): (_, Rest) = match loaded {
        Ok(program) => {
            let at = (program.entry, program.stack);
            show(&stack);
            let objects = linker::with_current(|linker| linker.loader.objects());
            let end = objects.first().map_or(0, |main| main.end);
            place_break(end, &places);
            let Stack { pointer, range, .. } = stack;
            let rest = Box::new(move || {
                gate::set_user_stack(pointer, range);
                record::phase("INIT functions");
                let initialised = linker::with_current(|linker| {
                    // SAFETY: just loaded, not run before, on a thread without a thread pointer.
                    arena::inside(|| unsafe { linker.loader.run_init(&program) })
                });
                initialised.map_err(|error| loader_failed(&error))?;
                Ok(Entry {
                    address: program.entry,
                    stack: program.stack,
                    rdx: program.fini,
                })
            });
            (at, rest)
        }
        Err(Error::Foreign(reason)) => {
            if let Foreign::Glibc(version) = &reason {
                log::warn!(
                    "glibc {} has not been reviewed: starting the program through its own ld.so",
                    String::from_utf8_lossy(version)
                );
            }
            let address = foreign::load(image, &stack, &places).map_err(|line| Failure {
                line: format!("elfin: {line}"),
                status: NOT_EXECUTABLE,
            })?;
            show(&stack);
            let Stack { pointer, .. } = stack;
            let rest = Box::new(move || {
                Ok(Entry {
                    address,
                    stack: pointer,
                    rdx: 0,
                })
            });
            ((address, pointer), rest)
        }
        Err(error) => return Err(loader_failed(&error)),
    };
    drop(linker::with_current(|linker| linker.tried(b"")));
    *slot.lock() = Some(Ready { rest, at });
    Ok(())
}

/// Has /proc, and so debuggers, know what the calling thread's process runs, as far as it has been loaded.
fn show(stack: &Stack) {
    process::with_current(|process| {
        process.set_program(Program {
            auxv: stack.auxv(),
            arguments: stack.arguments.clone(),
            environment: stack.environment.clone(),
            ..Program::clone(&process.program())
        });
    });
}

/// What the main thread does first: the rest of the start.
fn run(slot: &Slot) {
    let ready = slot.lock().take();
    let Some(Ready { rest, at }) = ready else {
        return;
    };
    begin(at);
    match rest() {
        Ok(entry) => {
            record::phase("program");
            control::tell_started();
            // SAFETY: the program is ready, and nothing is left on this stack when the caller returns.
            unsafe { sched::enter_program(entry.address, entry.stack, entry.rdx) }
        }
        Err(failure) => fail(failure),
    }
}

/// Has whoever traces the calling thread see that it runs another program, from the end of execve(2) on. The registers
/// that it shows are those of the entry point, and to change them has no effect: INIT functions run first.
#[inline(never)]
fn begin((address, stack): (usize, usize)) {
    let mut frame = gate::program_at(address, stack);
    frame.vector = TrapFrame::SYSCALL;
    frame.error = __NR_execve.into();
    process::signal::begin_program(&mut frame);
}

/// Makes the machine's first process: in the directory that the configuration names, with the console as descriptors 0,
/// 1 and 2.
pub(crate) fn make_process(config: &Config) -> Result<Arc<Process>, String> {
    let start = Start::root();
    let process = Process::leader(FsContext::new(start.root.clone()));
    if !config.cwd.is_empty() {
        let cwd = lookup(&start, &config.cwd).and_then(|path| process.fs().set_cwd(path));
        cwd.map_err(|error| {
            let cwd = String::from_utf8_lossy(&config.cwd);
            format!("working directory {cwd}: {}", error.text())
        })?;
    }
    tty::console::give_to(&process);
    tty::stream::open_standard(&process.files())
        .map_err(|error| format!("cannot open the console: {}", error.text()))?;
    Ok(process)
}

/// Where things of a program lie, at random, and what it has for randomness of its own.
struct Places {
    /// Of AT_RANDOM.
    bytes: [u8; 16],
    /// Pages between the top of the program's half and what is mapped first.
    mappings: usize,
    /// Bytes between the stack's end and what lies on it first.
    stack: usize,
    /// Pages between the program and the heap of brk(2).
    heap: usize,
}

impl Places {
    fn random() -> Self {
        let mut words = [[0; 16]; 2];
        random::fill(words.as_flattened_mut());
        let [bytes, numbers] = words;
        let number = u128::from_ne_bytes(numbers) as usize;
        Self {
            bytes,
            // Up to 64 GiB.
            mappings: number & 0xff_ffff,
            stack: number >> 24 & 0xff0,
            heap: number >> 40 & 0x1fff,
        }
    }
}

/// Puts the heap of brk(2) behind a program that ends at `end`; one that lies among the libraries, where nothing is
/// free behind it, gets it where Linux has position-independent programs.
fn place_break(end: usize, places: &Places) {
    const AMONG_LIBRARIES: usize = 0x7000_0000_0000;
    const APART: usize = 0x5555_5555_4000;
    let start = if end < AMONG_LIBRARIES { end } else { APART };
    with_space(|space| space.set_break(start + places.heap * PAGE_SIZE));
}

fn no_memory(what: &[u8], errno: Errno) -> Failure {
    let what = String::from_utf8_lossy(what);
    Failure {
        line: format!("elfin: {what}: {}; give more with --memory", errno.text()),
        status: NOT_EXECUTABLE,
    }
}

fn loader_failed(error: &Error) -> Failure {
    let name = process::with_current(|process| process.program());
    let (mut line, status) = error.at_startup(name.name());
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
    Failure { line, status }
}

/// Ends the process with what there is to say.
fn fail(failure: Failure) -> ! {
    let Failure { line, status } = failure;
    end::report(&line);
    drop(line);
    process::exit_group(status)
}
