//! The devices that terminals are opened by: /dev/tty, /dev/console and /dev/ptmx; those in
//! /dev/pts are made by `pty.rs`.
use super::{console, pty, stream};
use crate::fs::{
    File,
    tree::{Node, SpecialFile},
};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};

/// The terminal of the caller's session.
#[derive(Debug)]
pub struct Own;

impl SpecialFile for Own {
    fn rdev(&self) -> u64 {
        0x500
    }

    fn open(&self, node: &Arc<Node>, path: Vec<u8>, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        console::open_own(node, path).unwrap_or_else(stream::terminal)
    }
}

/// The console.
#[derive(Debug)]
pub struct Console;

impl SpecialFile for Console {
    fn rdev(&self) -> u64 {
        console::RDEV
    }

    fn open(&self, node: &Arc<Node>, path: Vec<u8>, flags: u32) -> Result<Arc<dyn File>, Errno> {
        console::open(node, path.clone()).unwrap_or_else(|| Own.open(node, path, flags))
    }
}

/// What makes pseudo-terminals.
#[derive(Debug)]
pub struct Ptmx;

impl SpecialFile for Ptmx {
    fn rdev(&self) -> u64 {
        0x502
    }

    fn open(&self, node: &Arc<Node>, path: Vec<u8>, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        pty::open_master(node, path)
    }
}
