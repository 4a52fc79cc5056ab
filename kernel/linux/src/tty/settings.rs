//! `struct termios`: what termios(3) sets.
use linux_raw_sys::general as linux;

/// Settings of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    /// `c_iflag`, `c_oflag`, `c_cflag`, `c_lflag`
    flags: [u32; 4],
    /// `c_line`: there is one discipline, N_TTY.
    line: u8,
    /// `c_cc`
    control: [u8; Self::CONTROL],
    /// `c_ispeed`, `c_ospeed`
    speeds: [u32; 2],
}

impl Settings {
    const CONTROL: usize = 19;
    /// `struct termios` of the kernel.
    pub(super) const SIZE: usize = 36;
    /// `struct termios2`
    pub(super) const SIZE2: usize = Self::SIZE + 8;

    /// What a fresh terminal has (`tty_std_termios`).
    pub(super) const INITIAL: Self = Self {
        flags: [
            linux::ICRNL | linux::IXON,
            linux::OPOST | linux::ONLCR,
            linux::B38400 | linux::CS8 | linux::CREAD,
            linux::ISIG
                | linux::ICANON
                | linux::ECHO
                | linux::ECHOE
                | linux::ECHOK
                | linux::ECHOCTL
                | linux::ECHOKE
                | linux::IEXTEN,
        ],
        line: 0,
        control: [
            3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0,
        ],
        speeds: [38400; 2],
    };

    /// Whether a flag of `c_iflag` is set.
    pub(super) fn input(&self, flag: u32) -> bool {
        self.flags[0] & flag != 0
    }

    /// Whether a flag of `c_oflag` is set.
    pub(super) fn output(&self, flag: u32) -> bool {
        self.flags[1] & flag != 0
    }

    /// Whether tabs are turned into spaces.
    pub(super) fn expands_tabs(&self) -> bool {
        self.flags[1] & linux::TABDLY == linux::XTABS
    }

    /// Whether a flag of `c_lflag` is set.
    pub(super) fn local(&self, flag: u32) -> bool {
        self.flags[3] & flag != 0
    }

    /// Whether `byte` is the control character `which`, which is not disabled.
    pub(super) fn is(&self, which: u32, byte: u8) -> bool {
        byte != 0 && self.value(which) == byte
    }

    /// A control character, VMIN or VTIME.
    pub(super) fn value(&self, which: u32) -> u8 {
        self.control[usize::try_from(which).map_or(0, |which| which.min(Self::CONTROL - 1))]
    }

    /// As the program sees it: `struct termios2`, which begins with `struct termios`.
    pub(super) fn to_bytes(self) -> [u8; Self::SIZE2] {
        let mut bytes = [0; Self::SIZE2];
        for (to, word) in bytes.chunks_exact_mut(4).zip(self.flags) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes[16] = self.line;
        bytes[17..Self::SIZE].copy_from_slice(&self.control);
        for (to, word) in bytes[Self::SIZE..].chunks_exact_mut(4).zip(self.speeds) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// These with what the program says; without speeds, those stay.
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map(u32::from_ne_bytes)
        };
        let mut new = self;
        for (index, flags) in new.flags.iter_mut().enumerate() {
            *flags = word(index * 4).unwrap_or(*flags);
        }
        for (to, from) in new.control.iter_mut().zip(bytes.iter().skip(17)) {
            *to = *from;
        }
        for (index, speed) in new.speeds.iter_mut().enumerate() {
            *speed = word(Self::SIZE + index * 4).unwrap_or(*speed);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_their_bytes() {
        let settings = Settings::INITIAL;
        let bytes = settings.to_bytes();
        assert_eq!(&bytes[..8], [0, 5, 0, 0, 5, 0, 0, 0]);
        assert_eq!((bytes[17], bytes[17 + 4]), (3, 4));
        assert_eq!(settings.with(&bytes), settings);
        let mut raw = bytes;
        raw[12..16].fill(0);
        let raw = settings.with(&raw[..Settings::SIZE]);
        assert!(!raw.local(linux::ICANON) && raw.input(linux::ICRNL));
    }
}
