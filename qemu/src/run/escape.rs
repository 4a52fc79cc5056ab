//! Values of QEMU's options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// QEMU takes commas in an option's value as separators unless they are doubled.
pub(super) fn escape(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    OsStr::from_bytes(
        &bytes
            .split(|&byte| byte == b',')
            .collect::<Vec<_>>()
            .join(&b",,"[..]),
    )
    .to_owned()
}
