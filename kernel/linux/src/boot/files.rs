//! Files that `elfin run` has written before the program starts (/etc/hosts, /etc/resolv.conf and the like). They take
//! the place of what the image has under their names.
use super::mounts::place;
use crate::{
    config,
    fs::{
        Content, directory,
        path::{self, Last},
        tree::{Kind, Node},
    },
};
use abi::Errno;
use alloc::{format, string::String};
use linux_raw_sys::general as linux;

/// Writes them in the configuration's order. The error is one clear line.
pub(super) fn write_all() -> Result<(), String> {
    for (path, content) in &config::get().files {
        write(path, content).map_err(|error| {
            let path = String::from_utf8_lossy(path);
            format!("cannot write {path}: {}", error.text())
        })?;
    }
    Ok(())
}

fn write(path: &[u8], bytes: &[u8]) -> Result<(), Errno> {
    if let Some(slash) = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .filter(|&slash| slash > 0)
    {
        place(&path[..slash], 0o755)?;
    }
    // A link is replaced: where it leads may not be there yet (/run).
    let target = path::walk(&path::Start::root(), path, Last::Keep)?;
    let content = Content::empty();
    content.write(0, bytes)?;
    let node = Node::new(
        target.parent.node.dev,
        linux::S_IFREG | 0o644,
        Kind::Regular(content),
    );
    directory::add(&target.parent.node, &target.name, node)?;
    Ok(())
}
