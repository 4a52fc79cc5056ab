//! rtnetlink(7): dumps of interfaces, addresses, routes, neighbours and rules, and the way to one address. Nothing can
//! be changed.
use super::message::{DUMP, MULTI, Message, Request, attributes};
use crate::net::{
    interface::{self, Interface},
    stack,
};
use abi::Errno;
use alloc::{vec, vec::Vec};
use core::net::IpAddr;

const IFA_F_PERMANENT: u8 = 0x80;
/// `RT_SCOPE_*`
const SITE: u8 = 200;
const LINK: u8 = 253;
const HOST: u8 = 254;
/// Interfaces by their index.
const LOOPBACK: u32 = 1;
const ETHERNET: u32 = 2;

/// What a request is answered with; its error, which may be none.
pub(super) fn answer(request: &Request<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    if request.flags & DUMP == DUMP
        && let Some(found) = dump(request)
    {
        return Ok(found);
    }
    match request.kind {
        // RTM_GETLINK
        18 => {
            let one = wanted_link(request.body).ok_or(Errno::ENODEV)?;
            Ok(vec![link(&one, request.message(16, 0))])
        }
        // RTM_GETROUTE
        26 => match request.body.get(12..).and_then(wanted_route) {
            Some(to) => Ok(vec![way(to, request.message(24, 0))?]),
            None => Err(Errno::EINVAL),
        },
        kind if kind % 4 == 2 => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EPERM),
    }
}

/// How far an address of an interface means something.
fn scope(ip: IpAddr) -> u8 {
    match ip {
        ip if ip.is_loopback() => HOST,
        ip if interface::is_near(ip) => LINK,
        ip if interface::is_site_local(ip) => SITE,
        _ => 0,
    }
}

fn link(one: &Interface, mut message: Message) -> Vec<u8> {
    message
        .put(&[0, 0])
        .put(&one.hardware.to_le_bytes())
        .put(&one.index.to_le_bytes())
        .put(&one.flags.to_le_bytes())
        .put(&[0; 4]);
    let loopback = one.is_loopback();
    let broadcast = if loopback { [0; 6] } else { [0xff; 6] };
    let state = if loopback { 0 } else { 6 };
    let queueing: &[u8] = if loopback {
        b"noqueue\0"
    } else {
        b"pfifo_fast\0"
    };
    let [received, received_bytes, sent, sent_bytes] = one.counters;
    // `struct rtnl_link_stats64`, and the same with halves.
    let counts = [received, sent, received_bytes, sent_bytes];
    let mut stats64 = [0; 24 * 8];
    let mut stats = [0; 24 * 4];
    for (at, count) in counts.into_iter().enumerate() {
        stats64[at * 8..at * 8 + 8].copy_from_slice(&count.to_le_bytes());
        stats[at * 4..at * 4 + 4].copy_from_slice(&count.to_le_bytes()[..4]);
    }
    message
        .attribute(3, &[one.name.as_bytes(), &[0]].concat()) // IFLA_IFNAME
        .attribute(13, &1000_u32.to_le_bytes()) // IFLA_TXQLEN
        .attribute(16, &[state]) // IFLA_OPERSTATE
        .attribute(6, queueing) // IFLA_QDISC
        .attribute(27, &[0; 4]) // IFLA_GROUP
        .attribute(30, &[0; 4]) // IFLA_PROMISCUITY
        .attribute(31, &1_u32.to_le_bytes()) // IFLA_NUM_TX_QUEUES
        .attribute(32, &1_u32.to_le_bytes()) // IFLA_NUM_RX_QUEUES
        .attribute(33, &[1]) // IFLA_CARRIER
        .attribute(17, &[0]) // IFLA_LINKMODE
        .attribute(4, &one.mtu.to_le_bytes()) // IFLA_MTU
        .attribute(1, &one.mac) // IFLA_ADDRESS
        .attribute(2, &broadcast) // IFLA_BROADCAST
        .attribute(23, &stats64) // IFLA_STATS64
        .attribute(7, &stats); // IFLA_STATS
    message.finish()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn family_of(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 2 } else { 10 }
}

/// Messages of a dump; `None` for what there is no dump of.
fn dump(request: &Request<'_>) -> Option<Vec<Vec<u8>>> {
    let message = |kind| request.message(kind, MULTI);
    let wanted = request.body.first().copied().unwrap_or(0);
    let of_family = |ip: IpAddr| wanted == 0 || wanted == family_of(ip);
    let all = interface::all();
    let mut found = Vec::new();
    match request.kind {
        // RTM_GETLINK, answered by RTM_NEWLINK
        18 => found.extend(all.iter().map(|one| link(one, message(16)))),
        // RTM_GETADDR, answered by RTM_NEWADDR
        22 => {
            for one in &all {
                for prefix in one.addresses.iter().filter(|prefix| of_family(prefix.ip)) {
                    let mut message = message(20);
                    message
                        .put(&[
                            family_of(prefix.ip),
                            prefix.len,
                            IFA_F_PERMANENT,
                            scope(prefix.ip),
                        ])
                        .put(&one.index.to_le_bytes())
                        .attribute(1, &octets(prefix.ip)); // IFA_ADDRESS
                    if let Some(broadcast) = prefix.broadcast() {
                        message.attribute(2, &octets(prefix.ip)); // IFA_LOCAL
                        if !prefix.ip.is_loopback() {
                            message.attribute(4, &broadcast.octets()); // IFA_BROADCAST
                        }
                        message.attribute(3, &[one.name.as_bytes(), &[0]].concat()); // IFA_LABEL
                    }
                    message.attribute(8, &u32::from(IFA_F_PERMANENT).to_le_bytes()); // IFA_FLAGS
                    // IFA_CACHEINFO: for ever
                    message.attribute(6, &[[0xff; 8], [0; 8]].concat());
                    found.push(message.finish());
                }
            }
        }
        // RTM_GETROUTE, answered by RTM_NEWROUTE
        26 => {
            for route in interface::routes()
                .iter()
                .filter(|route| of_family(route.to.ip))
            {
                let mut message = message(24);
                let v4 = route.to.ip.is_ipv4();
                // RTPROT_BOOT or RTPROT_KERNEL; RT_SCOPE_LINK, which IPv6 has none of.
                let protocol = if route.gateway.is_some() { 3 } else { 2 };
                let scope = if route.gateway.is_none() && v4 {
                    253
                } else {
                    0
                };
                // Table main, unicast.
                message
                    .put(&[
                        family_of(route.to.ip),
                        route.to.len,
                        0,
                        0,
                        254,
                        protocol,
                        scope,
                        1,
                    ])
                    .put(&[0; 4])
                    .attribute(15, &254_u32.to_le_bytes()); // RTA_TABLE
                if route.to.len > 0 {
                    message.attribute(1, &octets(route.to.ip)); // RTA_DST
                }
                if let Some(gateway) = route.gateway {
                    message.attribute(5, &octets(gateway)); // RTA_GATEWAY
                }
                message.attribute(4, &route.index.to_le_bytes()); // RTA_OIF
                if let Some(own) = route.own.filter(|_| v4) {
                    message.attribute(7, &octets(own)); // RTA_PREFSRC
                }
                if !v4 {
                    let metric: u32 = if route.gateway.is_some() { 1024 } else { 256 };
                    message.attribute(6, &metric.to_le_bytes()); // RTA_PRIORITY
                }
                found.push(message.finish());
            }
        }
        // RTM_GETNEIGH, answered by RTM_NEWNEIGH
        30 => {
            for (ip, mac) in stack::neighbours() {
                let mut message = message(28);
                // NUD_REACHABLE, NUD_INCOMPLETE; unicast.
                let state: u16 = if mac.is_some() { 2 } else { 1 };
                message
                    .put(&[family_of(ip), 0, 0, 0])
                    .put(&ETHERNET.to_le_bytes())
                    .put(&state.to_le_bytes())
                    .put(&[0, 1])
                    .attribute(1, &octets(ip)); // NDA_DST
                if let Some(mac) = mac {
                    message.attribute(2, &mac); // NDA_LLADDR
                }
                found.push(message.finish());
            }
        }
        // RTM_GETRULE, answered by RTM_NEWRULE: the tables local, main and default, of either family.
        34 => {
            let tables: [(u8, u32); 3] = [(255, 0), (254, 32_766), (253, 32_767)];
            for (table, priority) in tables {
                let mut message = message(32);
                // All of its family, to a table (FR_ACT_TO_TBL).
                message
                    .put(&[
                        if wanted == 0 { 2 } else { wanted },
                        0,
                        0,
                        0,
                        table,
                        0,
                        0,
                        1,
                    ])
                    .put(&[0; 4])
                    .attribute(15, &u32::from(table).to_le_bytes()); // FRA_TABLE
                if priority > 0 {
                    message.attribute(6, &priority.to_le_bytes()); // FRA_PRIORITY
                }
                found.push(message.finish());
            }
        }
        _ => return None,
    }
    found.push(request.done());
    Some(found)
}

/// The address that a request for a route is about (RTA_DST).
fn wanted_route(raw: &[u8]) -> Option<IpAddr> {
    let (_, value) = attributes(raw).find(|&(kind, _)| kind == 1)?;
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
        .ok()
}

/// The interface that a request is about: by its index, or by its name (IFLA_IFNAME).
fn wanted_link(body: &[u8]) -> Option<Interface> {
    let index = body.get(4..8)?;
    let name = attributes(body.get(16..)?).find(|&(kind, _)| kind == 3);
    interface::all().into_iter().find(|one| match name {
        _ if index != [0; 4] => index == one.index.to_le_bytes(),
        Some((_, name)) => name.strip_suffix(&[0]).unwrap_or(name) == one.name.as_bytes(),
        None => false,
    })
}

/// The way that packets to `to` take, as one message; `ENETUNREACH`.
fn way(to: IpAddr, mut message: Message) -> Result<Vec<u8>, Errno> {
    let from = interface::source(to).ok_or(Errno::ENETUNREACH)?;
    let local = interface::is_local(to);
    let all = interface::routes();
    let near = all
        .iter()
        .any(|route| route.gateway.is_none() && route.to.has(to));
    let gateway = all
        .iter()
        .filter(|route| route.to.ip.is_ipv4() == to.is_ipv4())
        .find_map(|route| route.gateway);
    let bits = if to.is_ipv4() { 32 } else { 128 };
    // Table main, whichever it was found in; RTN_LOCAL, RTN_UNICAST; RTM_F_CLONED, RTCF_LOCAL.
    let (kind, flags) = if local {
        (2, 0x8000_0200)
    } else {
        (1, 0x200_u32)
    };
    message
        .put(&[family_of(to), bits, 0, 0, 254, 0, 0, kind])
        .put(&flags.to_le_bytes())
        .attribute(15, &254_u32.to_le_bytes()) // RTA_TABLE
        .attribute(1, &octets(to)); // RTA_DST
    if let Some(gateway) = gateway.filter(|_| !local && !near) {
        message.attribute(5, &octets(gateway)); // RTA_GATEWAY
    }
    let index = if local { LOOPBACK } else { ETHERNET };
    message
        .attribute(4, &index.to_le_bytes()) // RTA_OIF
        .attribute(7, &octets(from)); // RTA_PREFSRC
    if to.is_ipv4() {
        message.attribute(25, &[0; 4]); // RTA_UID
    }
    // nmap takes no notice of what comes last.
    message.attribute(12, &[0; 32]); // RTA_CACHEINFO
    Ok(message.finish())
}
