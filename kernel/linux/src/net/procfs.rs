//! /proc/net, /proc/sys/net and /sys/class/net.
use super::{
    inet::{self, ICMP, ICMPV6, UDP, UDPLITE},
    interface, listing, snmp,
    sock::Kind,
    stack, unix,
};
use crate::fs::{generated, tree::Node};
use abi::Errno;
use alloc::{format, string::String, sync::Arc};
use core::fmt::Write;
use core::net::IpAddr;

fn dev() -> String {
    let mut text = String::from(
        "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|\
         bytes    packets errs drop fifo colls carrier compressed\n",
    );
    for one in interface::all() {
        let [received, received_bytes, sent, sent_bytes] = one.counters;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:>6}: {received_bytes:7} {received:7}    0    0    0     0          0         0 \
             {sent_bytes:8} {sent:7}    0    0    0     0       0          0",
            one.name
        );
    }
    text
}

fn route() -> String {
    let mut text = String::from(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
    );
    let word = |ip: core::net::Ipv4Addr| u32::from_le_bytes(ip.octets());
    for route in interface::routes() {
        let IpAddr::V4(to) = route.to.ip else {
            continue;
        };
        let gateway = match route.gateway {
            Some(IpAddr::V4(ip)) => word(ip),
            _ => 0,
        };
        let flags = if route.gateway.is_some() { 3 } else { 1 };
        let _ = writeln!(
            text,
            "{}\t{:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t0\t{:08X}\t0\t0\t0",
            route.name,
            word(to),
            word(route.to.netmask()),
        );
    }
    text
}

fn arp() -> String {
    let mut text = String::from(
        "IP address       HW type     Flags       HW address            Mask     Device\n",
    );
    for (ip, mac) in stack::neighbours()
        .into_iter()
        .filter(|(ip, _)| ip.is_ipv4())
    {
        // ATF_COM: it has answered.
        let flags = if mac.is_some() { 2 } else { 0 };
        let mac = mac.unwrap_or_default().map(|byte| format!("{byte:02x}"));
        let _ = writeln!(
            text,
            "{:<17}0x1         {flags:#x}         {}     *        eth0",
            format!("{ip}"),
            mac.join(":")
        );
    }
    text
}

fn if_inet6() -> String {
    let mut text = String::new();
    for one in interface::all() {
        for prefix in &one.addresses {
            let IpAddr::V6(ip) = prefix.ip else { continue };
            let scope = match ip {
                _ if ip.is_loopback() => 0x10,
                _ if ip.is_unicast_link_local() => 0x20,
                _ if interface::is_site_local(ip.into()) => 0x40,
                _ => 0,
            };
            let (bits, index, len) = (ip.to_bits(), one.index, prefix.len);
            let _ = writeln!(
                text,
                "{bits:032x} {index:02x} {len:02x} {scope:02x} 80 {:>8}",
                one.name
            );
        }
    }
    text
}

/// Fills in what /proc says about the network.
pub(super) fn populate_proc(proc: &Arc<Node>) -> Result<(), Errno> {
    let net = generated::directory(proc, "net")?;
    generated::file(&net, "dev", dev)?;
    generated::file(&net, "route", route)?;
    generated::file(&net, "arp", arp)?;
    generated::file(&net, "if_inet6", if_inet6)?;
    generated::file(&net, "unix", unix::list)?;
    generated::file(&net, "snmp", snmp::snmp)?;
    generated::file(&net, "snmp6", snmp::snmp6)?;
    generated::file(&net, "netstat", snmp::netstat)?;
    generated::file(&net, "sockstat", snmp::sockstat)?;
    generated::file(&net, "sockstat6", snmp::sockstat6)?;
    for (suffix, v6) in [("", false), ("6", true)] {
        let file = |name, list: fn(bool) -> String| {
            generated::file(&net, &format!("{name}{suffix}"), move || list(v6))
        };
        file("tcp", listing::list_tcp)?;
        file("udp", |v6| listing::list_datagrams(Kind::Datagram, UDP, v6))?;
        file("udplite", |v6| {
            listing::list_datagrams(Kind::Datagram, UDPLITE, v6)
        })?;
        file("icmp", |v6| {
            listing::list_datagrams(Kind::Datagram, if v6 { ICMPV6 } else { ICMP }, v6)
        })?;
        file("raw", |v6| listing::list_datagrams(Kind::Raw, 0, v6))?;
    }
    let core = generated::directory(proc, "sys/net/core")?;
    generated::file(&core, "somaxconn", || {
        format!("{}\n", inet::listener::SOMAXCONN)
    })?;
    for name in ["rmem_default", "rmem_max", "wmem_default", "wmem_max"] {
        generated::file(&core, name, || format!("{}\n", super::options::BUFFER))?;
    }
    let ipv4 = generated::directory(proc, "sys/net/ipv4")?;
    generated::file(&ipv4, "ip_local_port_range", || {
        format!(
            "{}\t{}\n",
            inet::ports::EPHEMERAL.start(),
            inet::ports::EPHEMERAL.end()
        )
    })?;
    for (name, text) in [
        ("tcp_keepalive_time", "7200\n"),
        ("tcp_keepalive_intvl", "75\n"),
        ("tcp_keepalive_probes", "9\n"),
        ("tcp_fin_timeout", "60\n"),
        ("tcp_congestion_control", "cubic\n"),
        ("tcp_rmem", "4096\t131072\t6291456\n"),
        ("tcp_wmem", "4096\t16384\t4194304\n"),
        ("ip_forward", "0\n"),
        ("ping_group_range", "0\t2147483647\n"),
    ] {
        generated::file(&ipv4, name, || text.into())?;
    }
    Ok(())
}

/// Fills in what /sys says about the network.
pub(super) fn populate_sys(sys: &Arc<Node>) -> Result<(), Errno> {
    let class = generated::directory(sys, "class/net")?;
    for one in interface::all() {
        let directory = generated::directory(&class, one.name)?;
        let (index, mtu, loopback) = (one.index, one.mtu, one.is_loopback());
        let mac = one.mac.map(|byte| format!("{byte:02x}")).join(":");
        generated::file(&directory, "address", move || format!("{mac}\n"))?;
        generated::file(&directory, "mtu", move || format!("{mtu}\n"))?;
        generated::file(&directory, "ifindex", move || format!("{index}\n"))?;
        generated::file(&directory, "flags", move || {
            format!("{:#x}\n", one.flags & 0xffff)
        })?;
        generated::file(&directory, "type", move || format!("{}\n", one.hardware))?;
        let state = if loopback { "unknown\n" } else { "up\n" };
        generated::file(&directory, "operstate", move || state.into())?;
        generated::file(&directory, "carrier", || "1\n".into())?;
        if !loopback {
            generated::file(&directory, "speed", || "-1\n".into())?;
        }
        let statistics = generated::directory(&directory, "statistics")?;
        for (at, name) in ["rx_packets", "rx_bytes", "tx_packets", "tx_bytes"]
            .iter()
            .enumerate()
        {
            let count = move || {
                let all = interface::all();
                let one = all.iter().find(|one| one.index == index);
                format!("{}\n", one.map_or(0, |one| one.counters[at]))
            };
            generated::file(&statistics, name, count)?;
        }
    }
    Ok(())
}
