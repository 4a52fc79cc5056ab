//! What `elfin run` is asked for.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::accel::Accel;
use super::detach;
use super::gdb::Meeting;
use super::mounts::Mount;
use super::net::NetworkOptions;
use crate::size::parse_size;

/// Options of `elfin run`.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// What the machine is called (default: it has an id only)
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Print the machine's id when the program runs, and leave it running
    #[arg(short, long, conflicts_with = "gdb")]
    pub(crate) detach: bool,
    /// Remember nothing of a detached machine that has ended
    #[arg(long)]
    pub(crate) rm: bool,
    /// This is the elfin that runs a detached machine.
    #[arg(long = detach::OPTION, hide = true, requires = "detach")]
    pub(crate) supervise: bool,
    /// Number of virtual CPUs (default: the host's, at most 4)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) cpus: Option<u32>,
    /// Memory of the virtual machine
    #[arg(short, long, value_name = "SIZE", default_value = "512M", value_parser = parse_size)]
    pub(crate) memory: u64,
    /// How to run the virtual CPUs
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub(crate) accel: Accel,
    /// QEMU's name of a processor, with features if need be (default: all that the host or the translator can)
    #[arg(long, value_name = "MODEL")]
    pub(crate) cpu: Option<String>,
    /// QEMU's machine model
    #[arg(long, value_enum, default_value_t = Machine::Q35)]
    pub(crate) machine: Machine,
    /// Set a variable in the program's environment (K alone passes the host's value on)
    #[arg(short, long, value_name = "K=V")]
    pub(crate) env: Vec<OsString>,
    /// Whom the program starts as, by names or numbers of the image (default: root)
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// The program's working directory
    #[arg(
        short = 'w',
        long,
        visible_alias = "workdir",
        value_name = "DIR",
        default_value = "/"
    )]
    pub(crate) cwd: PathBuf,
    /// Print each system call, as strace does
    #[arg(long)]
    pub(crate) trace: bool,
    /// Draw what happened when, from elfin's start to the machine's end
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) boot_chart: Option<PathBuf>,
    /// Write how often which functions were met, as stacks that flame graph tools read
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Show the kernel's log on stderr
    #[arg(
        long,
        value_name = "LEVEL",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "info"
    )]
    pub(crate) log: Option<Log>,
    /// Mount an empty file system in memory (default size: half of memory)
    #[arg(
        long,
        value_name = "PATH[:size=SIZE]",
        value_parser = OsStringValueParser::new().try_map(Mount::parse_tmpfs)
    )]
    pub(crate) tmpfs: Vec<Mount>,
    /// Mount a directory or a file of the host, or a volume by its name
    #[arg(
        short = 'v',
        long = "volume",
        value_name = "HOST|NAME:GUEST[:ro]",
        value_parser = OsStringValueParser::new().try_map(Mount::parse_volume)
    )]
    pub(crate) volume: Vec<Mount>,
    /// Let nothing on the root file system be changed
    #[arg(long)]
    pub(crate) read_only: bool,
    #[command(flatten)]
    pub(crate) network: NetworkOptions,
    /// Let the program read our standard input, as it always can
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Let our terminal be the program's: line editing, Ctrl-C and the like are the machine's business
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// How long the program may go on after SIGTERM, before the machine is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) stop_timeout: u32,
    /// Wait for gdb before anything happens, and say how to start it: at a port (default: 1234) or a socket
    #[arg(
        long,
        value_name = "PORT|PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1234",
        value_parser = Meeting::parse
    )]
    pub(crate) gdb: Option<Meeting>,
    /// Print QEMU's command line instead of running it
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Root image made by `elfin build`
    #[arg(long, value_name = "IMAGE", required_unless_present = "root")]
    pub(crate) image: Option<PathBuf>,
    /// Directory to use as the root file system
    #[arg(long, value_name = "DIR", conflicts_with = "image")]
    pub(crate) root: Option<PathBuf>,
    /// The program (looked up in PATH if it has no slash) and its arguments
    #[arg(
        value_name = "PROGRAM [ARG…]",
        required = true,
        trailing_var_arg = true
    )]
    pub(crate) command: Vec<OsString>,
}

/// How much of the kernel's log is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Log {
    /// What is not at every start
    Info,
    /// What helps to find faults
    Debug,
    /// Everything
    Trace,
}

/// QEMU machine models the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Machine {
    /// A PC with a PCIe chipset
    Q35,
    /// QEMU's minimal machine
    Microvm,
}
