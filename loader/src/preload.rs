//! LD_PRELOAD and `/etc/ld.so.preload` (`ld.so(8)`): objects that are searched before what the program needs itself.

use alloc::format;
use alloc::vec::Vec;

use crate::host::Event;
use crate::linker::Linker;
use crate::load::Load;
use crate::namespace::{BASE, Key};
use crate::search::read_file;
use crate::state::State;
use crate::text::Text;

const FILE: &str = "/etc/ld.so.preload";

impl Linker<'_> {
    /// Maps what the variable and the file name, for the program, and returns it. `ld.so` says what is missing, and
    /// goes on.
    pub(crate) fn preload(
        &self,
        state: &mut State,
        load: &mut Load,
        main: Key,
        variable: &[u8],
    ) -> Vec<Key> {
        let file = read_file(self.host(), FILE.as_bytes()).unwrap_or_default();
        let by_variable = names(variable, b" :").map(|name| (name, "LD_PRELOAD"));
        let by_file = file_names(&file).map(|name| (name, FILE));
        let mut preloaded = Vec::new();
        for (name, source) in by_variable.chain(by_file) {
            match self.find_or_add(state, load, BASE, name, Some(main), false) {
                Ok(key) => preloaded.push(key),
                Err(error) => {
                    let (name, reason) = (Text(name), error.reason());
                    self.host().trace(&Event::Warning(&format!(
                        "ERROR: ld.so: object '{name}' from {source} cannot be preloaded ({reason}): ignored.",
                    )));
                }
            }
        }
        preloaded
    }
}

fn names<'a>(list: &'a [u8], separators: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    list.split(|byte| separators.contains(byte))
        .filter(|name| !name.is_empty())
}

/// Returns the names in the file, where the rest of a line behind a `#` is a comment.
fn file_names(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|&byte| byte == b'\n').flat_map(|line| {
        let content = line.split(|&byte| byte == b'#').next().unwrap_or(line);
        names(content, b" \t:")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_comments_and_any_white_space() {
        let file = b"# all\n/a/libx.so  liby.so:/z.so # not: this\n\t\n\nlast.so";
        let found: Vec<&[u8]> = file_names(file).collect();
        assert_eq!(
            found,
            [&b"/a/libx.so"[..], b"liby.so", b"/z.so", b"last.so"]
        );
    }
}
