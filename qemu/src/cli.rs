//! The command line. Layers of `build` keep the order in which they were given, across options.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::network::NetCommand;
use crate::run::gdb::Meeting;
use crate::run::mounts::Mount;
use crate::run::net::{self, Network, Published};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(
    name = "elfin",
    version,
    about = "Runs one unmodified Linux program in a virtual machine of its own"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What elfin is asked to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a root image out of Debian packages, Python wheels and directories
    Build(BuildOptions),
    /// Boot a root image into a program
    Run(Box<RunOptions>),
    /// Make, list and remove volumes, which `elfin run -v NAME:GUEST` mounts
    Volume {
        /// What to do
        #[command(subcommand)]
        command: VolumeCommand,
    },
    /// Make, list and remove networks, which machines are in with `elfin run --net NAME`
    Net {
        /// What to do
        #[command(subcommand)]
        command: NetCommand,
    },
    /// Run a further program in a machine
    Exec(ExecOptions),
    /// List machines
    Ps {
        /// Detached ones that have ended, too
        #[arg(short, long)]
        all: bool,
        /// Their ids only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Have programs end (SIGTERM), and their machines if they do not
    Stop {
        /// How long they may go on (default: what `elfin run --stop-timeout` said)
        #[arg(short = 't', long = "time", value_name = "SECONDS")]
        time: Option<u32>,
        /// Machines, by name or id
        #[arg(required = true, value_name = "MACHINE")]
        machines: Vec<String>,
    },
    /// Send programs a signal
    Kill {
        /// Which, by name or number
        #[arg(short, long, default_value = "KILL", value_parser = crate::signal::parse)]
        signal: u32,
        /// Machines, by name or id
        #[arg(required = true, value_name = "MACHINE")]
        machines: Vec<String>,
    },
    /// Print what a detached machine has put out
    Logs {
        /// Go on until it ends
        #[arg(short, long)]
        follow: bool,
        /// The machine, by name or id
        machine: String,
    },
    /// Write the header and the library for programs that use Elfin's own functions
    Sdk {
        /// The directory: files go to DIR/include and DIR/lib
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// What `elfin volume` does.
#[derive(Subcommand)]
pub(crate) enum VolumeCommand {
    /// Make a volume; `elfin run` makes those that it does not find
    Create {
        /// Its name
        name: String,
        /// Room in it (default: 8G); it takes what is written
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        size: Option<u64>,
    },
    /// List all volumes
    Ls,
    /// Say where a volume is, and how large
    Inspect {
        /// Its name
        name: String,
    },
    /// Remove a volume and all that is in it
    Rm {
        /// Its name
        name: String,
    },
    /// Copy files and directories into a volume or out of it, as `docker cp` does
    Cp {
        /// What: NAME:PATH, a path of this machine, or - for a tar archive at standard input
        #[arg(value_name = "FROM")]
        from: String,
        /// Where to: NAME:PATH, a path of this machine, or - for a tar archive at standard output
        #[arg(value_name = "TO")]
        to: String,
    },
    /// Check a volume, mend what can be mended (e2fsck), and give back to this machine what no file takes any more
    Fsck {
        /// Its name
        name: String,
    },
}

/// Options of `elfin build`.
#[derive(Args)]
pub(crate) struct BuildOptions {
    /// The image file to write
    #[arg(short, long, value_name = "IMAGE")]
    pub(crate) output: PathBuf,
    /// Debian packages, installed with what they depend on
    #[arg(long, value_name = "PKG[,PKG…]", value_delimiter = ',')]
    deb: Vec<String>,
    /// A wheel from PyPI, with what it depends on
    #[arg(long, value_name = "PKG[==VERSION]")]
    wheel: Vec<String>,
    /// A directory tree, placed at PATH in the image (default: /)
    #[arg(long, value_name = "DIR[:/PATH]")]
    root: Vec<OsString>,
    /// Add elfin.h and libelfin.so, for programs that use Elfin's own functions
    #[arg(long)]
    pub(crate) dev: bool,
    /// Debian suite to take packages from (default: this machine's)
    #[arg(long, value_name = "NAME")]
    pub(crate) suite: Option<String>,
    /// Ask Debian and PyPI again instead of using the packages found last time
    #[arg(long)]
    pub(crate) refresh: bool,
    /// The layers in command line order, lowest first.
    #[arg(skip)]
    pub(crate) layers: Vec<Layer>,
}

/// One source of files; later layers lie on top of earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Debian packages by name.
    Debs(Vec<String>),
    /// Wheels by requirement specifier.
    Wheels(Vec<String>),
    /// A host directory and the absolute place in the image it goes to.
    Root {
        /// Directory on the host.
        dir: PathBuf,
        /// Absolute path in the image.
        at: PathBuf,
    },
}

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
    #[arg(long = crate::run::SUPERVISE, hide = true, requires = "detach")]
    pub(crate) supervise: bool,
    /// Number of virtual CPUs (default: the host's, at most 4)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) cpus: Option<u32>,
    /// Memory of the virtual machine
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = parse_size)]
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
    #[arg(long, value_name = "K=V")]
    pub(crate) env: Vec<OsString>,
    /// Whom the program starts as, by names or numbers of the image (default: root)
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// The program's working directory
    #[arg(long, value_name = "DIR", default_value = "/")]
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
    /// The machine's network: none, one behind a router that QEMU plays, or one with other machines by its name
    #[arg(long, value_name = "user|none|NAME", default_value = "user")]
    pub(crate) net: Network,
    /// Let a port of this host lead to one of the machine
    #[arg(short, long, value_name = "[ADDRESS:]HOST:GUEST[/udp]", value_parser = Published::parse)]
    pub(crate) publish: Vec<Published>,
    /// The machine's address in its network (default: 10.0.2.15, or the next)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<Ipv4Addr>,
    /// A server that knows names, for /etc/resolv.conf (default: this host's)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<IpAddr>,
    /// The machine's name, by which others in its network find it (default: elfin, or one made of its address)
    #[arg(long, value_name = "NAME", value_parser = net::parse_name)]
    pub(crate) hostname: Option<String>,
    /// A line for /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = net::parse_host)]
    pub(crate) add_host: Vec<(String, IpAddr)>,
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
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<OsString>,
}

/// Options of `elfin exec`.
#[derive(Args)]
pub(crate) struct ExecOptions {
    /// Let the program read our standard input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Whom the program starts as, by names or numbers of the image (default: root)
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Set a variable in the program's environment, which is that of the machine's first otherwise (K alone passes the
    /// host's value on)
    #[arg(short, long, value_name = "K=V")]
    pub(crate) env: Vec<OsString>,
    /// The program's working directory (default: the machine's first program's)
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// The machine, by name or id
    pub(crate) machine: String,
    /// The program (looked up in PATH if it has no slash) and its arguments
    #[arg(
        value_name = "PROGRAM [ARG…]",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<OsString>,
}

/// How the virtual CPUs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// KVM if this host has it, else TCG
    Auto,
    /// The processor's own virtualisation
    Kvm,
    /// QEMU's translator
    Tcg,
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

/// Parses the process's arguments; prints help or usage errors and exits itself.
pub(crate) fn parse() -> Command {
    match try_parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => {
            let status = if error.use_stderr() {
                i32::from(crate::FAILED)
            } else {
                0
            };
            // Nothing is left to do if even this cannot be printed.
            let _ = error.print();
            std::process::exit(status)
        }
    }
}

fn try_parse<T>(arguments: impl IntoIterator<Item = T>) -> Result<Command, clap::Error>
where
    T: Into<OsString> + Clone,
{
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let mut command = Cli::from_arg_matches(&matches)?.command;
    if let Command::Run(options) = &mut command
        && options.hostname.is_none()
    {
        // A name that others look for it by is the one they find it by.
        let name = options.name.as_deref();
        options.hostname = name.and_then(|name| net::parse_name(name).ok());
    }
    if let (Command::Build(options), Some(("build", matches))) =
        (&mut command, matches.subcommand())
    {
        options.layers = layers(options, matches)?;
    }
    Ok(command)
}

/// Puts the layer options back into the order of the command line.
fn layers(options: &BuildOptions, matches: &ArgMatches) -> Result<Vec<Layer>, clap::Error> {
    let mut found = Vec::new();
    let positions = |name: &str| matches.indices_of(name).into_iter().flatten();
    for (index, name) in positions("deb").zip(&options.deb) {
        found.push((index, Layer::Debs(vec![name.trim().to_owned()])));
    }
    for (index, name) in positions("wheel").zip(&options.wheel) {
        found.push((index, Layer::Wheels(vec![name.trim().to_owned()])));
    }
    for (index, value) in positions("root").zip(&options.root) {
        found.push((index, parse_root(value)));
    }
    found.sort_by_key(|(index, _)| *index);
    let mut layers: Vec<Layer> = Vec::new();
    for (_, layer) in found {
        // Neighbours of one kind are resolved together, as one `apt install` would.
        match (layers.last_mut(), layer) {
            (Some(Layer::Debs(names)), Layer::Debs(more))
            | (Some(Layer::Wheels(names)), Layer::Wheels(more)) => names.extend(more),
            (_, layer) => layers.push(layer),
        }
    }
    for layer in &layers {
        if let Layer::Debs(names) | Layer::Wheels(names) = layer
            && let Some(bad) = names.iter().find(|n| n.is_empty() || n.starts_with('-'))
        {
            return Err(Cli::command().error(
                clap::error::ErrorKind::InvalidValue,
                format!("'{bad}' is no package name"),
            ));
        }
    }
    if layers.is_empty() {
        return Err(Cli::command().error(
            clap::error::ErrorKind::MissingRequiredArgument,
            "nothing to build: give at least one of --deb, --wheel and --root",
        ));
    }
    Ok(layers)
}

fn parse_root(value: &OsStr) -> Layer {
    let bytes = value.as_bytes();
    let colon = bytes.windows(2).rposition(|pair| pair == b":/");
    let (dir, at) = match colon {
        Some(colon) if colon > 0 => (&bytes[..colon], &bytes[colon + 1..]),
        _ => (bytes, &b"/"[..]),
    };
    Layer::Root {
        dir: OsStr::from_bytes(dir).into(),
        at: OsStr::from_bytes(at).into(),
    }
}

/// Parses `512M`, `1G`, `65536K` or a plain number of bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1u64 << 40,
        _ => return Err("expected a size such as 64M or 1G".to_owned()),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or("expected a size such as 64M or 1G")?;
    if bytes < 1 << 20 {
        return Err("that is less than 1M (did you forget the M?)".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64M"), Ok(64 << 20));
        assert_eq!(parse_size("1g"), Ok(1 << 30));
        assert_eq!(parse_size("2097152"), Ok(2 << 20));
        assert!(parse_size("64").is_err());
        assert!(parse_size("12X").is_err());
        assert!(parse_size("99999999999T").is_err());
        assert!(parse_size("").is_err());
    }

    #[test]
    fn layers_keep_their_order() {
        let line = "elfin build -o i --deb a,b --root d:/x --wheel w==1 --deb c --deb d";
        let Ok(Command::Build(options)) = try_parse(line.split(' ')) else {
            panic!("does not parse");
        };
        let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            options.layers,
            [
                Layer::Debs(names(&["a", "b"])),
                Layer::Root {
                    dir: "d".into(),
                    at: "/x".into()
                },
                Layer::Wheels(names(&["w==1"])),
                Layer::Debs(names(&["c", "d"])),
            ]
        );
        assert!(try_parse("elfin build -o i".split(' ')).is_err());
        assert!(try_parse("elfin build -o i --deb -x".split(' ')).is_err());
    }

    #[test]
    fn everything_after_the_program_belongs_to_it() {
        for line in [
            "elfin run --image i --cpus 2 python3 -c 1 --cpus 3",
            "elfin run --image i --cpus 2 -- python3 -c 1 --cpus 3",
        ] {
            let Ok(Command::Run(options)) = try_parse(line.split(' ')) else {
                panic!("does not parse");
            };
            assert_eq!(options.cpus, Some(2));
            assert_eq!(options.command, ["python3", "-c", "1", "--cpus", "3"]);
        }
        assert!(try_parse("elfin run python3".split(' ')).is_err());
    }
}
