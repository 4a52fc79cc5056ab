//! Networks by name, which machines of this host share: `elfin net`, and what `elfin run --net NAME` needs of it.
//!
//! A network is a directory. Each machine in it has a socket there, named by its address, that frames for it are sent
//! to (`port`); names of machines are symbolic links beside them. There is no process for it: whoever runs a machine
//! carries its frames, so a network is there from `create` to `rm`, and who fails takes nobody along.

mod dns;
mod frame;
mod port;
mod roster;
mod settings;
mod subnet;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

pub(crate) use self::frame::mac_of;
pub(crate) use self::port::Plugs;
pub(crate) use self::roster::Member;
use self::roster::Roster;
use self::settings::{Settings, Wire};
pub(crate) use self::subnet::{Subnet, v6_of};
use crate::data;

/// What `elfin net` does.
#[derive(Subcommand)]
pub(crate) enum NetCommand {
    /// Make a network, which machines are in with `elfin run --net NAME`
    Create {
        /// Its name
        name: String,
        /// Its addresses
        #[arg(long, value_name = "ADDRESS/BITS", default_value_t = Subnet::DEFAULT)]
        subnet: Subnet,
        /// Let machines reach nothing but each other
        #[arg(long)]
        internal: bool,
        /// Give machines IPv6 addresses, too
        #[arg(long)]
        ipv6: bool,
        /// Lose so many of a hundred frames between machines, to see what programs make of it
        #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = Wire::parse_loss)]
        loss: f64,
        /// Let frames between machines take so long
        #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
        delay: u32,
    },
    /// List all networks
    Ls,
    /// Say who is in a network
    Inspect {
        /// Its name
        name: String,
    },
    /// Remove a network that no machine is in
    Rm {
        /// Its name
        name: String,
    },
}

const SETTINGS: &str = "settings";

/// A network that may be there.
struct Network {
    name: String,
    dir: PathBuf,
}

impl Network {
    fn named(name: &str) -> Result<Self> {
        if matches!(name, "none" | "user" | "host" | "bridge") {
            bail!("'{name}' is no name for a network: it has a meaning");
        }
        if !data::is_name(name) {
            bail!("'{name}' is no name for a network: letters, digits, '_', '.' and '-'");
        }
        Ok(Self {
            name: name.to_owned(),
            dir: data::directory("networks")?.join(name),
        })
    }

    fn settings(&self) -> Result<Settings> {
        let name = &self.name;
        let text = match fs::read_to_string(self.dir.join(SETTINGS)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("there is no network {name}; `elfin net create {name}` makes it")
            }
            text => text.with_context(|| format!("cannot read what network {name} is"))?,
        };
        Settings::from_text(&text).with_context(|| format!("what network {name} is, is damaged"))
    }

    fn create(&self, settings: Settings) -> Result<()> {
        // Under another name until it is whole. What is sent there is its owner's business.
        let made = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(data::directory("networks")?)
            .context("cannot create a network")?;
        fs::write(made.path().join(SETTINGS), settings.to_text())
            .and_then(|()| Roster::prepare(made.path()))
            .context("cannot create a network")?;
        if self.dir.exists() {
            bail!("there is a network {} already", self.name);
        }
        // It fails where a network is that somebody else has just made: its directory is not empty.
        fs::rename(made.path(), &self.dir)
            .with_context(|| format!("cannot create network {}", self.name))?;
        // It has gone where it belongs.
        let _ = made.keep();
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        self.settings()?;
        let roster = Roster::open(&self.dir)?;
        let _lock = roster.lock()?;
        if let Some((address, name)) = roster.machines()?.into_iter().next() {
            let name = name.unwrap_or_else(|| address.to_string());
            bail!("network {} is in use by {name}", self.name);
        }
        fs::remove_dir_all(&self.dir)
            .with_context(|| format!("cannot remove network {}", self.name))
    }
}

/// Puts a machine into the network `name`: with the host name and the address that it wants, if it wants some.
pub(crate) fn join(
    name: &str,
    hostname: Option<&str>,
    address: Option<std::net::Ipv4Addr>,
) -> Result<Member> {
    let network = Network::named(name)?;
    // Before the lock, which needs the directory, and after it: it may have been removed meanwhile.
    network.settings()?;
    let roster = Roster::open(&network.dir)?;
    let _lock = roster.lock()?;
    let settings = network.settings()?;
    roster
        .join(settings, hostname, address)
        .with_context(|| format!("network {name}"))
}

/// `elfin net`; the exit status.
pub(crate) fn run(command: &NetCommand) -> Result<u8> {
    let mut out = std::io::stdout();
    match command {
        NetCommand::Create {
            name,
            subnet,
            internal,
            ipv6,
            loss,
            delay,
        } => Network::named(name)?.create(Settings {
            subnet: *subnet,
            internal: *internal,
            ipv6: *ipv6,
            wire: Wire {
                loss: *loss,
                delay: *delay,
            },
        })?,
        NetCommand::Ls => {
            let mut names = Vec::new();
            for entry in
                fs::read_dir(data::directory("networks")?).context("cannot list networks")?
            {
                let name = entry.context("cannot list networks")?.file_name();
                let name = name.to_str().filter(|name| data::is_name(name));
                names.extend(name.map(str::to_owned));
            }
            names.sort();
            for name in names {
                writeln!(out, "{name}")?;
            }
        }
        NetCommand::Inspect { name } => {
            let network = Network::named(name)?;
            let settings = network.settings()?;
            writeln!(out, "subnet: {}", settings.subnet)?;
            writeln!(out, "internal: {}", settings.internal)?;
            if settings.ipv6 {
                writeln!(out, "ipv6: {}/{}", v6_of(0.into()), Subnet::V6_BITS)?;
            }
            if settings.wire != Wire::default() {
                let Wire { loss, delay } = settings.wire;
                writeln!(out, "wire: loses {loss} %, takes {delay} ms")?;
            }
            let roster = Roster::open(&network.dir)?;
            for (address, name) in roster.machines()? {
                writeln!(out, "machine: {address} {}", name.unwrap_or_default())?;
            }
        }
        NetCommand::Rm { name } => Network::named(name)?.remove()?,
    }
    Ok(0)
}
