//! Names of signals, as kill(1) takes them.

/// In the order of their numbers, from 1 on, as x86-64 has them.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The first real-time signal that glibc leaves to programs, and the last.
const RTMIN: u32 = 34;
const RTMAX: u32 = 64;

/// The number of a signal by its name, with SIG before it or not, or by its number.
pub(crate) fn parse(text: &str) -> Result<u32, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match (name.split_once(['+', '-']), name) {
        (_, "RTMIN") => Some(RTMIN),
        (_, "RTMAX") => Some(RTMAX),
        (Some(("RTMIN", more)), _) => more
            .parse()
            .ok()
            .and_then(|more: u32| RTMIN.checked_add(more)),
        (Some(("RTMAX", less)), _) => {
            let number = less
                .parse()
                .ok()
                .and_then(|less: u32| RTMAX.checked_sub(less));
            number.filter(|number| *number >= RTMIN)
        }
        _ => match NAMES.iter().position(|one| *one == name) {
            Some(at) => u32::try_from(at + 1).ok(),
            None => name.parse().ok().filter(|_| name == text),
        },
    };
    number
        .filter(|number| (1..=RTMAX).contains(number))
        .ok_or_else(|| format!("'{text}' is no signal"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGKILL", 9),
            ("sigusr2", 12),
            ("31", 31),
            ("SYS", 31),
            ("RTMIN+1", 35),
            ("SIGRTMAX-2", 62),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for text in ["", "0", "65", "SIG15", "TERMINATE", "RTMAX-63", "-1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
