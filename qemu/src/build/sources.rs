//! Where apt takes packages from: Debian's suites by name, or the machine's own sources.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages come from.
#[derive(Debug)]
pub(super) struct Sources {
    /// Stanzas of a `.sources` file.
    pub(super) text: String,
    /// The suite whose packages come before newer and older ones of the others, if there is one.
    pub(super) target: Option<String>,
}

/// Sources of a suite by name. What is no whole system comes on top of the suite that it belongs to.
pub(super) fn of(suite: &str) -> Result<Sources> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !suite.starts_with(|c: char| c.is_ascii_alphanumeric()) || !suite.chars().all(plain) {
        bail!("'{suite}' is no name of a Debian suite");
    }
    let (base, preferred) = match suite {
        "experimental" | "rc-buggy" => ("sid", true),
        _ => PARTS
            .iter()
            .find_map(|&(end, preferred)| Some((suite.strip_suffix(end)?, preferred)))
            .unwrap_or((suite, false)),
    };
    let rolling = matches!(base, "sid" | "unstable");
    let mut suites = vec![base.to_owned()];
    if !rolling {
        suites.push(format!("{base}-updates"));
    }
    if !suites.iter().any(|known| known == suite) && !suite.ends_with("-security") {
        suites.push(suite.to_owned());
    }
    let mut text = format!(
        "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: {}\nComponents: main\n\
         Signed-By: {KEYRING}\n",
        suites.join(" ")
    );
    if !rolling {
        write!(
            text,
            "\nTypes: deb\nURIs: http://deb.debian.org/debian-security\n\
             Suites: {base}-security\nComponents: main\nSigned-By: {KEYRING}\n"
        )?;
    }
    Ok(Sources {
        text,
        target: preferred.then(|| suite.to_owned()),
    })
}

/// What the names of suites that add to another end with, and whether apt takes packages from there only if told to.
const PARTS: [(&str, bool); 5] = [
    ("-backports-sloppy", true),
    ("-backports", true),
    ("-proposed-updates", false),
    ("-updates", false),
    ("-security", false),
];

/// The machine's own Debian sources, without any third party's.
pub(super) fn of_machine() -> Result<Sources> {
    let own = |text| Sources { text, target: None };
    let parts = Path::new("/etc/apt/sources.list.d/debian.sources");
    if let Ok(text) = fs::read_to_string(parts) {
        return Ok(own(text));
    }
    let list = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let stanzas: Vec<String> = list.lines().filter_map(stanza).collect();
    if !stanzas.is_empty() {
        return Ok(own(stanzas.join("\n")));
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"'))
    };
    match (field("ID"), field("VERSION_CODENAME")) {
        (Some("debian"), Some(suite)) => of(suite),
        _ => {
            bail!("this machine is no Debian: name a suite with --suite, such as --suite bookworm")
        }
    }
}

/// A line of `sources.list` as a stanza, if it names binary packages of Debian.
fn stanza(line: &str) -> Option<String> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb ")?.trim();
    let rest = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.1.trim(),
        None => rest,
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let components: Vec<&str> = words.collect();
    let path = uri.trim_end_matches('/');
    let debian = uri.contains("debian.org/")
        || path.ends_with("/debian")
        || path.ends_with("/debian-security");
    (debian && !components.is_empty()).then(|| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {}\nSigned-By: {KEYRING}\n",
            components.join(" ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_counts() {
        let ours =
            stanza("deb [arch=amd64] http://ftp.de.debian.org/debian/ bookworm main contrib");
        assert!(
            ours.unwrap()
                .contains("Suites: bookworm\nComponents: main contrib")
        );
        assert!(stanza("deb https://deb.nodesource.com/node_20.x nodistro main").is_none());
        assert!(stanza("deb-src http://deb.debian.org/debian bookworm main").is_none());
        assert!(stanza("# deb http://deb.debian.org/debian bookworm main").is_none());
    }

    #[test]
    fn suites() {
        let of = |suite| {
            let sources = super::of(suite).unwrap();
            let suites = sources
                .text
                .lines()
                .filter_map(|line| line.strip_prefix("Suites: "));
            (suites.collect::<Vec<_>>().join(" "), sources.target)
        };
        let whole = "trixie trixie-updates trixie-security".to_owned();
        assert_eq!(of("trixie"), (whole.clone(), None));
        assert_eq!(of("trixie-security"), (whole.clone(), None));
        assert_eq!(of("trixie-updates"), (whole, None));
        assert_eq!(of("sid"), ("sid".to_owned(), None));
        let target = |suite: &str| Some(suite.to_owned());
        assert_eq!(
            of("experimental"),
            ("sid experimental".to_owned(), target("experimental"))
        );
        let (suites, preferred) = of("bookworm-backports");
        assert_eq!(
            suites,
            "bookworm bookworm-updates bookworm-backports bookworm-security"
        );
        assert_eq!(preferred, target("bookworm-backports"));
        assert!(super::of("a b").is_err() && super::of("-backports").is_err());
    }
}
