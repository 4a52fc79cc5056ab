//! The machine's network: what QEMU is told, what the kernel is told, and files that programs find names by, as docker
//! writes them.
//!
//! By default QEMU plays a router (`-netdev user`): the machine reaches what this host reaches, and is reached by
//! published ports only. In a named network other machines are reached, too, and the router is joined to the machine by
//! whoever carries frames between them (`network`). Addresses are known beforehand, so nothing in the machine waits for
//! DHCP, unless it is to.

use std::fmt::{self, Write};
use std::net::{AddrParseError, IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Args;

use crate::network::{self, Member, Plugs, Subnet, v6_of};

/// The host name of a machine that is given none and is in no network with others.
const HOSTNAME: &str = "elfin";

/// What `elfin run` is asked for of networks.
#[derive(Args)]
pub(crate) struct NetworkOptions {
    /// The machine's network: none, one behind a router that QEMU plays, or one with other machines by its name
    #[arg(long, value_name = "user|none|NAME", default_value = "user")]
    pub(crate) net: Network,
    /// Let a port of this host lead to one of the machine
    #[arg(short, long, value_name = "[ADDRESS:]HOST:GUEST[/udp]", value_parser = Published::parse)]
    pub(crate) publish: Vec<Published>,
    /// The machine's address in its network (default: 10.0.2.15, or the next); with dhcp it asks QEMU's router
    #[arg(long, value_name = "ADDRESS|dhcp")]
    pub(crate) ip: Option<Ip>,
    /// A server that knows names, for /etc/resolv.conf (default: this host's)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<IpAddr>,
    /// The machine's name, by which others in its network find it (default: elfin, or one made of its address)
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub(crate) hostname: Option<String>,
    /// A line for /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = parse_host)]
    pub(crate) add_host: Vec<(String, IpAddr)>,
}

/// The address that a machine is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ip {
    Address(Ipv4Addr),
    /// Whichever it is given by who plays the router.
    Dhcp,
}

impl FromStr for Ip {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text {
            "dhcp" => Ok(Self::Dhcp),
            text => text.parse().map(Self::Address),
        }
    }
}

/// Which network the machine is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// None but itself.
    None,
    /// One behind a router that QEMU plays.
    User,
    /// One that other machines are in, too.
    Named(String),
}

impl From<String> for Network {
    fn from(name: String) -> Self {
        match name.as_str() {
            "none" => Self::None,
            "user" => Self::User,
            _ => Self::Named(name),
        }
    }
}

/// A port of the machine that is reached by one of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    address: Ipv4Addr,
    host: u16,
    guest: u16,
    udp: bool,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            host,
            guest,
            udp,
        } = self;
        let kind = if *udp { "udp" } else { "tcp" };
        write!(f, "{address}:{host}->{guest}/{kind}")
    }
}

impl Published {
    /// `[ADDRESS:]HOST:GUEST[/tcp|/udp]`.
    pub(crate) fn parse(value: &str) -> Result<Self, String> {
        let (ports, udp) = match value.split_once('/') {
            None | Some((_, "tcp")) => (value.split('/').next().unwrap_or(value), false),
            Some((ports, "udp")) => (ports, true),
            Some((_, other)) => return Err(format!("'{other}' is neither tcp nor udp")),
        };
        let mut parts = ports.rsplitn(3, ':');
        let port = |part: Option<&str>| match part {
            Some(text) => match text.parse() {
                Ok(0) | Err(_) => Err(format!("'{text}' is no port")),
                Ok(port) => Ok(port),
            },
            None => Err("expected [ADDRESS:]HOST:GUEST".to_owned()),
        };
        let guest = port(parts.next())?;
        let host = port(parts.next())?;
        let address = match parts.next() {
            None => Ipv4Addr::UNSPECIFIED,
            Some(text) => text
                .parse()
                .map_err(|_| format!("'{text}' is no IPv4 address"))?,
        };
        Ok(Self {
            address,
            host,
            guest,
            udp,
        })
    }

    /// Whether the port is free now. QEMU says so, too, less clearly.
    fn check(self) -> Result<()> {
        let at = SocketAddrV4::new(self.address, self.host);
        let bound = if self.udp {
            UdpSocket::bind(at).map(drop)
        } else {
            TcpListener::bind(at).map(drop)
        };
        match bound {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                bail!("port {} of this host is taken already", self.host)
            }
            Err(error) => bail!("cannot publish on {at}: {error}"),
        }
    }
}

/// Parses `NAME:ADDRESS`.
pub(crate) fn parse_host(value: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = value.split_once(':').ok_or("expected NAME:ADDRESS")?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(format!("'{name}' is no name of a host"));
    }
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let address = bare
        .parse()
        .map_err(|_| format!("'{address}' is no IP address"))?;
    Ok((name.to_owned(), address))
}

/// Parses a host name, as sethostname(2) and hosts(5) take it.
pub(crate) fn parse_name(value: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if value.is_empty() || value.len() > 64 || !value.chars().all(good) {
        return Err("a host name has at most 64 letters, digits, dots and hyphens".to_owned());
    }
    Ok(value.to_owned())
}

/// How a machine is joined to others.
#[derive(Debug)]
enum Link {
    /// By QEMU's router only.
    User(Subnet),
    /// By us, and by the router if the sockets say so.
    Named(Member, Plugs),
}

/// The network of one machine.
#[derive(Debug)]
pub(super) struct Net {
    /// Its address, if it is in a network, and how it is.
    link: Option<(Ipv4Addr, Link)>,
    /// It asks for the address.
    dhcp: bool,
    published: Vec<Published>,
    hostname: String,
    hosts: Vec<(String, IpAddr)>,
    resolvers: Vec<IpAddr>,
}

impl Net {
    /// No network at all.
    #[cfg(test)]
    pub(super) fn alone() -> Self {
        Self {
            link: None,
            dhcp: false,
            published: Vec::new(),
            hostname: HOSTNAME.to_owned(),
            hosts: Vec::new(),
            resolvers: Vec::new(),
        }
    }

    /// What the options ask for; an error if they contradict each other, a port is taken, or the network does not take
    /// the machine.
    pub(super) fn new(options: &NetworkOptions, is_dry: bool) -> Result<Self> {
        if !is_dry {
            options
                .publish
                .iter()
                .try_for_each(|published| published.check())?;
        }
        let mut hostname = options.hostname.clone();
        let link = match &options.net {
            Network::None if !options.publish.is_empty() => {
                bail!("--net none and -p exclude each other")
            }
            Network::None if options.ip.is_some() => {
                bail!("--net none and --ip exclude each other")
            }
            Network::None => None,
            Network::User => {
                let subnet = Subnet::DEFAULT;
                let address = match options.ip {
                    Some(Ip::Address(address)) => Some(address),
                    // The router gives the first one to who asks first.
                    Some(Ip::Dhcp) | None => subnet.machines().next(),
                };
                if let Some(wrong) = address.filter(|&address| !subnet.has(address)) {
                    bail!(
                        "--ip {wrong}: the network is {subnet}, of which {} are free",
                        subnet.range()
                    );
                }
                address.map(|address| (address, Link::User(subnet)))
            }
            Network::Named(name) if is_dry => {
                bail!(
                    "--net {name} and --dry-run exclude each other: QEMU alone is in no such network"
                )
            }
            Network::Named(name) => {
                let address = match options.ip {
                    Some(Ip::Address(address)) => Some(address),
                    Some(Ip::Dhcp) => {
                        bail!("network {name} has no DHCP: it gives addresses without")
                    }
                    None => None,
                };
                let member = network::join(name, hostname.as_deref(), address)?;
                if member.settings.internal && !options.publish.is_empty() {
                    bail!("network {name} is internal: nothing leads into it, so -p cannot");
                }
                hostname = Some(member.name.clone());
                let plugs = member.plug_in()?;
                Some((member.address, Link::Named(member, plugs)))
            }
        };
        let subnet = link.as_ref().map(|(_, link)| link.subnet());
        Ok(Self {
            dhcp: options.ip == Some(Ip::Dhcp),
            published: options.publish.clone(),
            hostname: hostname.unwrap_or_else(|| HOSTNAME.to_owned()),
            hosts: options.add_host.clone(),
            resolvers: match subnet {
                Some(subnet) if options.dns.is_empty() => vec![subnet.resolver().into()],
                _ => options.dns.clone(),
            },
            link,
        })
    }

    /// QEMU's options by which there is a network, if there is one.
    pub(super) fn arguments(&self) -> Vec<[String; 2]> {
        let option = |name: &str, value: String| [format!("-{name}"), value];
        // Without the program for booting over the network, which QEMU would load.
        let device = "virtio-net-pci,netdev=net,romfile=";
        match &self.link {
            None => Vec::new(),
            Some((address, Link::User(subnet))) => vec![
                option("netdev", self.router("net", *subnet, *address)),
                option("device", device.to_owned()),
            ],
            Some((address, Link::Named(member, plugs))) => {
                let socket = |id: &str, fd: &OwnedFd| {
                    let fd = fd.as_raw_fd();
                    option(
                        "netdev",
                        format!("dgram,id={id},local.type=fd,local.str={fd}"),
                    )
                };
                let mac = network::mac_of(*address);
                let mut list = vec![
                    socket("net", &plugs.machine),
                    option("device", format!("{device},mac={mac}")),
                ];
                if let Some(fd) = &plugs.router {
                    let subnet = member.settings.subnet;
                    list.push(option("netdev", self.router("router", subnet, *address)));
                    list.push(socket("uplink", fd));
                    for end in ["router", "uplink"] {
                        let port = format!("hubport,id={end}-port,hubid=0,netdev={end}");
                        list.push(option("netdev", port));
                    }
                }
                list
            }
        }
    }

    /// QEMU's router, with the ports that it passes on to the machine.
    fn router(&self, id: &str, subnet: Subnet, machine: Ipv4Addr) -> String {
        let (host, dns) = (subnet.router(), subnet.resolver());
        // What goes out of a named network is of IPv4 only.
        let ipv6 = match self.link {
            Some((_, Link::User(_))) => "ipv6-net=fec0::/64",
            _ => "ipv6=off",
        };
        let mut netdev =
            format!("user,id={id},{ipv6},net={subnet},host={host},dns={dns},dhcpstart={machine}");
        for Published {
            address,
            host,
            guest,
            udp,
        } in &self.published
        {
            let protocol = if *udp { "udp" } else { "tcp" };
            // Writing to a string cannot fail.
            let _ = write!(
                netdev,
                ",hostfwd={protocol}:{address}:{host}-{machine}:{guest}"
            );
        }
        netdev
    }

    /// What QEMU is to inherit.
    pub(super) fn inherited(&self) -> Vec<&OwnedFd> {
        match &self.link {
            Some((_, Link::Named(_, plugs))) => std::iter::once(&plugs.machine)
                .chain(&plugs.router)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Records for the kernel (docs/architecture.md).
    pub(super) fn records(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut records = vec![("hostname", self.hostname.clone().into_bytes())];
        if let Some((address, link)) = &self.link {
            let subnet = link.subnet();
            if self.dhcp {
                records.push(("dhcp", b"1".to_vec()));
            } else {
                let own = format!("{address}/{}", subnet.bits());
                records.push(("address", own.into_bytes()));
            }
            if !link.is_internal() && !self.dhcp {
                records.push(("gateway", subnet.router().to_string().into_bytes()));
            }
            if let Link::User(_) = link {
                records.push(("address", b"fec0::15/64".to_vec()));
                records.push(("gateway", b"fec0::2".to_vec()));
            } else if link.has_ipv6() {
                let own = format!("{}/{}", v6_of(*address), Subnet::V6_BITS);
                records.push(("address", own.into_bytes()));
            }
        }
        let mut file = |path: &str, content: &str| {
            records.push(("file", format!("{path}\n{content}").into_bytes()));
        };
        file("/etc/hostname", &format!("{}\n", self.hostname));
        file("/etc/hosts", &self.hosts_file());
        if !self.resolvers.is_empty() {
            let lines = self.resolvers.iter().map(|ip| format!("nameserver {ip}\n"));
            file("/etc/resolv.conf", &lines.collect::<String>());
        }
        records
    }

    fn hosts_file(&self) -> String {
        let mut text =
            String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        for (name, address) in &self.hosts {
            let _ = writeln!(text, "{address}\t{name}");
        }
        let own = self.link.as_ref().map(|(address, _)| *address);
        let own = own.unwrap_or(Ipv4Addr::LOCALHOST);
        let _ = writeln!(text, "{own}\t{}", self.hostname);
        if self.link.as_ref().is_some_and(|(_, link)| link.has_ipv6()) {
            let _ = writeln!(text, "{}\t{}", v6_of(own), self.hostname);
        }
        text
    }
}

impl Link {
    fn subnet(&self) -> Subnet {
        match self {
            Self::User(subnet) => *subnet,
            Self::Named(member, _) => member.settings.subnet,
        }
    }

    fn is_internal(&self) -> bool {
        matches!(self, Self::Named(member, _) if member.settings.internal)
    }

    /// Whether machines of the network have addresses of IPv6 for each other.
    fn has_ipv6(&self) -> bool {
        matches!(self, Self::Named(member, _) if member.settings.ipv6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports() {
        let parse =
            |text| Published::parse(text).map(|p| (p.address.to_string(), p.host, p.guest, p.udp));
        assert_eq!(parse("8080:80"), Ok(("0.0.0.0".into(), 8080, 80, false)));
        assert_eq!(
            parse("127.0.0.1:5353:53/udp"),
            Ok(("127.0.0.1".into(), 5353, 53, true))
        );
        assert_eq!(parse("1:2/tcp"), Ok(("0.0.0.0".into(), 1, 2, false)));
        for bad in [
            "80",
            "a:80",
            "80:0",
            "70000:1",
            "1:2/sctp",
            "::1:80:80",
            "",
            "1:2:3:4",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_hosts() {
        assert_eq!(
            parse_host("db:1.2.3.4"),
            Ok(("db".into(), "1.2.3.4".parse().unwrap()))
        );
        assert_eq!(parse_host("db:[::1]"), parse_host("db:::1"));
        assert!(parse_host("db").is_err() && parse_host(":1.2.3.4").is_err());
        assert!(
            parse_name("a-b.c").is_ok() && parse_name("a b").is_err() && parse_name("").is_err()
        );
    }

    #[test]
    fn the_machine_finds_its_names() {
        let net = Net {
            link: Some((Ipv4Addr::new(10, 0, 2, 15), Link::User(Subnet::DEFAULT))),
            dhcp: false,
            published: vec![Published::parse("1:2").unwrap()],
            hostname: "web".into(),
            hosts: vec![("db".into(), "1.2.3.4".parse().unwrap())],
            resolvers: vec![Subnet::DEFAULT.resolver().into()],
        };
        let text = net.hosts_file();
        assert!(text.ends_with("1.2.3.4\tdb\n10.0.2.15\tweb\n"), "{text}");
        let [_, netdev] = &net.arguments()[0];
        assert!(
            netdev.ends_with(",hostfwd=tcp:0.0.0.0:1-10.0.2.15:2"),
            "{netdev}"
        );
        assert!(
            net.records()
                .iter()
                .any(|(key, value)| *key == "file" && value.starts_with(b"/etc/resolv.conf\n"))
        );
    }

    #[test]
    fn a_port_that_is_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let published = Published::parse(&format!("127.0.0.1:{port}:80")).unwrap();
        let error = published.check().unwrap_err().to_string();
        assert_eq!(error, format!("port {port} of this host is taken already"));
    }
}
