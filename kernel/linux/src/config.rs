//! The boot configuration: NUL-terminated `key=value` records in the PVH module (see docs/architecture.md).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use log::LevelFilter;
use spin::Once;

/// What `elfin run` asks for.
#[derive(Debug, Default, Clone)]
pub struct Config {
    /// Program and arguments, program first.
    pub args: Vec<Vec<u8>>,
    /// `K=V` strings.
    pub env: Vec<Vec<u8>>,
    /// Whom it starts as, `USER[:GROUP]`: root if empty.
    pub user: String,
    /// Initial working directory.
    pub cwd: Vec<u8>,
    /// Log level.
    pub log: Option<LevelFilter>,
    /// Trace system calls.
    pub trace: bool,
    /// Record what happens when.
    pub record: bool,
    /// Elfin tells what time it is when it is asked on the control port.
    pub clock: bool,
    /// Say on the control port when the program runs.
    pub report: bool,
    /// Nanoseconds between two samples of a profile.
    pub sample: Option<u64>,
    /// Which of descriptors 0, 1, 2 are terminals.
    pub tty: [bool; 3],
    /// The console is a terminal of its own: the host's passes everything on.
    pub terminal: bool,
    /// Of a program that `elfin exec` starts: nobody waits for it once it runs.
    pub detached: bool,
    /// Rows and columns of the terminal.
    pub winsize: Option<(u16, u16)>,
    /// uname's node name.
    pub hostname: String,
    /// Ticks of the host's time-stamp counter a second.
    pub tsc: Option<u64>,
    /// What is mounted besides the root, in order.
    pub mounts: Vec<MountWish>,
    /// Nothing on the root can be changed.
    pub read_only: bool,
    /// Addresses of the Ethernet device, with the lengths of their networks' prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The device asks the network for an address of IPv4.
    pub dhcp: bool,
    /// Who passes on what is for other networks.
    pub gateways: Vec<IpAddr>,
    /// Files that are written before the program starts: absolute path, content.
    pub files: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A mount that `elfin run` asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MountWish {
    /// Type of the file system.
    pub kind: String,
    /// Which device has it.
    pub source: String,
    /// Options as of mount(8), separated by commas.
    pub options: String,
    /// Absolute path.
    pub path: Vec<u8>,
}

impl MountWish {
    /// From `TYPE:SOURCE:OPTIONS:PATH`; only the path may have more colons.
    fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.splitn(4, |&byte| byte == b':');
        let mut text = || Some(core::str::from_utf8(parts.next()?).ok()?.into());
        Some(Self {
            kind: text()?,
            source: text()?,
            options: text()?,
            path: parts.next().filter(|path| path.starts_with(b"/"))?.to_vec(),
        })
    }
}

/// The configuration, and what is looked at so often that it has to be there at once.
struct Boot {
    config: Once<Config>,
    /// How many want to know of system calls.
    watchers: AtomicUsize,
}

static BOOT: Boot = Boot {
    config: Once::new(),
    watchers: AtomicUsize::new(0),
};

/// Whether system calls are not just to be made: they are shown, or recorded, or there are threads that are traced.
#[inline]
pub fn watches_calls() -> bool {
    BOOT.watchers.load(Ordering::Relaxed) != 0
}

/// Somebody wants to know of system calls from now on.
pub fn watch_calls() {
    BOOT.watchers.fetch_add(1, Ordering::Relaxed);
}

/// Somebody does not any more.
pub fn unwatch_calls() {
    BOOT.watchers.fetch_sub(1, Ordering::Relaxed);
}

/// The configuration of this boot.
pub fn get() -> &'static Config {
    BOOT.config.call_once(|| parse(&[]))
}

/// Takes the records. Once, before the first [`get`].
pub fn set(records: &[u8]) {
    let config = BOOT.config.call_once(|| parse(records));
    if config.trace || config.record {
        watch_calls();
    }
}

/// From `ADDRESS/BITS`.
fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, len) = text.split_once('/')?;
    Some((ip.parse().ok()?, len.parse().ok()?))
}

/// Out of records. Unknown keys are left alone: a newer `elfin` may know more.
pub(crate) fn parse(records: &[u8]) -> Config {
    let mut config = Config::default();
    for record in records.split(|&byte| byte == 0) {
        let Some(equals) = record.iter().position(|&byte| byte == b'=') else {
            continue;
        };
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let text = core::str::from_utf8(value).unwrap_or("");
        match key {
            b"arg" => config.args.push(value.to_vec()),
            b"env" => config.env.push(value.to_vec()),
            b"user" => config.user = text.into(),
            b"cwd" => config.cwd = value.to_vec(),
            b"log" => config.log = text.parse().ok(),
            b"trace" => config.trace = text == "1",
            b"clock" => config.clock = text == "1",
            b"report" => config.report = text == "1",
            b"record" => config.record = text == "1",
            b"sample" => config.sample = text.parse().ok(),
            b"tty" => {
                for stream in text.split(',').filter_map(|stream| stream.parse().ok()) {
                    if let Some(tty) = config.tty.get_mut::<usize>(stream) {
                        *tty = true;
                    }
                }
            }
            b"terminal" => config.terminal = text == "1",
            b"detached" => config.detached = text == "1",
            b"winsize" => {
                config.winsize = text
                    .split_once('x')
                    .and_then(|(rows, columns)| Some((rows.parse().ok()?, columns.parse().ok()?)));
            }
            b"dhcp" => config.dhcp = text == "1",
            b"address" => config.addresses.extend(prefix(text)),
            b"gateway" => config.gateways.extend(text.parse::<IpAddr>()),
            b"file" => {
                if let Some(end) = value.iter().position(|&byte| byte == b'\n') {
                    let (path, content) = (&value[..end], &value[end + 1..]);
                    config.files.push((path.to_vec(), content.to_vec()));
                }
            }
            b"hostname" => config.hostname = text.into(),
            b"mount" => config.mounts.extend(MountWish::parse(value)),
            b"readonly" => config.read_only = text == "1",
            b"tsc" => config.tsc = text.parse().ok(),
            _ => {}
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network() {
        let config = parse(
            b"address=10.0.2.15/24\0address=bad\0gateway=10.0.2.2\0gateway=?\0\
              file=/etc/hosts\n::1 a\n1.2.3.4 b\n\0file=/x\0",
        );
        assert_eq!(config.addresses, [("10.0.2.15".parse().unwrap(), 24)]);
        assert_eq!(config.gateways, ["10.0.2.2".parse::<IpAddr>().unwrap()]);
        let hosts = (b"/etc/hosts".to_vec(), b"::1 a\n1.2.3.4 b\n".to_vec());
        assert_eq!(config.files, [hosts]);
    }

    #[test]
    fn records() {
        let config = parse(
            b"arg=/bin/a\0arg=x=y\0arg=\0env=K=V\0cwd=/tmp\0log=debug\0trace=1\0tty=1,2,9\0winsize=24x80\0later=1\0\
              tsc=23\0mount=tmpfs::size=1M:/a:b\0mount=tmpfs:::b\0readonly=1\0",
        );
        assert_eq!(config.args, [&b"/bin/a"[..], b"x=y", b""]);
        assert_eq!(config.env, [b"K=V"]);
        assert_eq!(config.cwd, b"/tmp");
        assert_eq!(config.log, Some(LevelFilter::Debug));
        assert!(config.trace);
        assert_eq!(config.tty, [false, true, true]);
        assert_eq!(config.winsize, Some((24, 80)));
        let mounts: Vec<_> = config.mounts.iter().map(|one| &one.path[..]).collect();
        assert_eq!(
            (mounts, config.read_only),
            (alloc::vec![&b"/a:b"[..]], true)
        );
        assert_eq!(config.mounts[0].options, "size=1M");
        assert_eq!(config.tsc, Some(23));
    }
}
