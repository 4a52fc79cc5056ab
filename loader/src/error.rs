//! What can go wrong, in the words of glibc's `ld.so`: programs compare and print `dlerror()`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::host::Errno;

/// An error, naming the object it is about and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A needed object, or one asked for, cannot be opened.
    CannotOpen {
        /// The name as asked for.
        name: Vec<u8>,
        /// Why.
        errno: Errno,
    },
    /// A file is not a well-formed object of this machine.
    Malformed {
        /// The object.
        object: Vec<u8>,
        /// What is wrong, as glibc words it where it has words.
        what: &'static str,
    },
    /// The host refused something.
    Host {
        /// The object worked on.
        object: Vec<u8>,
        /// What was being done, as glibc words it: `cannot read file data`.
        doing: &'static str,
        /// Why.
        errno: Errno,
    },
    /// The host could not map a segment. `ld.so` does not say why.
    Unmapped {
        /// The object.
        object: Vec<u8>,
        /// What was being done, as glibc words it.
        doing: &'static str,
        /// Why.
        errno: Errno,
    },
    /// The object is for processors with more instructions.
    IsaLevel {
        /// The object.
        object: Vec<u8>,
    },
    /// A record in a table of versions has a format of its own.
    VersionRecord {
        /// The object.
        object: Vec<u8>,
        /// `Verdef` or `Verneed`.
        kind: &'static str,
        /// The number of the format.
        format: u16,
    },
    /// A symbol has no definition.
    UndefinedSymbol {
        /// The object with the reference.
        object: Vec<u8>,
        /// The symbol.
        symbol: Vec<u8>,
        /// The version asked for.
        version: Option<Vec<u8>>,
    },
    /// An object does not define a version that another needs.
    VersionNotFound {
        /// The object that ought to define it.
        object: Vec<u8>,
        /// The version.
        version: Vec<u8>,
        /// Who needs it.
        wanted_by: Vec<u8>,
    },
    /// The object asks for something this loader does not do.
    Unsupported {
        /// The object.
        object: Vec<u8>,
        /// What it asks for.
        what: &'static str,
    },
    /// RTLD_SHARED asks for a proxy in a namespace that has the object itself.
    AlreadyLoaded(Vec<u8>),
    /// The program is not for this loader: the host should start it as Linux does.
    Foreign(Foreign),
    /// More auditors are asked for than there can be.
    TooManyAuditors(usize),
    /// LD_DEBUG asks for the list of categories instead of the program.
    DebugHelp,
    /// INIT or FINI functions cannot be run: the calling thread is in a signal handler.
    Interrupted {
        /// The object.
        object: Vec<u8>,
        /// `INIT` or `FINI`.
        kind: &'static str,
        /// The function that the handler has interrupted.
        function: &'static str,
    },
    /// A request that makes no sense, with glibc's text.
    Invalid(&'static str),
}

/// Why a program is left to its own interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It has no PT_INTERP: static, or not a program at all.
    Static,
    /// Its interpreter is not glibc's.
    Interpreter(Vec<u8>),
    /// Its C library's version has not been reviewed.
    Glibc(Vec<u8>),
}

const ALREADY_LOADED: &str = "cannot be shared with a namespace that has loaded it already";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::text::Text;
        match self {
            // Linux opens a directory; it is reading that fails.
            Self::CannotOpen { name, errno } if *errno == Errno::EISDIR => {
                write!(f, "{}: cannot read file data: {errno}", Text(name))
            }
            Self::CannotOpen { name, errno } => {
                write!(f, "{}: cannot open shared object file: {errno}", Text(name))
            }
            Self::Malformed { object, what } | Self::Unsupported { object, what } => {
                write!(f, "{}: {what}", Text(object))
            }
            Self::Host {
                object,
                doing,
                errno,
            } => {
                write!(f, "{}: {doing}: {errno}", Text(object))
            }
            Self::Unmapped { object, doing, .. } => write!(f, "{}: {doing}", Text(object)),
            Self::IsaLevel { object } => write!(f, "{}: {ISA_LEVEL}", Text(object)),
            Self::VersionRecord {
                object,
                kind,
                format,
            } => {
                let object = Text(object);
                write!(f, "{object}: unsupported version {format} of {kind} record")
            }
            Self::UndefinedSymbol {
                object,
                symbol,
                version,
            } => {
                write!(f, "{}: undefined symbol: {}", Text(object), Text(symbol))?;
                match version {
                    Some(version) => write!(f, ", version {}", Text(version)),
                    None => Ok(()),
                }
            }
            Self::VersionNotFound {
                object,
                version,
                wanted_by,
            } => {
                write!(
                    f,
                    "{}: version `{}' not found (required by {})",
                    Text(object),
                    Text(version),
                    Text(wanted_by)
                )
            }
            Self::AlreadyLoaded(object) => write!(f, "{}: {ALREADY_LOADED}", Text(object)),
            Self::Foreign(Foreign::Static) => f.write_str("the program has no interpreter"),
            Self::Foreign(Foreign::Interpreter(path)) => {
                write!(f, "the program asks for the interpreter {}", Text(path))
            }
            Self::Foreign(Foreign::Glibc(version)) => {
                write!(f, "glibc {} has not been reviewed", Text(version))
            }
            Self::Interrupted {
                object,
                kind,
                function,
            } => {
                let object = Text(object);
                write!(
                    f,
                    "{object}: cannot run {kind} functions: the signal handler has interrupted {function}"
                )
            }
            Self::TooManyAuditors(number) => {
                let most = crate::auditors::MOST;
                write!(
                    f,
                    "Failed loading {number} audit modules, {most} are supported."
                )
            }
            Self::DebugHelp => fmt::Display::fmt(&crate::observer::HelpText, f),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Error {}

const ISA_LEVEL: &str = "CPU ISA level is lower than required";

impl Error {
    /// Returns what is wrong, without naming the object or the system's error.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::CannotOpen { errno, .. } if *errno == Errno::EISDIR => "cannot read file data",
            Self::CannotOpen { .. } => "cannot open shared object file",
            Self::Malformed { what, .. } | Self::Unsupported { what, .. } => what,
            Self::Host { doing, .. } | Self::Unmapped { doing, .. } => doing,
            Self::IsaLevel { .. } => ISA_LEVEL,
            Self::VersionRecord { .. } => "unsupported version record",
            Self::UndefinedSymbol { .. } => "undefined symbol",
            Self::VersionNotFound { .. } => "version not found",
            Self::AlreadyLoaded(_) => ALREADY_LOADED,
            Self::Interrupted { .. } => "cannot run INIT or FINI functions in a signal handler",
            Self::TooManyAuditors(_) => "too many audit modules",
            Self::Foreign(_) | Self::DebugHelp => "not for this loader",
            Self::Invalid(text) => text,
        }
    }

    /// Returns the system's error, if the text ends with one.
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::CannotOpen { errno, .. } | Self::Host { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Returns what `ld.so` prints, without the end of the line, when this keeps a program from starting, and the
    /// status it exits with. `program` is `argv[0]`.
    pub fn at_startup(&self, program: &[u8]) -> (String, i32) {
        let program = crate::text::Text(program);
        let mut text = format!("{self}");
        // ld.so has few texts of its own for the system's errors, and no libc yet to ask for the others.
        if let Some(errno) = self.errno()
            && !matches!(errno.0, 1 | 2 | 12 | 13 | 22)
            && let Some(before) = text.strip_suffix(&format!("{errno}"))
        {
            text = format!("{before}Error {}", errno.0);
        }
        match self {
            Self::VersionNotFound { .. } | Self::VersionRecord { kind: "Verdef", .. } => {
                (format!("{program}: {text}"), 1)
            }
            Self::DebugHelp => (text, 0),
            // These name the object only, or nothing.
            Self::IsaLevel { .. } | Self::TooManyAuditors(_) => (text, 127),
            Self::UndefinedSymbol { .. } => {
                (format!("{program}: symbol lookup error: {text}"), 127)
            }
            _ => (
                format!("{program}: error while loading shared libraries: {text}"),
                127,
            ),
        }
    }
}
