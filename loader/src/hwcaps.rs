//! What the CPU has to do with the search for libraries: the subdirectories that a directory may have for it, and what
//! `$PLATFORM` stands for.
//!
//! Where there is an `ld.so`, it decides ([`crate::glibc::cpu`]); in a process without one the CPU does, and there is
//! no more than `glibc-hwcaps`.

use alloc::vec::Vec;

use crate::arch;

/// What `AT_PLATFORM` is on x86-64.
pub(crate) const PLATFORM: &[u8] = b"x86_64";

/// In an entry of the cache: the platforms, of which an entry has one at most, and the one that is the lowest bit.
const PLATFORMS: u64 = 0xf << FIRST_PLATFORM;
const FIRST_PLATFORM: u32 = 48;
/// In an entry of the cache: it comes from a `tls` directory.
const TLS: u64 = 1 << 63;
/// The names behind these bits, those of other machines left out.
const PLATFORM_NAMES: [(&[u8], u32); 2] = [(b"haswell", 2), (b"xeon_phi", 3)];
/// The legacy hardware capabilities of x86-64, and their bits.
const LEGACY_NAMES: [(&[u8], u64); 2] = [(b"x86_64", 1 << 1), (b"avx512_1", 1 << 2)];

/// The subdirectories for a CPU.
pub(crate) struct Hwcaps {
    /// What is tried in a directory, best first. The last one, with an empty name, is the directory itself.
    subdirectories: Vec<Vec<u8>>,
    /// How many levels there are.
    levels: &'static [&'static [u8]],
    platform: Vec<u8>,
    /// The legacy hardware capabilities, if they count.
    legacy: Option<u64>,
}

impl Hwcaps {
    /// Makes those of a CPU with these micro-architecture levels, best first, and this platform. `legacy`: the legacy
    /// hardware capabilities that glibc 2.36 and older honours.
    pub(crate) fn new(
        levels: &'static [&'static [u8]],
        platform: &[u8],
        legacy: Option<u64>,
    ) -> Self {
        let named = levels
            .iter()
            .map(|level| [b"glibc-hwcaps/", *level].concat());
        let mut subdirectories: Vec<_> = named.collect();
        match legacy {
            Some(bits) => {
                let names = LEGACY_NAMES.iter().filter(|(_, bit)| bits & bit != 0);
                let mut names: Vec<&[u8]> = names.map(|(name, _)| *name).collect();
                names.extend([platform, b"tls"]);
                subdirectories.extend(combinations(&names));
            }
            None => subdirectories.push(Vec::new()),
        }
        Self {
            subdirectories,
            levels,
            platform: platform.to_vec(),
            legacy,
        }
    }

    /// Returns what is tried in a directory, best first; an empty name is the directory itself.
    pub(crate) fn subdirectories(&self) -> &[Vec<u8>] {
        &self.subdirectories
    }

    /// Returns what `$PLATFORM` stands for.
    pub(crate) fn platform(&self) -> &[u8] {
        &self.platform
    }

    /// Returns how good the files of a glibc-hwcaps directory are: from 1; `None` if they are not for this CPU.
    pub(crate) fn rank(&self, level: &[u8]) -> Option<u32> {
        let from_best = self.levels.iter().position(|&known| known == level)?;
        u32::try_from(self.levels.len() - from_best).ok()
    }

    /// Says whether an entry of the cache, with these legacy hardware capabilities, is for this CPU.
    pub(crate) fn admits(&self, legacy: u64) -> bool {
        let Some(known) = self.legacy else {
            return legacy == 0;
        };
        let mine = PLATFORM_NAMES
            .iter()
            .find(|(name, _)| *name == self.platform);
        let mine = mine.map(|(_, bit)| 1 << (FIRST_PLATFORM + bit));
        let platform = legacy & PLATFORMS;
        legacy & !(known | PLATFORMS | TLS) == 0 && (platform == 0 || Some(platform) == mine)
    }
}

impl Default for Hwcaps {
    fn default() -> Self {
        Self::new(arch::hwcaps(arch::level()), PLATFORM, None)
    }
}

/// Says whether `ld.so` calls a platform so.
pub(crate) fn is_platform(name: &[u8]) -> bool {
    PLATFORM_NAMES.iter().any(|(known, _)| *known == name)
}

/// Returns the paths of all subsets of names, the later names before the others: all of them first, then without the
/// first, and none last.
fn combinations(names: &[&[u8]]) -> impl Iterator<Item = Vec<u8>> {
    (0..1u32 << names.len()).rev().map(|subset| {
        let chosen = names.iter().enumerate().rev();
        let chosen = chosen.filter(|(bit, _)| subset & (1 << bit) != 0);
        let chosen: Vec<&[u8]> = chosen.map(|(_, name)| *name).collect();
        chosen.join(&b'/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    const LEVELS: &[&[u8]] = &[b"x86-64-v3", b"x86-64-v2"];

    fn names(hwcaps: &Hwcaps) -> Vec<String> {
        let names = hwcaps.subdirectories().iter();
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    #[test]
    fn since_2_37_there_is_glibc_hwcaps_only() {
        let hwcaps = Hwcaps::new(LEVELS, b"haswell", None);
        let expected = ["glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v2", ""];
        assert_eq!(names(&hwcaps), expected);
    }

    #[test]
    fn before_2_37_there_is_every_combination_of_legacy_directories() {
        let hwcaps = Hwcaps::new(&[], b"haswell", Some(6));
        let expected = [
            "tls/haswell/avx512_1/x86_64",
            "tls/haswell/avx512_1",
            "tls/haswell/x86_64",
            "tls/haswell",
            "tls/avx512_1/x86_64",
            "tls/avx512_1",
            "tls/x86_64",
            "tls",
            "haswell/avx512_1/x86_64",
            "haswell/avx512_1",
            "haswell/x86_64",
            "haswell",
            "avx512_1/x86_64",
            "avx512_1",
            "x86_64",
            "",
        ];
        assert_eq!(names(&hwcaps), expected);
        // A processor that is not Intel's: the platform is the kernel's name for the machine.
        let hwcaps = Hwcaps::new(&[], PLATFORM, Some(2));
        let expected = [
            "tls/x86_64/x86_64",
            "tls/x86_64",
            "tls/x86_64",
            "tls",
            "x86_64/x86_64",
            "x86_64",
            "x86_64",
            "",
        ];
        assert_eq!(names(&hwcaps), expected);
    }

    #[test]
    fn entries_of_the_cache_are_for_one_platform_and_known_capabilities() {
        let haswell = Hwcaps::new(LEVELS, b"haswell", Some(2));
        for (entry, admitted) in [
            (0, true),
            (2, true),
            (2 | 4, false),
            (1 << 50, true),
            (1 << 50 | 2 | TLS, true),
            (1 << 51, false),
            (1 << 48, false),
        ] {
            assert_eq!(haswell.admits(entry), admitted, "{entry:#x}");
        }
        assert!(!Hwcaps::new(LEVELS, PLATFORM, Some(2)).admits(1 << 50));
        assert!(!Hwcaps::new(LEVELS, b"haswell", None).admits(1 << 50));
    }

    #[test]
    fn better_levels_rank_higher() {
        let hwcaps = Hwcaps::new(LEVELS, PLATFORM, None);
        let rank = |level: &[u8]| hwcaps.rank(level);
        assert_eq!(rank(b"x86-64-v2"), Some(1));
        assert_eq!(rank(b"x86-64-v3"), Some(2));
        assert_eq!(rank(b"x86-64-v4"), None);
    }
}
