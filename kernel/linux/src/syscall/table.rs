//! The table of system calls. [`rows`] has a row for each: number, function, kinds of arguments and how much of it is
//! there, which docs/syscalls.md shows. What has no function is `ENOSYS`. Names are those of the crate
//! `syscalls`.

use alloc::{format, string::String};
use syscalls::Sysno;

/// What an argument is: how the trace shows it, and how much of its register counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `int`: a number, a signal, a process.
    Int,
    /// `unsigned int`: a number.
    Unsigned,
    /// `long`, `loff_t`: an offset in a file.
    Long,
    /// `size_t`, `unsigned long`: a length or a count.
    Size,
    /// `uid_t`, `gid_t`; -1 for none.
    Id,
    /// `int`, `unsigned int`: flags.
    Hex,
    /// `unsigned long`: flags, or what may be anything.
    LongHex,
    /// `umode_t`: type and permissions of a file.
    Mode,
    /// An address.
    Pointer,
    /// Text up to a NUL.
    String,
    /// Bytes of the caller's; their number is the next argument.
    Bytes,
    /// A file descriptor.
    Fd,
    /// Nothing on 64-bit machines, or with this call's other arguments.
    Unused,
}

impl Kind {
    /// What a register holds of such an argument: the upper half of one that has 32 bits may be anything (psABI,
    /// "Parameter Passing").
    const fn argument(self, register: usize) -> usize {
        match self {
            Self::Int | Self::Fd => ((register << 32).cast_signed() >> 32).cast_unsigned(),
            Self::Unsigned | Self::Id | Self::Hex | Self::Mode => register & 0xffff_ffff,
            _ => register,
        }
    }
}

/// How much of a call is there.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// All that means something on a machine with one process, as Linux does it.
    Full,
    /// Not all: what is missing.
    Partial(&'static str),
    /// Arguments are checked, no more: why.
    NoOp(&'static str),
    /// It always fails: how, if not with `ENOSYS`.
    Absent(&'static str),
}

macro_rules! call {
    ($f:path, $frame:ident, frame []) => {
        $f($frame)
    };
    ($f:path, $frame:ident, frame [$k0:ident $k1:ident]) => {{
        let a = $frame.arguments();
        $f($frame, Kind::$k0.argument(a[0]), Kind::$k1.argument(a[1]))
    }};
    ($f:path, $frame:ident, frame [$k0:ident $k1:ident $k2:ident $k3:ident $k4:ident]) => {{
        let a = $frame.arguments();
        $f(
            $frame,
            Kind::$k0.argument(a[0]),
            Kind::$k1.argument(a[1]),
            Kind::$k2.argument(a[2]),
            Kind::$k3.argument(a[3]),
            Kind::$k4.argument(a[4]),
        )
    }};
    ($f:path, $frame:ident, []) => {
        $f()
    };
    ($f:path, $frame:ident, [$k0:ident]) => {{
        let a = $frame.arguments();
        $f(Kind::$k0.argument(a[0]))
    }};
    ($f:path, $frame:ident, [$k0:ident $k1:ident]) => {{
        let a = $frame.arguments();
        $f(Kind::$k0.argument(a[0]), Kind::$k1.argument(a[1]))
    }};
    ($f:path, $frame:ident, [$k0:ident $k1:ident $k2:ident]) => {{
        let a = $frame.arguments();
        $f(
            Kind::$k0.argument(a[0]),
            Kind::$k1.argument(a[1]),
            Kind::$k2.argument(a[2]),
        )
    }};
    ($f:path, $frame:ident, [$k0:ident $k1:ident $k2:ident $k3:ident]) => {{
        let a = $frame.arguments();
        $f(
            Kind::$k0.argument(a[0]),
            Kind::$k1.argument(a[1]),
            Kind::$k2.argument(a[2]),
            Kind::$k3.argument(a[3]),
        )
    }};
    ($f:path, $frame:ident, [$k0:ident $k1:ident $k2:ident $k3:ident $k4:ident]) => {{
        let a = $frame.arguments();
        $f(
            Kind::$k0.argument(a[0]),
            Kind::$k1.argument(a[1]),
            Kind::$k2.argument(a[2]),
            Kind::$k3.argument(a[3]),
            Kind::$k4.argument(a[4]),
        )
    }};
    ($f:path, $frame:ident, [$k0:ident $k1:ident $k2:ident $k3:ident $k4:ident $k5:ident]) => {{
        let a = $frame.arguments();
        $f(
            Kind::$k0.argument(a[0]),
            Kind::$k1.argument(a[1]),
            Kind::$k2.argument(a[2]),
            Kind::$k3.argument(a[3]),
            Kind::$k4.argument(a[4]),
            Kind::$k5.argument(a[5]),
        )
    }};
}

/// Makes the table of rows `NUMBER MODULE::FUNCTION [KIND…] STATE;`, with `frame` before the kinds if the function
/// wants the registers, and then, after `without function:`, of rows `NUMBER NAME [KIND…];`.
macro_rules! calls {
    (
        $($number:literal $module:ident::$name:ident $($with:ident)? [$($kind:ident)*] $state:expr;)*
        without function:
        $($absent:literal $absent_name:ident [$($absent_kind:ident)*];)*
    ) => {
        /// Makes a call.
        pub(in crate::syscall) fn dispatch(frame: &mut TrapFrame) -> SysResult {
            match frame.system_call() {
                $($number => call!($module::$name, frame, $($with)? [$($kind)*]),)*
                number => absent(number),
            }
        }

        /// Kinds of a call's arguments; six words for one that is not in the table.
        pub(in crate::syscall) fn kinds(number: usize) -> &'static [Kind] {
            match number {
                $($number => &[$(Kind::$kind),*],)*
                $($absent => &[$(Kind::$absent_kind),*],)*
                _ => &[Kind::LongHex; 6],
            }
        }

        /// Numbers, names and states.
        #[cfg(test)]
        pub(super) const TABLE: &[(usize, &str, super::State)] = {
            use super::State::{Absent, Full, NoOp, Partial};
            &[
                $(($number, stringify!($name), $state),)*
                $(($absent, stringify!($absent_name), Absent("")),)*
            ]
        };
    };
}

mod rows;

pub(super) use rows::{dispatch, kinds};

/// A call's name, as strace writes it.
pub(crate) fn name(number: usize) -> String {
    match Sysno::new(number) {
        Some(call) => call.name().into(),
        None => format!("syscall_{number:#x}"),
    }
}

/// Whether a call never returns to its caller.
pub(super) fn never_returns(number: usize) -> bool {
    matches!(Sysno::new(number), Some(Sysno::exit | Sysno::exit_group))
}

#[cfg(test)]
mod tests {
    use super::rows::TABLE;
    use super::*;
    use std::vec::Vec;

    const DOC: &str = include_str!("../../../../docs/syscalls.md");

    #[test]
    fn each_call_of_linux_6_1_has_one_row_with_its_name() {
        let mut rows: Vec<_> = TABLE
            .iter()
            .map(|&(number, name, _)| (number, name))
            .collect();
        rows.sort_unstable();
        let calls: Vec<_> = Sysno::iter()
            .take_while(|&call| call <= Sysno::set_mempolicy_home_node)
            // Those are of later versions, with numbers that were left free.
            .filter(|call| !matches!(call, Sysno::uretprobe | Sysno::uprobe))
            .map(|call| (call as usize, call.name()))
            .collect();
        assert_eq!(rows, calls);
    }

    /// The row of docs/syscalls.md.
    fn row(&(number, name, state): &(usize, &str, State)) -> String {
        let (state, note) = match state {
            State::Full => ("full", ""),
            State::Partial(missing) => ("partial", missing),
            State::NoOp(why) => ("no-op", why),
            State::Absent(how) => ("absent", how),
        };
        format!("| {number} | `{name}` | {state} | {note} |").replace("|  |", "| |")
    }

    #[test]
    fn the_document_says_what_the_table_says() {
        let mut table = TABLE.to_vec();
        table.sort_unstable_by_key(|row| row.0);
        let rows: Vec<_> = table.iter().map(row).collect();
        let documented: Vec<_> = DOC
            .lines()
            .filter(|line| line.starts_with(|c| c == '|') && line.contains("| `"))
            .collect();
        for (documented, row) in documented.iter().zip(&rows) {
            assert_eq!(
                documented, row,
                "docs/syscalls.md (left) and syscall/table/rows.rs (right)"
            );
        }
        assert_eq!(documented.len(), rows.len());
    }

    #[test]
    fn the_document_counts_the_rows() {
        let count = |is: fn(&State) -> bool| TABLE.iter().filter(|row| is(&row.2)).count();
        let sentence = format!(
            "Of the {} calls of Linux 6.1, {} are full, {} partial, {} no-ops and {} absent.",
            TABLE.len(),
            count(|state| *state == State::Full),
            count(|state| matches!(state, State::Partial(_))),
            count(|state| matches!(state, State::NoOp(_))),
            count(|state| matches!(state, State::Absent(_))),
        );
        assert!(
            DOC.contains(&sentence),
            "not in docs/syscalls.md: {sentence}"
        );
    }
}
