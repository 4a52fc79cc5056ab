//! What a network was made as, and the file that says so.

use super::subnet::Subnet;

/// What was said when a network was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) subnet: Subnet,
    /// There is no way out of it.
    pub(crate) internal: bool,
    /// Machines have addresses of IPv6, too.
    pub(crate) ipv6: bool,
    /// What happens to frames between machines.
    pub(crate) wire: Wire,
}

/// How bad a wire is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Wire {
    /// Frames of a hundred that are lost.
    pub(crate) loss: f64,
    /// Milliseconds until a frame arrives.
    pub(crate) delay: u32,
}

impl Wire {
    /// Parses a percentage.
    pub(crate) fn parse_loss(text: &str) -> Result<f64, String> {
        match text.trim_end_matches('%').parse() {
            Ok(loss) if (0.0..=100.0).contains(&loss) => Ok(loss),
            _ => Err("expected a percentage".to_owned()),
        }
    }
}

impl Settings {
    /// As a file has it.
    pub(super) fn to_text(self) -> String {
        let Self {
            subnet,
            internal,
            ipv6,
            wire: Wire { loss, delay },
        } = self;
        format!("subnet={subnet}\ninternal={internal}\nipv6={ipv6}\nloss={loss}\ndelay={delay}\n")
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
            // Networks that were made before there was a choice have none.
            ipv6: value("ipv6").map_or(Ok(false), str::parse).ok()?,
            wire: Wire {
                loss: value("loss")?.parse().ok()?,
                delay: value("delay")?.parse().ok()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_written() {
        let settings = Settings {
            subnet: Subnet::DEFAULT,
            internal: true,
            ipv6: true,
            wire: Wire {
                loss: 0.5,
                delay: 20,
            },
        };
        let read = Settings::from_text(&settings.to_text()).unwrap();
        assert_eq!(
            (read.subnet, read.internal, read.ipv6, read.wire),
            (settings.subnet, true, true, settings.wire)
        );
        assert!(Settings::from_text("subnet=10.0.2.0/24\n").is_none());
        let old = "subnet=10.0.2.0/24\ninternal=false\nloss=0\ndelay=0\n";
        assert!(Settings::from_text(old).is_some_and(|read| !read.ipv6));
        assert_eq!(Wire::parse_loss("2.5%"), Ok(2.5));
        assert!(Wire::parse_loss("101").is_err() && Wire::parse_loss("x").is_err());
    }
}
