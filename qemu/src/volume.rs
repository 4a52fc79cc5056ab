//! Named volumes: ext4 in a file under `${XDG_DATA_HOME:-~/.local/share}/elfin/volumes`, made at first use, with room
//! that is taken from the host only as it is written. One machine at a time has one.

mod cp;
mod disk;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use rustix::fs::{FlockOperation, flock};

use self::cp::Place;
use crate::data::{self, is_name};
use crate::size::parse_size;
use crate::tool;

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

/// Room in a volume whose size nobody has said.
const SIZE: u64 = 8 << 30;
/// What ext4 in a volume has: what the kernel knows, whatever this machine's e2fsprogs would take.
const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,\
    huge_file,dir_nlink,extra_isize,metadata_csum";

fn path(name: &str) -> Result<PathBuf> {
    if !is_name(name) {
        bail!("'{name}' is no name for a volume: letters, digits, '_', '.' and '-'");
    }
    Ok(data::directory("volumes")?.join(format!("{name}.img")))
}

fn create(name: &str, size: u64) -> Result<PathBuf> {
    let path = path(name)?;
    let mkfs = tool::find("mkfs.ext4", "e2fsprogs")?;
    // Under another name until it is whole.
    let made = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(data::directory("volumes")?);
    let made = made.context("cannot create a volume")?;
    made.as_file()
        .set_len(size)
        .with_context(|| format!("cannot make room for volume {name}"))?;
    let mut command = Command::new(mkfs);
    command.args(["-q", "-F", "-m", "0", "-b", "4096", "-O", FEATURES]);
    tool::output(command.arg(made.path())).with_context(|| format!("cannot make volume {name}"))?;
    match made.persist_noclobber(&path) {
        Ok(_) => Ok(path),
        // Somebody else was faster.
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(path),
        Err(error) => Err(error.error).with_context(|| format!("cannot keep volume {name}")),
    }
}

/// A volume for this process alone, as long as the file is open; made if it is not there.
pub(crate) fn take(name: &str) -> Result<(PathBuf, File)> {
    let path = path(name)?;
    if !path.exists() {
        create(name, SIZE)?;
    }
    let file = File::options().read(true).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open volume {name}"))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("volume {name} is in use by another machine");
    }
    Ok((path, file))
}

fn existing(name: &str) -> Result<(PathBuf, File)> {
    if !path(name)?.exists() {
        bail!("there is no volume {name}");
    }
    take(name)
}

/// `elfin volume`; the exit status.
pub(crate) fn run(command: &VolumeCommand) -> Result<u8> {
    let mut out = std::io::stdout();
    match command {
        VolumeCommand::Create { name, size } => {
            if path(name)?.exists() {
                bail!("there is a volume {name} already");
            }
            create(name, size.unwrap_or(SIZE))?;
        }
        VolumeCommand::Ls => {
            let mut names = Vec::new();
            for entry in fs::read_dir(data::directory("volumes")?).context("cannot list volumes")? {
                let name = entry.context("cannot list volumes")?.file_name();
                let name = name.to_str().and_then(|name| name.strip_suffix(".img"));
                names.extend(name.filter(|name| is_name(name)).map(str::to_owned));
            }
            names.sort();
            for name in names {
                writeln!(out, "{name}")?;
            }
        }
        VolumeCommand::Inspect { name } => {
            let path = path(name)?;
            let found =
                fs::metadata(&path).with_context(|| format!("there is no volume {name}"))?;
            writeln!(out, "file: {}", path.display())?;
            writeln!(out, "size: {}", found.len())?;
            writeln!(out, "taken: {}", found.blocks() * 512)?;
        }
        VolumeCommand::Rm { name } => {
            let (path, _lock) = existing(name)?;
            fs::remove_file(path).with_context(|| format!("cannot remove volume {name}"))?;
        }
        VolumeCommand::Cp { from, to } => {
            let done = match (Place::of(from), Place::of(to)) {
                (Place::Volume(name, path), to) => {
                    existing(name).and_then(|(_, file)| cp::out(file, path, &to))
                }
                (from, Place::Volume(name, path)) => {
                    existing(name).and_then(|(_, file)| cp::into(file, &from, path))
                }
                _ => bail!("neither is in a volume: NAME:PATH is"),
            };
            done.with_context(|| format!("cannot copy {from} to {to}"))?;
        }
        VolumeCommand::Fsck { name } => {
            let (path, _lock) = existing(name)?;
            let check = tool::find("e2fsck", "e2fsprogs")?;
            // Whatever it takes: what has lost its name is in lost+found.
            // The host has back what no file takes any more.
            let options = ["-f", "-y", "-E", "discard"];
            let status = Command::new(check).args(options).arg(path).status();
            let status = status.context("cannot start e2fsck")?;
            return Ok(status.code().map_or(crate::FAILED, |code| code as u8));
        }
    }
    Ok(0)
}
