//! What a network was made as, and the file that says so.

use super::subnet::Subnet;

/// What was said when a network was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) subnet: Subnet,
    /// There is no way out of it.
    pub(crate) internal: bool,
}

impl Settings {
    /// As a file has it.
    pub(super) fn to_text(self) -> String {
        format!("subnet={}\ninternal={}\n", self.subnet, self.internal)
    }

    /// Out of what a file has.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        Some(Self {
            subnet: value("subnet")?.parse().ok()?,
            internal: value("internal")?.parse().ok()?,
        })
    }
}
