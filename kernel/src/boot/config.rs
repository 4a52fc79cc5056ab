//! The boot configuration: NUL-terminated `key=value` records in the PVH module (see docs/architecture.md).
use alloc::{string::String, vec::Vec};

/// What `elfin run` asks for.
#[derive(Debug, Default, Clone)]
pub struct Config {
    /// Program and arguments, program first.
    pub args: Vec<Vec<u8>>,
    /// `K=V` strings.
    pub env: Vec<Vec<u8>>,
    /// Initial working directory.
    pub cwd: Vec<u8>,
    /// Log level.
    pub log: Option<::log::LevelFilter>,
    /// Trace system calls.
    pub trace: bool,
    /// Which of descriptors 0, 1, 2 are terminals.
    pub tty: [bool; 3],
    /// Rows and columns of the terminal.
    pub winsize: Option<(u16, u16)>,
    /// uname's node name.
    pub hostname: String,
}

/// The configuration of this boot.
pub fn get() -> &'static Config {
    unimplemented!()
}
