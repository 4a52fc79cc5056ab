//! `elfin build`: stacks layers into a tree, completes the tree to a root that programs can live
//! in, checks it, and packs it into an image.

mod alternatives;
mod apt;
mod check;
mod deb;
mod finish;
mod ldcache;
pub(crate) mod library;
pub(crate) mod needs;
mod python;
mod sources;
mod wheel;

use std::path::Path;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::cli::{BuildOptions, Layer};
use crate::dev;
use crate::image;
use crate::progress::Progress;
use crate::tree::Tree;

/// What every package-based image gets: the C library's locale and the names of the system, which
/// no package depends on because every Debian machine has them.
const IMPLIED: [&str; 2] = ["base-files", "libc-bin"];

/// What wheels may count on, by the rules for "manylinux" wheels, and Debian's Python does not need.
const WHEELS_NEED: [&str; 3] = ["libexpat1", "libstdc++6", "zlib1g"];

/// Builds the image that `options` describe.
pub(crate) fn build(options: &BuildOptions) -> Result<()> {
    let cache = Cache::open()?;
    let progress = Progress::new();
    let staging = tempfile::Builder::new()
        .prefix("build-")
        .tempdir_in(cache.dir("tmp")?)
        .context("cannot create a directory to build in")?;
    let tree = Tree::new(staging.path().join("root"));
    std::fs::create_dir(tree.root())?;
    tree.skeleton()?;
    let mut stack = Stack {
        apt: apt::Apt::new(&cache, &progress, options.suite.as_deref(), options.refresh),
        wheels: wheel::Wheels::new(&cache, &progress, options.refresh),
        progress: &progress,
        tree: &tree,
        names: Vec::new(),
        unpacked: Vec::new(),
    };
    for layer in &options.layers {
        stack.add(layer)?;
    }
    if options.dev {
        dev::install(&tree, Path::new("/usr"))?;
    }
    finish::etc(&tree)?;
    python::compile(&tree, &progress)?;
    progress.step("checking libraries");
    ldcache::write(&tree)?;
    finish::dates(&tree)?;
    for problem in check::missing_libraries(&tree)? {
        progress.warn(problem);
    }
    progress.step("writing the image");
    image::write(tree.root(), &options.output)
}

/// The layers so far.
struct Stack<'a> {
    apt: apt::Apt<'a>,
    wheels: wheel::Wheels<'a>,
    progress: &'a Progress,
    tree: &'a Tree,
    /// Names of all Debian packages asked for so far.
    names: Vec<String>,
    /// Package files that are in the tree already.
    unpacked: Vec<std::path::PathBuf>,
}

impl Stack<'_> {
    fn add(&mut self, layer: &Layer) -> Result<()> {
        match layer {
            Layer::Debs(names) => self.add_debs(names),
            Layer::Wheels(specs) => {
                let python = python::find(self.tree).is_some();
                // A root with a Python of its own must bring its libraries, too.
                if !python || !self.names.is_empty() {
                    let mut names = WHEELS_NEED.map(str::to_owned).to_vec();
                    names.extend((!python).then(|| "python3".to_owned()));
                    self.add_debs(&names)?;
                }
                self.wheels.add(&mut self.apt, self.tree, specs)
            }
            Layer::Root { dir, at } => self.add_root(dir, at),
        }
    }

    fn add_debs(&mut self, names: &[String]) -> Result<()> {
        if self.names.is_empty() {
            self.names.extend(IMPLIED.map(str::to_owned));
        }
        self.names.extend_from_slice(names);
        // Later layers must agree on versions with earlier ones, so all are resolved together.
        let files = self.apt.fetch(&self.names)?;
        let new: Vec<_> = files
            .into_iter()
            .filter(|file| !self.unpacked.contains(file))
            .collect();
        self.progress.count("unpacking packages", new.len());
        let mut alternatives = alternatives::Alternatives::default();
        for file in &new {
            deb::unpack(file, self.tree)?;
            alternatives.read(&deb::postinst(file)?);
            self.progress.advance();
        }
        alternatives.install(self.tree)?;
        self.unpacked.extend(new);
        Ok(())
    }

    fn add_root(&self, dir: &Path, at: &Path) -> Result<()> {
        self.progress.step(format!("copying {}", dir.display()));
        self.tree.add_tree(dir, at)
    }
}
