//! /proc/PID/mounts and mountinfo, proc(5).
use crate::fs::mount::{self, Mount};
use alloc::{format, string::String, vec::Vec};
use linux_raw_sys::general as linux;

/// A name with what separates fields written as octal numbers.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    for &byte in name {
        if b" \t\n\\#".contains(&byte) {
            text.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            text.push(byte);
        }
    }
    text
}

/// The options of a mount that are not its file system's own.
fn options(mount: &Mount) -> String {
    let flags = mount.flags();
    let mut text = String::from(if flags & linux::MS_RDONLY != 0 {
        "ro"
    } else {
        "rw"
    });
    for (flag, name) in [
        (linux::MS_NOSUID, ",nosuid"),
        (linux::MS_NODEV, ",nodev"),
        (linux::MS_NOEXEC, ",noexec"),
        (linux::MS_NOATIME, ",noatime"),
        (linux::MS_NODIRATIME, ",nodiratime"),
        (linux::MS_RELATIME, ",relatime"),
    ] {
        if flags & flag != 0 {
            text += name;
        }
    }
    text
}

/// A line of words for each mount.
fn lines(words: impl Fn(&Mount) -> Vec<Vec<u8>>) -> Vec<u8> {
    let mut text = Vec::new();
    for mount in mount::all() {
        text.extend_from_slice(&words(&mount).join(&b' '));
        text.push(b'\n');
    }
    text
}

/// mounts
pub(super) fn mounts() -> Vec<u8> {
    lines(|mount| {
        let (place, source, ..) = mount.describe();
        let options = options(mount) + &mount.fs.options();
        alloc::vec![
            escaped(source),
            escaped(&place),
            mount.fs.name().into(),
            options.into_bytes(),
            b"0 0".to_vec(),
        ]
    })
}

/// mountinfo
pub(super) fn mountinfo() -> Vec<u8> {
    lines(|mount| {
        let (place, source, subtree, parent) = mount.describe();
        let dev = mount.fs.dev();
        let (major, minor) = (dev >> 8 & 0xfff, dev & 0xff | dev >> 12 & 0xf_ff00);
        let state = if mount.fs.is_read_only() { "ro" } else { "rw" };
        alloc::vec![
            format!("{} {parent} {major}:{minor}", mount.id).into_bytes(),
            escaped(subtree),
            escaped(&place),
            options(mount).into_bytes(),
            b"-".to_vec(),
            mount.fs.name().into(),
            escaped(source),
            format!("{state}{}", mount.fs.options()).into_bytes(),
        ]
    })
}
