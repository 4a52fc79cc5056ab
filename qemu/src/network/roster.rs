//! Who is in a network: a socket for each machine, named by its address, and links from host names to addresses.
//!
//! A machine is there as long as its socket can be reached, so what a machine leaves behind that was killed counts for
//! nothing, and goes when the next one comes.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::settings::Settings;

const MACHINES: &str = "machines";
const NAMES: &str = "names";

/// The machines of a network.
#[derive(Debug)]
pub(super) struct Roster {
    dir: PathBuf,
    /// Where the sockets are. Their paths go through this descriptor: addresses of sockets have little room.
    sockets: File,
}

impl Roster {
    /// Makes what a new network needs in its directory.
    pub(super) fn prepare(dir: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(dir.join(MACHINES))?;
        fs::create_dir(dir.join(NAMES))
    }

    pub(super) fn open(dir: &Path) -> Result<Self> {
        let sockets = File::open(dir.join(MACHINES))
            .with_context(|| format!("cannot open {}", dir.display()))?;
        Ok(Self {
            dir: dir.to_owned(),
            sockets,
        })
    }

    /// Keeps others from coming, and the network from being removed, as long as the file is open.
    pub(super) fn lock(&self) -> Result<File> {
        let file = File::open(&self.dir).context("cannot open a network")?;
        flock(&file, FlockOperation::LockExclusive).context("cannot lock a network")?;
        Ok(file)
    }

    fn socket(&self, address: Ipv4Addr) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{address}",
            self.sockets.as_raw_fd()
        ))
    }

    /// A socket that sends to a machine; an error if it is not there.
    pub(super) fn reach(&self, address: Ipv4Addr) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(self.socket(address))?;
        Ok(socket)
    }

    /// The addresses of sockets that are there, if only by name.
    pub(super) fn addresses(&self) -> io::Result<Vec<Ipv4Addr>> {
        let entries = fs::read_dir(self.dir.join(MACHINES))?;
        let address =
            |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        Ok(entries.filter_map(address).collect())
    }

    /// Names and whose they are, if only by name.
    fn names(&self) -> io::Result<Vec<(String, Ipv4Addr)>> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let address = fs::read_link(entry.path()).ok()?;
            Some((
                entry.file_name().into_string().ok()?,
                address.to_str()?.parse().ok()?,
            ))
        };
        Ok(fs::read_dir(self.dir.join(NAMES))?
            .filter_map(entry)
            .collect())
    }

    /// The machine of that name.
    pub(super) fn address_of(&self, name: &str) -> Option<Ipv4Addr> {
        let link = fs::read_link(self.dir.join(NAMES).join(name.to_ascii_lowercase())).ok()?;
        let address = link.to_str()?.parse().ok()?;
        self.reach(address).is_ok().then_some(address)
    }

    /// The name of the machine at that address.
    pub(super) fn name_of(&self, address: Ipv4Addr) -> Option<String> {
        self.reach(address).ok()?;
        let (name, _) = self
            .names()
            .ok()?
            .into_iter()
            .find(|(_, own)| *own == address)?;
        Some(name)
    }

    /// The machines that are there, by address, with their names.
    pub(super) fn machines(&self) -> Result<BTreeMap<Ipv4Addr, Option<String>>> {
        let mut machines = BTreeMap::new();
        for address in self.addresses().context("cannot list machines")? {
            if self.reach(address).is_ok() {
                machines.insert(address, self.name_of(address));
            }
        }
        Ok(machines)
    }

    /// Removes what machines have left that were killed. The lock is held.
    fn sweep(&self) -> Result<()> {
        for address in self.addresses().context("cannot list machines")? {
            if self.reach(address).is_err() {
                fs::remove_file(self.socket(address)).context("cannot remove a socket")?;
            }
        }
        for (name, address) in self.names().context("cannot list names")? {
            if self.reach(address).is_err() {
                fs::remove_file(self.dir.join(NAMES).join(name)).context("cannot remove a name")?;
            }
        }
        Ok(())
    }

    /// Adds a machine. The lock is held.
    pub(super) fn join(
        self,
        settings: Settings,
        name: Option<&str>,
        address: Option<Ipv4Addr>,
    ) -> Result<Member> {
        self.sweep()?;
        let machines = self.machines()?;
        let subnet = settings.subnet;
        let address = match address {
            Some(address) if !subnet.has(address) => {
                bail!(
                    "{address} is no address of a machine: they are {}",
                    subnet.range()
                )
            }
            Some(address) => match machines.get(&address) {
                Some(other) => {
                    bail!(
                        "{} has {address} already",
                        other.as_deref().unwrap_or("a machine")
                    )
                }
                None => address,
            },
            None => {
                let mut free = subnet.machines().filter(|one| !machines.contains_key(one));
                free.next().context("all addresses are taken")?
            }
        };
        let name = match name {
            Some(name) => name.to_owned(),
            // As long as others find it by nothing else, it is named so that they can.
            None => format!("elfin-{}", address.to_string().replace('.', "-")),
        };
        let link = self.dir.join(NAMES).join(name.to_ascii_lowercase());
        if let Err(error) = symlink(address.to_string(), &link) {
            if error.kind() == io::ErrorKind::AlreadyExists {
                bail!("there is a machine {name} already");
            }
            return Err(error).with_context(|| format!("cannot enter {}", link.display()));
        }
        let mut member = Member {
            roster: Arc::new(self),
            settings,
            address,
            name,
            link,
            inbox: None,
        };
        let inbox = UnixDatagram::bind(member.roster.socket(address));
        member.inbox = Some(inbox.context("cannot make a socket")?);
        Ok(member)
    }
}

/// A machine in a network, until it is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) roster: Arc<Roster>,
    pub(crate) settings: Settings,
    pub(crate) address: Ipv4Addr,
    pub(crate) name: String,
    link: PathBuf,
    /// Where frames for it come in.
    pub(super) inbox: Option<UnixDatagram>,
}

impl Drop for Member {
    fn drop(&mut self) {
        // What cannot be removed, whoever comes next removes.
        let _ = fs::remove_file(&self.link);
        if self.inbox.is_some() {
            let _ = fs::remove_file(self.roster.socket(self.address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::settings::Wire;
    use crate::network::subnet::Subnet;

    const SETTINGS: Settings = Settings {
        subnet: Subnet::DEFAULT,
        internal: false,
        ipv6: false,
        wire: Wire {
            loss: 0.0,
            delay: 0,
        },
    };

    fn join(dir: &Path, name: Option<&str>, address: Option<Ipv4Addr>) -> Result<Member> {
        let roster = Roster::open(dir)?;
        let _lock = roster.lock()?;
        roster.join(SETTINGS, name, address)
    }

    #[test]
    fn machines_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        Roster::prepare(dir.path()).unwrap();
        let roster = Roster::open(dir.path()).unwrap();
        let db = join(dir.path(), Some("DB"), None).unwrap();
        let other = join(dir.path(), None, None).unwrap();
        let last = Ipv4Addr::new(10, 0, 2, 254);
        let fixed = join(dir.path(), None, Some(last)).unwrap();
        assert_eq!(other.name, "elfin-10-0-2-16");
        assert_eq!(roster.address_of("db"), Some(Ipv4Addr::new(10, 0, 2, 15)));
        assert_eq!(roster.name_of(db.address).as_deref(), Some("db"));
        assert_eq!(roster.machines().unwrap().len(), 3);
        let refused = |name, address| join(dir.path(), name, address).unwrap_err().to_string();
        assert_eq!(refused(Some("db"), None), "there is a machine db already");
        assert!(refused(None, Some(last)).contains("has 10.0.2.254 already"));
        assert!(refused(None, Some(Ipv4Addr::new(10, 0, 2, 2))).contains("10.0.2.4 to 10.0.2.254"));
        drop((other, fixed));
        drop(db);
        assert!(roster.address_of("db").is_none());
        assert!(roster.addresses().unwrap().is_empty() && roster.names().unwrap().is_empty());
    }

    #[test]
    fn who_was_killed_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        Roster::prepare(dir.path()).unwrap();
        let mut killed = join(dir.path(), Some("a"), None).unwrap();
        killed.inbox = None;
        // As if it were not dropped.
        std::mem::forget(killed);
        let roster = Roster::open(dir.path()).unwrap();
        assert!(roster.machines().unwrap().is_empty() && roster.address_of("a").is_none());
        let next = join(dir.path(), Some("a"), None).unwrap();
        assert_eq!(next.address, Ipv4Addr::new(10, 0, 2, 15));
    }
}
