//! `elfin run`: boots an image into a program in QEMU, with the program's standard streams being
//! elfin's own and its exit status elfin's.

mod accel;
mod chart;
mod config;
mod console;
mod control;
mod detach;
mod escape;
pub(crate) mod exec;
pub(crate) mod gdb;
pub(crate) mod mounts;
pub(crate) mod net;
pub(crate) mod options;
mod outcome;
mod processor;
mod profile;
mod qemu;
mod root;
mod serve;
mod signals;
mod terminal;
mod tsc;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::mounts::Mount;
use self::options::RunOptions;
use crate::cache::Cache;
use crate::machines::{self, About, Entry, Remembered};
use crate::{image, shell, tool};

/// The kernel this elfin was built with.
static KERNEL: &[u8] = include_bytes!(env!("ELFIN_KERNEL_IMAGE"));

/// Runs a program; returns the exit status for elfin.
pub(crate) fn run(options: &RunOptions) -> Result<u8> {
    if options.detach && !options.supervise && !options.dry_run {
        return detach::start();
    }
    if options.supervise {
        detach::leave_session()?;
    }
    let start = Instant::now();
    let terminal = (options.tty && !options.detach).then(terminal::Settings::of_terminal);
    let terminal = terminal.transpose()?;
    let counter = tsc::Reading::take();
    let qemu = tool::find("qemu-system-x86_64", "qemu-system-x86");
    let cache = Cache::open()?;
    let environment = config::environment(&options.env, options.tty)?;
    // For gdb: an image's files cannot be read from here, but this machine may have the same.
    let mut sysroot = PathBuf::from("/");
    let mut program = options
        .command
        .first()
        .map_or_else(PathBuf::new, PathBuf::from);
    let image = match (&options.image, &options.root) {
        (Some(image), _) => image.clone(),
        (None, Some(dir)) => {
            program = root::check(dir, options, &environment)?;
            sysroot = dir.canonicalize().unwrap_or_else(|_| dir.clone());
            root::image(&cache, dir)?
        }
        // The command line demands one of the two.
        (None, None) => bail!("give --image or --root"),
    };
    let net = net::Net::new(&options.network, options.dry_run)?;
    let accel = accel::choose(options.accel)?;
    let program_of_qemu = qemu.as_deref().ok();
    let processor = processor::choose(options.cpu.as_deref(), accel, program_of_qemu, &cache);
    if let Some(why) = processor.withheld.filter(|_| options.log.is_some()) {
        eprintln!("elfin: {why}");
    }
    let mounts = mounts::prepare([&options.volume, &options.tmpfs])?;
    let machine = qemu::Machine {
        model: options.machine,
        accel,
        cpu: processor.model,
        cpus: options.cpus.unwrap_or_else(default_cpus),
        memory: options.memory,
        kernel: kernel(&cache)?,
        image_size: image::check(&image)?,
        image,
        gdb: options.gdb.clone(),
        shares: mounts.iter().filter_map(Mount::share).collect(),
        net,
        disks: mounts.iter().filter_map(Mount::disk).collect(),
        is_recorded: options.boot_chart.is_some() || options.profile.is_some(),
    };
    if let Some(meeting) = &options.gdb {
        let files = (sysroot.as_path(), program.as_path());
        let command = gdb::command(&cache, meeting, &machine.kernel, files)?;
        eprintln!("elfin: waiting for gdb: {command}");
    }
    let tsc_rate = counter.and_then(|counter| counter.rate());
    let config = config::encode(options, &environment, &mounts, &machine.net, tsc_rate);
    check_memory(&machine, config.len())?;
    if options.dry_run {
        let path = cache.keep("boot", ".config", &config)?;
        let line = machine.shell_line(&path, options.log.is_some());
        writeln!(std::io::stdout(), "{line}").context("cannot print the command line")?;
        return Ok(0);
    }
    for file in [&options.boot_chart, &options.profile]
        .into_iter()
        .flatten()
    {
        // Who waits for the end of the run would hear of it too late.
        File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let qemu = qemu?;
    let config = in_memory(&config)?;
    let command = machine.command(&qemu, &config);
    let grace = Duration::from_secs(options.stop_timeout.into());
    let mut entry = enter(options)?;
    let log = match &entry {
        Some(entry) if options.detach => {
            Some(machines::create_log(entry.dir()).context("cannot write a log")?)
        }
        _ => None,
    };
    let front = console::Front {
        show_log: options.log.is_some(),
        grace,
        terminal,
        entry: entry.as_mut(),
        log: log.clone(),
        interactive: options.interactive,
    };
    let ended = console::run(command, config, front)?;
    let end = Instant::now();
    if let (Some(file), Some(received)) = (&options.boot_chart, &ended.record) {
        let qemu = ended.start;
        let sent = received.last.unwrap_or(end);
        let times = chart::Times {
            start,
            qemu,
            sent,
            end,
        };
        let title = shell::line(&options.command);
        if let Err(error) = chart::write(file, &title, times, received) {
            eprintln!("elfin: {error:#}");
        }
    }
    if let (Some(file), Some(received)) = (&options.profile, &ended.record) {
        let name = options
            .command
            .first()
            .and_then(|word| Path::new(word).file_name());
        let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if let Err(error) = profile::write(file, &name, &received.bytes, &machine.kernel) {
            eprintln!("elfin: {error:#}");
        }
    }
    let image = outcome::Image {
        path: &machine.image,
        size: machine.image_size,
    };
    let outcome = outcome::report(&ended, &image, options.log.is_some());
    if let (Err(error), Some([_, log])) = (&outcome, log) {
        // Nobody hears us, but who reads the log.
        let _ = writeln!({ log }, "elfin: {error:#}");
    }
    if let Some(entry) = &mut entry {
        entry.ended(*outcome.as_ref().unwrap_or(&crate::FAILED));
        if options.detach && !ended.started {
            entry.forget();
        }
    }
    outcome
}

/// Makes the machine known to others. Without a directory for that there are none, so it matters only to who asks for
/// something that needs it.
fn enter(options: &RunOptions) -> Result<Option<Entry>> {
    let image = options.image.as_ref().or(options.root.as_ref());
    let about = About {
        name: options.name.clone(),
        detached: options.detach,
        image: image.map_or_else(OsString::new, |path| path.clone().into()),
        ports: options
            .network
            .publish
            .iter()
            .map(ToString::to_string)
            .collect(),
        command: options.command.clone(),
        ..About::default()
    };
    let remembered = match options.detach && !options.rm {
        true => Remembered::Yes,
        false => Remembered::No,
    };
    match machines::enter(about, remembered) {
        Err(_) if !options.detach && options.name.is_none() => Ok(None),
        entered => entered.map(Some),
    }
}

/// Refuses a machine without room for the kernel and its configuration: nothing in it could say so.
fn check_memory(machine: &qemu::Machine, config: usize) -> Result<()> {
    /// What the firmware keeps at the end: ACPI tables and the like.
    const BESIDE: u64 = 256 << 10;
    let kernel = std::fs::read(&machine.kernel).context("cannot read the kernel")?;
    let elf = goblin::elf::Elf::parse(&kernel)
        .with_context(|| format!("{} is not a kernel", machine.kernel.display()))?;
    let end = elf
        .program_headers
        .iter()
        .map(|header| header.p_paddr.saturating_add(header.p_memsz))
        .max()
        .unwrap_or(0);
    let least = end + config as u64 + BESIDE;
    if machine.memory < least {
        bail!(
            "the kernel does not fit into {} KiB of memory; give more with --memory",
            machine.memory >> 10
        );
    }
    Ok(())
}

/// The kernel's path: a file of the user's own, or the embedded kernel in the cache.
fn kernel(cache: &Cache) -> Result<PathBuf> {
    match std::env::var_os("ELFIN_KERNEL") {
        Some(path) => {
            let path = PathBuf::from(path);
            File::open(&path)
                .with_context(|| format!("cannot open ELFIN_KERNEL {}", path.display()))?;
            Ok(path)
        }
        None => cache.keep_as("kernels", env!("ELFIN_KERNEL_NAME"), KERNEL),
    }
}

fn default_cpus() -> u32 {
    let host = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(host.min(4)).unwrap_or(1)
}

/// A file without a name that holds `content`, for QEMU to inherit.
fn in_memory(content: &[u8]) -> Result<File> {
    let fd = rustix::fs::memfd_create("elfin-config", rustix::fs::MemfdFlags::CLOEXEC)
        .context("cannot create a file in memory")?;
    let mut file = File::from(fd);
    file.write_all(content)
        .context("cannot write a file in memory")?;
    Ok(file)
}

/// The path under which a process that inherits `file` opens it.
fn inherited_path(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}
