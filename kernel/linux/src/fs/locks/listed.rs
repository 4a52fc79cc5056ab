//! Locks as /proc shows them: proc(5), `/proc/locks` and `/proc/PID/fdinfo`.
use super::{Class, END, Inode, Lock, Mode, Owner, TABLE, inode};
use crate::fs::File;
use alloc::{format, string::String};
use core::fmt::Write;

fn describe(
    text: &mut String,
    number: usize,
    inode: Inode,
    class: Class,
    lock: &Lock,
    waits: bool,
) {
    let arrow = if waits { "-> " } else { "" };
    let (class, pid) = match (class, lock.owner) {
        (Class::Flock, _) => ("FLOCK ", lock.pid),
        (Class::Record, Owner::Files(_)) => ("POSIX ", lock.pid),
        (Class::Record, Owner::Open(_)) => ("OFDLCK", -1),
    };
    let mode = match lock.mode {
        Mode::Shared => "READ",
        Mode::Exclusive => "WRITE",
    };
    let (dev, ino) = inode;
    let (major, minor) = (dev >> 8 & 0xfff, dev & 0xff);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "{number}: {arrow}{class} ADVISORY  {mode} {pid} {major:02x}:{minor:02x}:{ino} {} ",
        lock.first
    );
    *text += &match lock.last {
        END => "EOF\n".into(),
        last => format!("{last}\n"),
    };
}

/// /proc/locks: each lock, and below it those that wait for it.
pub fn listed() -> String {
    let mut text = String::new();
    let mut number = 0;
    for (&inode, locks) in TABLE.lock().iter() {
        for (class, held) in [
            (Class::Flock, &locks.flocks),
            (Class::Record, &locks.records),
        ] {
            for lock in held {
                number += 1;
                describe(&mut text, number, inode, class, lock, false);
                for (other, wanted) in &locks.waiting {
                    let first = locks.conflicting(class, wanted).next();
                    if *other == class && first == Some(lock) {
                        describe(&mut text, number, inode, class, wanted, true);
                    }
                }
            }
        }
    }
    text
}

/// The lines of fdinfo that tell of these owners' locks on a file.
pub fn of_owners(file: &dyn File, owners: [Owner; 2]) -> String {
    let mut text = String::new();
    let Ok(inode) = inode(file) else {
        return text;
    };
    let mut number = 0;
    if let Some(locks) = TABLE.lock().get(&inode) {
        for (class, held) in [
            (Class::Flock, &locks.flocks),
            (Class::Record, &locks.records),
        ] {
            for lock in held {
                if owners.contains(&lock.owner) {
                    text += "lock:\t";
                    number += 1;
                    describe(&mut text, number, inode, class, lock, false);
                }
            }
        }
    }
    text
}
