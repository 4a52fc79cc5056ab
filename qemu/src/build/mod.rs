//! `elfin build`: stacks layers into a tree, completes the tree to a root that programs can live
//! in, checks it, and packs it into an image.

mod alternatives;
mod apt;
mod bindings;
mod check;
mod chroot;
mod compile;
mod deb;
mod finish;
mod install;
mod ldcache;
pub(crate) mod library;
pub(crate) mod needs;
mod python;
mod sources;
mod wheel;

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::cache::Cache;
use crate::cli::{BuildOptions, Layer};
use crate::dev;
use crate::image::{self, Owners};
use crate::progress::Progress;
use crate::tree::Tree;

/// What wheels may count on, by the rules for "manylinux" wheels, and Debian's Python does not need.
const WHEELS_NEED: [&str; 3] = ["libexpat1", "libstdc++6", "zlib1g"];

/// Builds the image that `options` describe.
pub(crate) fn build(options: &BuildOptions) -> Result<()> {
    let start = SystemTime::now();
    // Equal input, equal image: for directories that no layer brings, too, and for what packages' scripts make.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let packages = |layer: &Layer| !matches!(layer, Layer::Root { .. });
    let obstacle = match options.layers.iter().any(packages) {
        true => chroot::enter().err(),
        false => None,
    };
    let cache = Cache::open()?;
    let progress = Progress::new();
    let (staging, _lock) = staging(&cache)?;
    let tree = Tree::new(staging.path().join("root"));
    fs::create_dir(tree.root())?;
    tree.skeleton()?;
    let mut stack = Stack {
        apt: apt::Apt::new(&cache, &progress, options.suite.as_deref(), options.refresh),
        packages: install::Packages::new(&tree, &progress, obstacle),
        wheels: wheel::Wheels::new(&cache, &progress, options.refresh),
        progress: &progress,
        tree: &tree,
    };
    for layer in &options.layers {
        stack.add(layer)?;
    }
    stack.packages.report();
    if options.dev {
        dev::install(&tree, Path::new("/usr"))?;
    }
    finish::etc(&tree)?;
    let places = options.layers.iter().filter_map(|layer| match layer {
        Layer::Root { at, .. } => Some(at.clone()),
        Layer::Debs(_) | Layer::Wheels(_) => None,
    });
    compile::compile(&tree, &places.collect::<Vec<_>>(), &progress)?;
    progress.step("checking libraries");
    ldcache::write(&tree)?;
    let objects = library::objects(&tree)?;
    bindings::write(&tree, &objects)?;
    finish::traces(&tree)?;
    finish::dates(&tree, start)?;
    for problem in check::missing_libraries(&tree, &objects) {
        progress.warn(problem);
    }
    progress.step("writing the image");
    // Others than root own files only where the build may give them away, and root's are root's there.
    let owners = match rustix::process::geteuid().is_root() {
        true => Owners::Kept,
        false => Owners::Root,
    };
    image::write(tree.root(), &options.output, owners)
}

/// A directory to build in, locked while it is in use. Those of builds that were stopped are removed: their files may
/// be owned by users that exist in a namespace only.
fn staging(cache: &Cache) -> Result<(TempDir, File)> {
    const PREFIX: &str = "build-";
    let dir = cache.dir("tmp")?;
    let _lock = cache.lock("staging")?;
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let unused = |dir: File| flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok();
        if ours && File::open(entry.path()).is_ok_and(unused) {
            // If it cannot be removed now, then perhaps by the next build.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let staging = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir_in(dir)
        .context("cannot create a directory to build in")?;
    let lock = File::open(staging.path())?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok((staging, lock))
}

/// The layers so far.
struct Stack<'a> {
    apt: apt::Apt<'a>,
    packages: install::Packages<'a>,
    wheels: wheel::Wheels<'a>,
    progress: &'a Progress,
    tree: &'a Tree,
}

impl Stack<'_> {
    fn add(&mut self, layer: &Layer) -> Result<()> {
        match layer {
            Layer::Debs(names) => self.packages.add(&mut self.apt, names),
            Layer::Wheels(specs) => {
                let python = python::find(self.tree).is_some();
                // A root with a Python of its own must bring its libraries, too.
                if !python || !self.packages.is_empty() {
                    let mut names = WHEELS_NEED.map(str::to_owned).to_vec();
                    names.extend((!python).then(|| "python3".to_owned()));
                    self.packages.add(&mut self.apt, &names)?;
                }
                self.wheels.add(&mut self.apt, self.tree, specs)
            }
            Layer::Root { dir, at } => self.add_root(dir, at),
        }
    }

    fn add_root(&self, dir: &Path, at: &Path) -> Result<()> {
        self.progress.step(format!("copying {}", dir.display()));
        self.tree.add_tree(dir, at)
    }
}
