//! What programs need that use Elfin's own functions: the header, the library to link with, and pkg-config's file about
//! them. `elfin build --dev` puts them into an image, `elfin sdk` into a directory of the host.

use std::path::Path;

use anyhow::Result;
use filetime::FileTime;

use crate::tree::Tree;

const HEADER: &str = include_str!("../../include/elfin.h");
/// Built by `build.rs`.
const LIBRARY: &[u8] = include_bytes!(env!("ELFIN_LIBRARY"));

/// The library's file is called by its soname; linkers look for the other name.
const SONAME: &str = "libelfin.so.1";
const LINKER_NAME: &str = "libelfin.so";

/// Finds the other files beside itself, wherever that is.
const PKG_CONFIG: &str = concat!(
    "prefix=${pcfiledir}/../..\n",
    "Name: elfin\n",
    "Description: Functions of Elfin's dynamic linker\n",
    "Version: ",
    env!("CARGO_PKG_VERSION"),
    "\nLibs: -L${prefix}/lib -lelfin\n",
    "Cflags: -I${prefix}/include\n",
);

/// Adds the files below `prefix`, in `include` and `lib`.
pub(crate) fn install(tree: &Tree, prefix: &Path) -> Result<()> {
    let lib = prefix.join("lib");
    let files: [(_, &[u8]); 3] = [
        (prefix.join("include/elfin.h"), HEADER.as_bytes()),
        (lib.join(SONAME), LIBRARY),
        (lib.join("pkgconfig/elfin.pc"), PKG_CONFIG.as_bytes()),
    ];
    for (path, mut content) in files {
        tree.add_file(&path, &mut content, 0o644, FileTime::zero())?;
    }
    let link = lib.join(LINKER_NAME);
    tree.add_link(&link, Path::new(SONAME), FileTime::zero())
}
