//! How the stack begins: addresses, routers, and the thread that takes frames and serves timers.
use super::{BUDGET, STACK, Stack, Upper, dhcp::Lease, instant, isn, now, with};
use crate::{
    config,
    net::{
        interface::{self, Ethernet, Prefix},
        stack::device::Device,
    },
};
use alloc::{boxed::Box, vec, vec::Vec};
use core::net::IpAddr;
use core::sync::atomic::Ordering;
use machine::{
    drivers::{net as driver, random},
    sched::{self, NoState},
    sync::Signals,
    time,
};
use smoltcp::{
    iface::{Config, Interface},
    wire::{EthernetAddress, HardwareAddress, IpCidr},
};

/// Starts the stack if there is a device and an address for it, or a network that gives one.
pub fn start(upper: &'static dyn Upper) {
    let config = config::get();
    let wanted = config.dhcp || !config.addresses.is_empty();
    let Some(mac) = driver::mac().filter(|_| wanted) else {
        return;
    };
    let mut settings = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
    settings.random_seed = random::number();
    let mut interface = Interface::new(settings, &mut Device(None), instant(now()));
    let (mut gateways, mut lease, mut given) = (config.gateways.clone(), None, None);
    if config.dhcp {
        let (asked, answer) = Lease::ask(&mut interface);
        match answer {
            Some((own, router)) => {
                given = Some(own);
                gateways.extend(router);
            }
            None => log::warn!("nobody gives an address by DHCP"),
        }
        lease = Some(asked);
    }
    let addresses = config.addresses.iter().map(|&(ip, len)| Prefix { ip, len });
    let mut addresses: Vec<_> = given.into_iter().chain(addresses).collect();
    if addresses.iter().any(|own| own.ip.is_ipv6()) {
        addresses.push(interface::link_local(mac));
    }
    let ethernet = interface::set_up(Ethernet {
        mac,
        addresses,
        gateways,
    });
    interface.update_ip_addrs(|list| {
        for own in &ethernet.addresses {
            // More than there is room for are left out, as the log says.
            if list.push(IpCidr::new(own.ip.into(), own.len)).is_err() {
                log::warn!("no room for the address {}", own.ip);
            }
        }
    });
    for gateway in &ethernet.gateways {
        let added = match *gateway {
            IpAddr::V4(ip) => interface.routes_mut().add_default_ipv4_route(ip).is_ok(),
            IpAddr::V6(ip) => interface.routes_mut().add_default_ipv6_route(ip).is_ok(),
        };
        if !added {
            log::warn!("no room for the gateway {gateway}");
        }
    }
    let mut stack = Stack::new(interface, isn::Generator::new(), upper);
    stack.lease = lease;
    *STACK.state.lock() = Some(stack);
    sched::spawn_kernel("net", Box::new(NoState), Box::new(run));
}

/// Takes frames and serves timers, for ever.
fn run() {
    let Some(queue) = driver::queue() else { return };
    let mut buf = vec![0; driver::FRAME];
    loop {
        driver::listen(false);
        let mut taken = 0;
        while taken < BUDGET
            && let Some(len) = driver::receive(&mut buf)
        {
            interface::ethernet().received(len);
            if let Some(stack) = &mut *STACK.state.lock() {
                stack.take(&buf[..len]);
            }
            taken += 1;
        }
        driver::can_send();
        let next = with(|stack| {
            stack.have_received();
            stack.serve_timers()
        });
        let next = next.flatten();
        if taken == BUDGET {
            sched::yield_now();
            continue;
        }
        let deadline = next.map(time::Instant);
        // Woken by the device, and by who has set an earlier timer. That the time has come is seen above.
        let _ = queue.wait_until(deadline, Signals::Ignore, || {
            let earlier = STACK.earlier.swap(false, Ordering::Relaxed);
            (driver::listen(true) || earlier).then_some(())
        });
    }
}
