//! ioctl(2) about interfaces: netdevice(7). They are told about, not changed.
use super::interface::{self, Interface};
use abi::Errno;
use alloc::vec::Vec;
use core::net::IpAddr;
use linux_raw_sys::ioctl as requests;
use machine::mm::user;

/// `struct ifreq`: a name, and what is asked for.
const IFREQ: usize = 40;
const NAME: usize = 16;

/// Answers `SIOCGIF*`; `ENOTTY` for another request.
pub(super) fn answer(request: u32, arg: usize) -> Result<usize, Errno> {
    match request {
        requests::SIOCGIFCONF => return list(arg),
        requests::SIOCGIFNAME
        | requests::SIOCGIFFLAGS
        | requests::SIOCGIFADDR
        | requests::SIOCGIFBRDADDR
        | requests::SIOCGIFNETMASK
        | requests::SIOCGIFDSTADDR
        | requests::SIOCGIFMETRIC
        | requests::SIOCGIFMTU
        | requests::SIOCGIFHWADDR
        | requests::SIOCGIFINDEX
        | requests::SIOCGIFTXQLEN => (),
        // Settings: there is nobody who may make them.
        requests::SIOCSIFFLAGS | requests::SIOCSIFADDR | requests::SIOCSIFMTU => {
            return Err(Errno::EPERM);
        }
        _ => return Err(Errno::ENOTTY),
    }
    let mut raw = [0; IFREQ];
    user::copy_in(arg, &mut raw)?;
    let (name, value) = raw.split_at_mut(NAME);
    let all = interface::all();
    if request == requests::SIOCGIFNAME {
        let index = u32::from_le_bytes([value[0], value[1], value[2], value[3]]);
        let one = all
            .iter()
            .find(|one| one.index == index)
            .ok_or(Errno::ENODEV)?;
        name.fill(0);
        name[..one.name.len()].copy_from_slice(one.name.as_bytes());
    } else {
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME);
        let one = all.iter().find(|one| one.name.as_bytes() == &name[..end]);
        let told = tell(one.ok_or(Errno::ENODEV)?, request)?;
        value.fill(0);
        value[..told.len()].copy_from_slice(&told);
    }
    user::copy_out(arg, &raw)?;
    Ok(0)
}

/// The IPv4 address that older interfaces know as the only one.
fn first(one: &Interface) -> Result<interface::Prefix, Errno> {
    let first = one.addresses.iter().find(|prefix| prefix.ip.is_ipv4());
    first.copied().ok_or(Errno::EADDRNOTAVAIL)
}

fn sockaddr(ip: core::net::Ipv4Addr) -> Vec<u8> {
    let mut raw = Vec::from([2, 0, 0, 0]);
    raw.extend(ip.octets());
    raw.resize(16, 0);
    raw
}

fn v4(ip: IpAddr) -> core::net::Ipv4Addr {
    match ip {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => core::net::Ipv4Addr::UNSPECIFIED,
    }
}

fn tell(one: &Interface, request: u32) -> Result<Vec<u8>, Errno> {
    Ok(match request {
        // A `short`.
        requests::SIOCGIFFLAGS => one.flags.to_le_bytes()[..2].to_vec(),
        requests::SIOCGIFADDR | requests::SIOCGIFDSTADDR => sockaddr(v4(first(one)?.ip)),
        requests::SIOCGIFNETMASK => sockaddr(first(one)?.netmask()),
        requests::SIOCGIFBRDADDR => {
            let first = first(one)?;
            let none = core::net::Ipv4Addr::UNSPECIFIED;
            sockaddr(if first.ip.is_loopback() {
                none
            } else {
                first.broadcast().unwrap_or(none)
            })
        }
        requests::SIOCGIFMTU => one.mtu.to_le_bytes().to_vec(),
        requests::SIOCGIFINDEX => one.index.to_le_bytes().to_vec(),
        requests::SIOCGIFTXQLEN => 1000_u32.to_le_bytes().to_vec(),
        requests::SIOCGIFHWADDR => [&one.hardware.to_le_bytes()[..], &one.mac].concat(),
        // SIOCGIFMETRIC
        _ => 0_u32.to_le_bytes().to_vec(),
    })
}

/// `SIOCGIFCONF`: interfaces with IPv4 addresses, into `struct ifconf`'s buffer.
fn list(arg: usize) -> Result<usize, Errno> {
    let mut raw = [0; 16];
    user::copy_in(arg, &mut raw)?;
    let [l0, l1, l2, l3, _, _, _, _, buffer @ ..] = raw;
    let room = i32::from_le_bytes([l0, l1, l2, l3]);
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let buffer = usize::from_le_bytes(buffer);
    let mut text = Vec::new();
    for one in interface::all() {
        for prefix in one.addresses.iter().filter(|prefix| prefix.ip.is_ipv4()) {
            let start = text.len();
            text.extend(one.name.as_bytes());
            text.resize(start + NAME, 0);
            text.extend(sockaddr(v4(prefix.ip)));
            text.resize(start + IFREQ, 0);
        }
    }
    // Without a buffer it is asked how long one has to be.
    if buffer != 0 {
        text.truncate(room / IFREQ * IFREQ);
        user::copy_out(buffer, &text)?;
    }
    let len = u32::try_from(text.len()).unwrap_or(0);
    user::copy_out(arg, &len.to_le_bytes())?;
    Ok(0)
}
