//! The command line. Layers of `build` keep the order in which they were given, across options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::network::NetCommand;
use crate::run::exec::ExecOptions;
use crate::run::net;
use crate::run::options::RunOptions;
use crate::volume::VolumeCommand;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

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
    /// Wait until detached machines end, and print their exit statuses
    Wait {
        /// Machines, by name or id
        #[arg(required = true, value_name = "MACHINE")]
        machines: Vec<String>,
    },
    /// Forget detached machines that have ended
    Rm {
        /// Those that run, too, which are killed
        #[arg(short, long)]
        force: bool,
        /// Machines, by name or id
        #[arg(required = true, value_name = "MACHINE")]
        machines: Vec<String>,
    },
    /// Print what a detached machine has put out
    Logs {
        /// Go on until it ends
        #[arg(short, long)]
        follow: bool,
        /// Begin with so many lines of what there is
        #[arg(short = 'n', long, value_name = "LINES")]
        tail: Option<usize>,
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
        && options.network.hostname.is_none()
    {
        // A name that others look for it by is the one they find it by.
        let name = options.name.as_deref();
        options.network.hostname = name.and_then(|name| net::parse_name(name).ok());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
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
