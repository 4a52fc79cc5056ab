//! LD_DEBUG: what `ld.so(8)` says about its work on the program's standard error, in the words of glibc 2.36.

use core::fmt;

use super::step::Step;
use crate::error::Error;
use crate::host::{Event, Host};
use crate::text::Text;

/// Prints what there is to say about a step.
pub(super) fn show(host: &dyn Host, step: &Step<'_>) {
    // Without the end of the last one.
    let say = |lines: fmt::Arguments<'_>| host.trace(&Event::Debug(lines));
    match *step {
        Step::Searching(name) => say(format_args!("find library={name}; searching")),
        Step::SearchingPath(path, origin) => say(format_args!(" search path={path}\t\t({origin})")),
        Step::SearchingCache(cache) => say(format_args!(" search cache={cache}")),
        Step::Trying(path) => say(format_args!("  trying file={}", Text(path))),
        Step::Searched | Step::EndOfScopes => say(format_args!("")),
        Step::Needed {
            file,
            by,
            dynamically,
        } => {
            let how = if dynamically {
                "dynamically loaded"
            } else {
                "needed"
            };
            say(format_args!("\nfile={file};  {how} by {by}"));
        }
        Step::Mapped {
            file,
            dynamic,
            bias,
            size,
            entry,
            headers: (at, count),
        } => say(format_args!(
            "file={file};  generating link map\n  dynamic: {dynamic:#018x}  base: {bias:#018x}   \
             size: {size:#018x}\n    entry: {entry:#018x}  phdr: {at:#018x}  phnum:   {count:16}\n",
        )),
        Step::Opened(file, opens) => say(format_args!(
            "opening file={file}; direct_opencount={opens}\n"
        )),
        Step::Closing(file, opens) => say(format_args!(
            "\nclosing file={}; direct_opencount={opens}",
            Text(file)
        )),
        Step::NoAuditor(file) => say(format_args!(
            "file={file}; audit interface function la_version returned zero; ignored."
        )),
        Step::Unmapping(file) => say(format_args!("\nfile={file};  destroying link map")),
        Step::CheckingVersion { version, file, by } => say(format_args!(
            "checking for version `{}' in file {file} required by file {by}",
            Text(version)
        )),
        Step::Relocating { file, lazy } => {
            let lazy = if lazy { " (lazy)" } else { "" };
            say(format_args!(
                "\nrelocation processing: {}{lazy}",
                Text(file)
            ));
        }
        Step::LookingInto { file, symbol } => say(format_args!(
            "symbol={};  lookup in file={file}",
            Text(symbol)
        )),
        Step::Bound {
            from,
            to,
            symbol,
            version,
            protected,
        } => {
            let how = if protected { "protected" } else { "normal" };
            let symbol = Text(symbol);
            let bound = format_args!("binding file {from} to {to}: {how} symbol `{symbol}'");
            match version.map(Text) {
                Some(version) => say(format_args!("{bound} [{version}]")),
                None => say(bound),
            }
        }
        Step::NotFound(error) => not_found(error, say),
        Step::InitialScopes => say(format_args!("\nInitial object scopes")),
        Step::Scopes(object) => say(format_args!("object={object}")),
        Step::Scope(number, names) => say(format_args!(" scope {number}:{names}")),
        Step::AddedToGlobal(object) => say(format_args!("\nadd {object} to global scope")),
        Step::Init(file) => say(format_args!("\ncalling init: {}\n", Text(file))),
        Step::Fini(file) => say(format_args!("\ncalling fini: {file}\n")),
        Step::Program(file) => {
            let program = Text(file);
            say(format_args!("\ninitialize program: {program}\n"));
            say(format_args!("\ntransferring control: {program}\n"));
        }
        // What the statistics are made of.
        Step::Relative | Step::FoundAgain | Step::LookingUp | Step::Ready(_) | Step::End => {}
    }
}

/// Says which symbol a look-up has not found.
fn not_found(error: &Error, say: impl Fn(fmt::Arguments<'_>)) {
    if let Error::UndefinedSymbol {
        object,
        symbol,
        version,
    } = error
    {
        let (object, symbol) = (Text(object), Text(symbol));
        let start =
            format_args!("{object}: error: symbol lookup error: undefined symbol: {symbol}");
        match version.as_deref().map(Text) {
            Some(version) => say(format_args!("{start}, version {version} (fatal)")),
            None => say(format_args!("{start} (fatal)")),
        }
    }
}
