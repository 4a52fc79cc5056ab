//! What a test's source says about how it is built and run.
//!
//! Lines at the head of a source, `// key: value` in C and C++, `# key: value` in Python, up to the first line that is
//! not a comment:
//!
//! | key | meaning | default |
//! | --- | --- | --- |
//! | `args` | arguments; each further such line is a further run | none |
//! | `exit` | what each run's exit status must be on Linux, too (128 + the signal's number if one killed it) | 0 |
//! | `env` | `K=V` added to the environment; may be repeated | |
//! | `stdin` | text with `\n` for newlines, or `N x text` for N times the text | empty |
//! | `stdout` | `closed after N`: the reader goes away after N bytes, and only the status is compared | compared |
//! | `stderr` | `any`: is not compared | compared, but for lines of elfin's own |
//! | `backtrace` | functions that the guest's crash report on standard error names in this order, which is not compared then | |
//! | `options` | of `elfin run` for the guest | none |
//! | `says` | text that the guest's standard error has, in lines of elfin's own; may be repeated | |
//! | `hosted` | `too`: it is also run by elfin-hosted, like in the guest | |
//! | `forked` | `too`: it is also run in the guest with its main function in a child of fork(2), by `in_child.c` | |
//! | `cpus` | virtual CPUs; each further number is a further guest for each run | 2 |
//! | `soak` | arguments of a long run, for `make soak`; each further such line is a further one | |
//! | `memory` | the virtual machine's memory | 512M |
//! | `seconds` | time limit of a run | 120 |
//! | `flags`, `link` | more of the compiler's arguments, before and after the source | |
//! | `shared` | `NAME.so ARG…`: the same source, compiled to a shared object first; may be repeated | |
//! | `remove` | an object that is deleted once the program is linked | |
//! | `linux` | `as root`: Linux runs it as root only; a file `NAME.root` says what it prints there, to everybody else, too | |
//! | `build` | `in namespaces`: wants what packages' scripts make; ignored for users who may not make namespaces | |
//!
//! A file `NAME.out` beside the source is what the guest must print; such a test is not run on Linux.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Numbers of virtual CPUs that long runs are repeated on.
const SOAK_CPUS: [u32; 4] = [1, 2, 4, 8];

/// Time limit of a long run.
const SOAK_LIMIT: Duration = Duration::from_secs(3600);

/// How a source becomes something to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Compiled by gcc.
    C,
    /// Compiled by g++.
    Cpp,
    /// Run by `/usr/bin/python3`.
    Python,
}

/// One source with what its head says.
#[derive(Clone, Debug)]
pub struct Case {
    /// The source's name without its extension; also the program's.
    pub name: String,
    /// The source file.
    pub source: PathBuf,
    /// The source's language.
    pub language: Language,
    /// Arguments and expected exit status of each run; at least one.
    pub runs: Vec<Run>,
    /// Arguments of long runs.
    pub soak: Vec<Vec<String>>,
    /// Additions to the environment.
    pub env: Vec<(String, String)>,
    /// What the program can read.
    pub stdin: Vec<u8>,
    /// The reader of standard output goes away after so many bytes.
    pub close_stdout_after: Option<usize>,
    /// Whether standard error must be the same.
    pub compare_stderr: bool,
    /// Functions that the guest's crash report names in this order.
    pub backtrace: Vec<String>,
    /// Options of `elfin run`.
    pub options: Vec<String>,
    /// Text that elfin adds on the guest's standard error.
    pub says: Vec<String>,
    /// Whether the program is also run by elfin-hosted, the loader in an ordinary Linux process.
    pub hosted: bool,
    /// Whether it is also run in the guest with its main function in a forked child.
    pub forked: bool,
    /// Numbers of virtual CPUs to run on; at least one.
    pub cpus: Vec<u32>,
    /// Memory of the virtual machine, as elfin's option has it.
    pub memory: String,
    /// Time limit of a run.
    pub limit: Duration,
    /// Compiler arguments before the source.
    pub flags: Vec<String>,
    /// Compiler arguments after the source.
    pub link: Vec<String>,
    /// Shared objects made of the same source: names and compiler arguments.
    pub shared: Vec<(String, Vec<String>)>,
    /// Shared objects that only the linker shall see.
    pub removed: Vec<String>,
    /// What a guest must print, if Linux cannot be asked.
    pub expected: Option<PathBuf>,
    /// What Linux prints, if it must be asked as root.
    pub as_root: Option<PathBuf>,
    /// Whether the image must come from an `elfin build` that could make namespaces.
    pub in_namespaces: bool,
}

/// One way to call a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// The exit status it must have.
    pub exit: i32,
}

/// Where a program is run to be compared with Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A guest with so many virtual CPUs.
    Guest {
        /// How many.
        cpus: u32,
    },
    /// The loader in an ordinary Linux process.
    Hosted,
    /// A child of fork(2) in a guest with two virtual CPUs.
    Forked,
}

impl Case {
    /// Reads a source; `None` if the file is none (headers, version scripts, expected output).
    ///
    /// # Errors
    /// Unreadable files, and heads that make no sense.
    pub fn read(source: &Path) -> io::Result<Option<Self>> {
        let language = match source.extension().and_then(|e| e.to_str()) {
            Some("c") => Language::C,
            Some("cpp") => Language::Cpp,
            Some("py") => Language::Python,
            _ => return Ok(None),
        };
        let text = std::fs::read_to_string(source)?;
        Self::parse(source, language, &text)
            .map(Some)
            .map_err(|error| io::Error::other(format!("{}: {error}", source.display())))
    }

    fn parse(source: &Path, language: Language, text: &str) -> Result<Self, String> {
        let expected = source.with_extension("out");
        let mut case = Self {
            name: source
                .file_stem()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            source: source.to_owned(),
            language,
            runs: Vec::new(),
            soak: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            close_stdout_after: None,
            compare_stderr: true,
            backtrace: Vec::new(),
            options: Vec::new(),
            says: Vec::new(),
            hosted: false,
            forked: false,
            cpus: vec![2],
            memory: "512M".to_owned(),
            limit: Duration::from_secs(120),
            flags: Vec::new(),
            link: Vec::new(),
            shared: Vec::new(),
            removed: Vec::new(),
            expected: expected.exists().then_some(expected),
            as_root: None,
            in_namespaces: false,
        };
        let mut args = Vec::new();
        let mut exits = Vec::new();
        let comment = if language == Language::Python {
            "#"
        } else {
            "//"
        };
        for (index, line) in text.lines().enumerate() {
            let Some(line) = line.strip_prefix(comment) else {
                break;
            };
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match key.trim() {
                "args" => args.push(words(value)),
                "soak" => case.soak.push(words(value)),
                "exit" => exits.extend(numbers::<i32>(value)?),
                "env" => {
                    let (name, value) = value.split_once('=').ok_or("env: K=V")?;
                    case.env.push((name.to_owned(), value.to_owned()));
                }
                "stdin" => case.stdin = input(value)?,
                "stdout" => {
                    let count = value.strip_prefix("closed after ").ok_or("stdout: what?")?;
                    case.close_stdout_after = Some(number(count)?);
                }
                "stderr" if value == "any" => case.compare_stderr = false,
                "backtrace" => {
                    case.backtrace = words(value);
                    case.compare_stderr = false;
                }
                "options" => case.options.extend(words(value)),
                "says" => case.says.push(value.to_owned()),
                "hosted" if value == "too" => case.hosted = true,
                "forked" if value == "too" => case.forked = true,
                "linux" if value == "as root" => {
                    case.as_root = Some(source.with_extension("root"));
                }
                "build" if value == "in namespaces" => case.in_namespaces = true,
                "cpus" => case.cpus = numbers(value)?,
                "memory" => value.clone_into(&mut case.memory),
                "seconds" => case.limit = Duration::from_secs(number(value)?),
                "flags" => case.flags.extend(words(value)),
                "link" => case.link.extend(words(value)),
                "shared" => {
                    let mut words = words(value);
                    let name = words.remove(0);
                    case.shared.push((name, words));
                }
                "remove" => case.removed.extend(words(value)),
                // A sentence with a colon in it; the first line always is a sentence.
                key if index == 0 || key.contains(' ') => {}
                key => return Err(format!("unknown key {key}")),
            }
        }
        if args.is_empty() {
            args.push(Vec::new());
        }
        if exits.len() > args.len() {
            return Err("more exit statuses than runs".to_owned());
        }
        exits.resize(args.len(), exits.first().copied().unwrap_or(0));
        case.runs = args
            .into_iter()
            .zip(exits)
            .map(|(args, exit)| Run { args, exit })
            .collect();
        Ok(case)
    }

    /// The file to run, in the directory of programs.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self.language {
            Language::Python => format!("{}.py", self.name),
            Language::C | Language::Cpp => self.name.clone(),
        }
    }

    /// The case's long runs as a case, if it has any.
    #[must_use]
    pub fn soaked(mut self) -> Option<Self> {
        let run = |args: Vec<String>| Run { args, exit: 0 };
        self.runs = self.soak.iter().cloned().map(run).collect();
        self.cpus = SOAK_CPUS.to_vec();
        self.forked = false;
        self.limit = SOAK_LIMIT;
        (!self.runs.is_empty()).then_some(self)
    }

    /// What there is to test of each run: a guest for each number of CPUs, elfin-hosted, and a forked child.
    #[must_use]
    pub fn machines(&self) -> Vec<Machine> {
        let guests = self.cpus.iter().map(|&cpus| Machine::Guest { cpus });
        guests
            .chain(self.hosted.then_some(Machine::Hosted))
            .chain(self.forked.then_some(Machine::Forked))
            .collect()
    }

    /// The test's name for the `index`th run on a machine.
    #[must_use]
    pub fn title(&self, index: usize, machine: Machine) -> String {
        let kind = match self.language {
            Language::C => "c",
            Language::Cpp => "cpp",
            Language::Python => "python",
        };
        let mut title = format!("{kind}/{}", self.name);
        if let Some(run) = self.runs.get(index).filter(|_| self.runs.len() > 1) {
            title.push('/');
            title.push_str(&run.args.join("_"));
            if run.args.is_empty() {
                title.push_str("plain");
            }
        }
        match machine {
            Machine::Guest { cpus } if self.cpus.len() > 1 => {
                title.push_str(&format!("/{cpus}_cpus"));
            }
            Machine::Guest { .. } => {}
            Machine::Hosted => title.push_str("/hosted"),
            Machine::Forked => title.push_str("/forked"),
        }
        title
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn numbers<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, String> {
    let numbers: Vec<T> = text
        .split_whitespace()
        .map(number)
        .collect::<Result<_, _>>()?;
    if numbers.is_empty() {
        return Err("a number is missing".to_owned());
    }
    Ok(numbers)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn input(value: &str) -> Result<Vec<u8>, String> {
    let (count, text) = match value.split_once(" x ") {
        Some((count, text)) => (number(count)?, text),
        None => (1, value),
    };
    Ok(text.replace("\\n", "\n").repeat(count).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Case, String> {
        Case::parse(Path::new("/x/name.c"), Language::C, text)
    }

    #[test]
    fn an_empty_head_is_one_run() {
        let case = parse("int main(void) { return 0; }\n").unwrap();
        assert_eq!(
            case.runs,
            [Run {
                args: vec![],
                exit: 0
            }]
        );
        assert_eq!(case.title(0, Machine::Guest { cpus: 2 }), "c/name");
        assert_eq!(case.machines(), [Machine::Guest { cpus: 2 }]);
        assert!(case.clone().soaked().is_none());
        assert_eq!(case.cpus, [2]);
    }

    #[test]
    fn keys() {
        let case = parse(
            "// Asserts this: and that.\n// args: 1 a\n// args: 2\n// exit: 0 139\n// stdin: 2 x a\\n\n\
             // shared: l.so -DX\n// stderr: any\n// stdout: closed after 7\n// cpus: 4 8\nint x;\n// cpus: 9\n",
        )
        .unwrap();
        assert_eq!(case.title(1, Machine::Guest { cpus: 8 }), "c/name/2/8_cpus");
        assert_eq!(case.runs[1].exit, 139);
        assert_eq!(case.stdin, b"a\na\n");
        assert_eq!(case.shared, [("l.so".to_owned(), vec!["-DX".to_owned()])]);
        assert_eq!(case.close_stdout_after, Some(7));
        assert!(!case.compare_stderr);
        assert_eq!(case.cpus, [4, 8]);
        assert!(case.soaked().is_none());
        assert!(parse("// It starts.\n// argz: 1\n").is_err());
        assert!(parse("// It starts.\n// cpus: many\n").is_err());
        assert!(parse("// It starts.\n// cpus:\n").is_err());
    }

    #[test]
    fn a_long_run_is_a_case_of_its_own() {
        let case =
            parse("// It starts.\n// args: 3\n// exit: 1\n// hosted: too\n// forked: too\n// soak: 1000 all\n")
                .unwrap();
        assert_eq!(case.title(0, case.machines()[2]), "c/name/forked");
        let soaked = case.soaked().unwrap();
        assert_eq!(soaked.runs.len(), 1);
        assert_eq!(
            (soaked.runs[0].args.join(" "), soaked.runs[0].exit),
            ("1000 all".to_owned(), 0)
        );
        let titles: Vec<_> = soaked
            .machines()
            .into_iter()
            .map(|machine| soaked.title(0, machine))
            .collect();
        assert_eq!(
            titles,
            [
                "c/name/1_cpus",
                "c/name/2_cpus",
                "c/name/4_cpus",
                "c/name/8_cpus",
                "c/name/hosted"
            ]
        );
    }
}
