//! LD_DEBUG: what `ld.so(8)` says about its work on the program's standard error, in the words of glibc 2.36.
//!
//! Lazy binding says something too, and may happen in a signal handler: lines are formatted into a buffer on the stack,
//! and nothing here allocates or locks. What is switched off costs the read of one word.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::error::Error;
use crate::host::{Event, Host};
use crate::lookup::{Definition, Request};
use crate::namespace::NamespaceId;
use crate::object::{Object, Role};
use crate::text::Text;
use crate::world::{Entry, World};

/// What lines are about: glibc's `DL_DEBUG_` bits.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Category {
    /// Where libraries are looked for.
    Libs = 1 << 0,
    /// INIT and FINI functions, which every category but a few brings with it.
    Calls = 1 << 1,
    /// What symbols are bound to.
    Bindings = 1 << 2,
    /// Which objects are searched for a symbol.
    Symbols = 1 << 3,
    /// Checks of versions.
    Versions = 1 << 4,
    /// Which objects are relocated.
    Reloc = 1 << 5,
    /// What is mapped, opened and closed.
    Files = 1 << 6,
    /// Counts and times.
    Statistics = 1 << 7,
    /// Objects nobody needs: `ldd -u` says which. For programs it has everything bound at once, and that is all.
    Unused = 1 << 8,
    /// Who searches what.
    Scopes = 1 << 9,
    /// The list of categories, instead of the program.
    Help = 1 << 10,
}

use Category::{
    Bindings, Calls, Files, Help, Libs, Reloc, Scopes, Statistics, Symbols, Unused, Versions,
};

/// The words of LD_DEBUG, what they stand for, and what they are good for.
const WORDS: [(&str, u32, &str); 11] = [
    ("libs", Libs as u32 | CALLS, "display library search paths"),
    (
        "reloc",
        Reloc as u32 | CALLS,
        "display relocation processing",
    ),
    (
        "files",
        Files as u32 | CALLS,
        "display progress for input file",
    ),
    (
        "symbols",
        Symbols as u32 | CALLS,
        "display symbol table processing",
    ),
    (
        "bindings",
        Bindings as u32 | CALLS,
        "display information about symbol binding",
    ),
    (
        "versions",
        Versions as u32 | CALLS,
        "display version dependencies",
    ),
    ("scopes", Scopes as u32, "display scope information"),
    ("all", ALL, "all previous options combined"),
    (
        "statistics",
        Statistics as u32,
        "display relocation statistics",
    ),
    ("unused", Unused as u32, "determined unused DSOs"),
    ("help", Help as u32, "display this help message and exit"),
];

const CALLS: u32 = Calls as u32;
const ALL: u32 = Libs as u32
    | Reloc as u32
    | Files as u32
    | Symbols as u32
    | Bindings as u32
    | Versions as u32
    | Scopes as u32
    | CALLS;

/// The categories that are on. There is one environment, and so one of these.
static MASK: AtomicU32 = AtomicU32::new(0);

/// Switches on what the value of LD_DEBUG asks for; complains about words it does not know.
///
/// # Errors
///
/// [`Error::DebugHelp`]: what is asked for is the list of categories.
pub(crate) fn switch_on(host: &dyn Host, value: &[u8]) -> Result<(), Error> {
    let separator = |byte: &u8| matches!(byte, b' ' | b',' | b':');
    let mut mask = 0;
    for word in value.split(separator).filter(|word| !word.is_empty()) {
        match WORDS.iter().find(|(known, ..)| known.as_bytes() == word) {
            Some((_, categories, _)) => mask |= categories,
            None => host.trace(&Event::Warning(&alloc::format!(
                "warning: debug option `{}' unknown; try LD_DEBUG=help",
                Text(word)
            ))),
        }
    }
    MASK.store(mask, Ordering::Relaxed);
    if is_on(Help) {
        return Err(Error::DebugHelp);
    }
    Ok(())
}

/// Says whether a category is on.
pub(crate) fn is_on(category: Category) -> bool {
    MASK.load(Ordering::Relaxed) & category as u32 != 0
}

/// Says whether every symbol is to be bound at once: only then it shows what is unused.
pub(crate) fn binds_now() -> bool {
    is_on(Unused)
}

/// Prints lines, without the end of the last one, if their category is on.
#[inline]
pub(crate) fn say(host: &dyn Host, category: Category, lines: fmt::Arguments<'_>) {
    if is_on(category) {
        host.trace(&Event::Debug(lines));
    }
}

/// Displays the list of categories.
pub(crate) struct HelpText;

impl fmt::Display for HelpText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Valid options for the LD_DEBUG environment variable are:\n\n")?;
        for (word, _, purpose) in WORDS {
            writeln!(f, "  {word:<10}  {purpose}")?;
        }
        f.write_str(
            "\nTo direct the debugging output into a file instead of standard output\n\
             a filename can be specified using the LD_DEBUG_OUTPUT environment variable.",
        )
    }
}

/// Displays a name with the number of its namespace: `libm.so.6 [0]`.
pub(crate) struct In<'a>(pub(crate) &'a [u8], pub(crate) NamespaceId);

impl<'a> In<'a> {
    /// Names an object.
    pub(crate) fn of(object: &'a Object) -> Self {
        Self(object.shown(), object.namespace())
    }

    /// Names an object as its link map does: the program has no name.
    pub(crate) fn mapped(object: &'a Object) -> Self {
        let is_main = object.role() == Role::Main;
        Self(
            if is_main { b"" } else { object.path() },
            object.namespace(),
        )
    }
}

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", Text(self.0), self.1.lmid())
    }
}

/// Shows what a reference was bound to. `protected`: the object's own symbol is.
pub(crate) fn bound(
    host: &dyn Host,
    from: &Object,
    to: &Definition<'_>,
    request: &Request<'_>,
    protected: bool,
) {
    if !is_on(Bindings) {
        return;
    }
    let (name, version) = (
        request.name.bytes,
        request.version.map(|version| version.name),
    );
    let (from, to, name) = (In::of(from), In::of(to.object), Text(name));
    let how = if protected { "protected" } else { "normal" };
    match version.map(Text) {
        Some(version) => say(
            host,
            Bindings,
            format_args!("binding file {from} to {to}: {how} symbol `{name}' [{version}]"),
        ),
        None => say(
            host,
            Bindings,
            format_args!("binding file {from} to {to}: {how} symbol `{name}'"),
        ),
    }
}

/// Shows a look-up that has failed.
pub(crate) fn not_found(host: &dyn Host, error: &Error) {
    if MASK.load(Ordering::Relaxed) & ALL != 0
        && let Error::UndefinedSymbol {
            object,
            symbol,
            version,
        } = error
    {
        let (object, symbol) = (Text(object), Text(symbol));
        let start =
            format_args!("{object}: error: symbol lookup error: undefined symbol: {symbol}");
        match version.as_deref().map(Text) {
            Some(version) => {
                host.trace(&Event::Debug(format_args!(
                    "{start}, version {version} (fatal)"
                )));
            }
            None => host.trace(&Event::Debug(format_args!("{start} (fatal)"))),
        }
    }
}

/// Shows a mapped file.
pub(crate) fn mapped(host: &dyn Host, name: &[u8], object: &Object) {
    let (name, span) = (In(name, object.namespace()), object.span());
    say(
        host,
        Files,
        format_args!(
            "file={name};  generating link map\n  dynamic: {:#018x}  base: {:#018x}   size: {:#018x}\n    \
             entry: {:#018x}  phdr: {:#018x}  phnum:   {:16}\n",
            object.dynamic_address(),
            object.bias(),
            span.len(),
            object.entry(),
            object.headers_address(),
            object.segments().len(),
        ),
    );
}

/// Shows what the references of an object search.
pub(crate) fn scopes(host: &dyn Host, world: &World, entry: &Entry) {
    if !is_on(Scopes) {
        return;
    }
    say(
        host,
        Scopes,
        format_args!("object={}", In::of(&entry.object)),
    );
    for (number, group) in world.scopes(entry).enumerate() {
        let names = Names(group);
        say(host, Scopes, format_args!(" scope {number}:{names}"));
    }
    say(host, Scopes, format_args!(""));
}

/// Displays the names of objects, with a space before each.
struct Names<'a>(&'a [alloc::sync::Arc<Object>]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|object| write!(f, " {}", Text(object.shown())))
    }
}

/// The last thing before the program: its own INIT functions are libc's to run, and so it seems is the rest.
pub(crate) fn program_begins(host: &dyn Host, program: &[u8]) {
    let program = Text(program);
    say(
        host,
        Calls,
        format_args!("\ninitialize program: {program}\n"),
    );
    say(
        host,
        Calls,
        format_args!("\ntransferring control: {program}\n"),
    );
}

/// Writes the lines of an [`Event::Debug`], each with the process's number before it, as `ld.so` does. A line that is
/// not very long is written by one call of `write`.
pub fn write_debug(process: u32, lines: &fmt::Arguments<'_>, write: impl FnMut(&[u8])) {
    let mut output = Lines {
        process,
        buffer: [0; 512],
        used: 0,
        in_line: false,
        write,
    };
    // `Lines` never fails.
    let _ = output.write_fmt(*lines).and_then(|()| output.end_line());
}

/// Lines on their way.
struct Lines<W> {
    process: u32,
    buffer: [u8; 512],
    used: usize,
    in_line: bool,
    write: W,
}

impl<W: FnMut(&[u8])> Lines<W> {
    fn end_line(&mut self) -> fmt::Result {
        self.begin_line()?;
        self.put(b"\n");
        self.flush();
        self.in_line = false;
        Ok(())
    }

    fn begin_line(&mut self) -> fmt::Result {
        if self.in_line {
            return Ok(());
        }
        self.in_line = true;
        let process = self.process;
        write!(self, "{process:10}:\t")
    }

    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.used == self.buffer.len() {
                self.flush();
            }
            self.buffer[self.used] = byte;
            self.used += 1;
        }
    }

    fn flush(&mut self) {
        (self.write)(&self.buffer[..self.used]);
        self.used = 0;
    }
}

impl<W: FnMut(&[u8])> Write for Lines<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut lines = text.split('\n');
        if let Some(first) = lines.next().filter(|first| !first.is_empty()) {
            self.begin_line()?;
            self.put(first.as_bytes());
        }
        for line in lines {
            self.end_line()?;
            if !line.is_empty() {
                self.begin_line()?;
                self.put(line.as_bytes());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn written(lines: fmt::Arguments<'_>) -> Vec<String> {
        let mut writes = Vec::new();
        write_debug(42, &lines, |bytes| {
            writes.push(String::from_utf8_lossy(bytes).into_owned());
        });
        writes
    }

    #[test]
    fn every_line_is_one_write_with_the_process_before_it() {
        let (name, empty) = ("libx.so", "");
        let writes = written(format_args!("\n{empty}calling init: {name}{empty}\n"));
        let lines = [
            "        42:\t\n",
            "        42:\tcalling init: libx.so\n",
            "        42:\t\n",
        ];
        assert_eq!(writes, lines);
    }

    #[test]
    fn long_lines_are_whole() {
        let name = "x".repeat(2000);
        let text = written(format_args!("trying file={name}")).concat();
        assert_eq!(text, alloc::format!("        42:\ttrying file={name}\n"));
    }
}
