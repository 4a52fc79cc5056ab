//! Installing Debian packages as dpkg does, by the tree's own dpkg, so that their maintainer scripts make what only
//! they make: users, alternatives, certificates, caches. Where the tree cannot be entered, packages are only unpacked,
//! and the plain `update-alternatives` lines of their scripts are heeded.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use filetime::FileTime;

use super::alternatives::Alternatives;
use super::apt::{Apt, Step};
use super::{chroot, deb};
use crate::progress::Progress;
use crate::tool;
use crate::tree::Tree;

/// What scripts may count on without a word, and any program on a Debian system may, too: apt's pattern for the
/// essential packages. apt, which counts itself among them, has nothing to do in an image. Without `usr-is-merged` (in
/// suites that have it) apt would choose the package that merges directories at run time, with Perl as a whole.
const ESSENTIAL: [&str; 2] = [
    "?and(?essential,?not(?exact-name(apt)))",
    "?exact-name(usr-is-merged)",
];

/// What an image gets where scripts cannot be run: the C library's locale and the names of the system.
const LEAST: [&str; 2] = ["base-files", "libc-bin"];

/// Keeps services from being started.
const POLICY: (&str, &str) = ("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");

/// dpkg's words for installing into a tree that is thrown away if the machine stops meanwhile.
const DPKG: [&str; 4] = [
    "dpkg",
    "--force-unsafe-io",
    "--force-confnew",
    "--force-depends",
];

/// The packages of one tree.
pub(super) struct Packages<'a> {
    tree: &'a Tree,
    progress: &'a Progress,
    /// Names of all packages asked for so far.
    names: Vec<String>,
    /// Package files that are in the tree already.
    installed: HashSet<PathBuf>,
    /// Why scripts are not run, if so.
    obstacle: Option<Error>,
    /// How many packages have scripts that were not run.
    skipped: usize,
}

impl<'a> Packages<'a> {
    /// None so far; `obstacle` says why scripts cannot be run.
    pub(super) fn new(tree: &'a Tree, progress: &'a Progress, obstacle: Option<Error>) -> Self {
        Self {
            tree,
            progress,
            names: Vec::new(),
            installed: HashSet::new(),
            obstacle,
            skipped: 0,
        }
    }

    /// Whether no package has been asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Installs the packages `names` and what they depend on.
    pub(super) fn add(&mut self, apt: &mut Apt, names: &[String]) -> Result<()> {
        if self.names.is_empty() && self.obstacle.is_none() {
            self.names.extend(ESSENTIAL.map(str::to_owned));
            let essential = apt.fetch(&self.names)?;
            if let Err(error) = self.bootstrap(&essential) {
                self.obstacle = Some(error);
                self.names.clear();
            }
        }
        if self.names.is_empty() {
            self.names.extend(LEAST.map(str::to_owned));
        }
        self.names.extend_from_slice(names);
        // Later layers must agree on versions with earlier ones, so all are resolved together.
        let steps = apt.fetch(&self.names)?;
        if self.obstacle.is_none() {
            self.install(&steps)
        } else {
            self.unpack(&steps)
        }
    }

    /// Says what has been left out.
    pub(super) fn report(&self) {
        if let (Some(obstacle), 1..) = (&self.obstacle, self.skipped) {
            self.progress.warn(format!(
                "the maintainer scripts of {} packages were not run: users, certificates, caches and the like that they \
                 make are missing, and all files are root's ({obstacle:#})",
                self.skipped
            ));
        }
    }

    /// Makes the essential packages work in the empty tree: they need each other's programs to be installed, so their
    /// files are there before dpkg comes.
    fn bootstrap(&mut self, steps: &[Step]) -> Result<()> {
        let files = files(steps);
        self.progress
            .count("unpacking essential packages", files.len());
        for file in &files {
            deb::unpack(file, self.tree)?;
            self.progress.advance();
        }
        for empty in ["/var/lib/dpkg/status", "/var/lib/dpkg/available"] {
            self.tree
                .add_file(Path::new(empty), &mut &b""[..], 0o644, FileTime::zero())?;
        }
        self.progress.step("installing essential packages");
        self.dpkg(&["--install"], &files)?;
        self.installed.extend(files.into_iter().map(Path::to_owned));
        Ok(())
    }

    /// Takes apt's steps, in its order, for packages that are not installed.
    fn install(&mut self, steps: &[Step]) -> Result<()> {
        let new: Vec<&Step> = steps
            .iter()
            .filter(|step| !self.installed.contains(&step.file))
            .collect();
        let policy = Path::new(POLICY.0);
        self.tree
            .add_file(policy, &mut POLICY.1.as_bytes(), 0o755, FileTime::zero())?;
        self.progress.count("installing packages", new.len());
        let mut failure = None;
        for batch in new.chunk_by(|a, b| a.configure == b.configure) {
            let words: &[&str] = if batch[0].configure {
                &["--configure"]
            } else {
                &["--unpack", "--no-triggers"]
            };
            let files: Vec<&Path> = batch.iter().map(|step| step.file.as_path()).collect();
            let result = self.dpkg(words, &files);
            failure = failure.or(result.err());
            for _ in batch {
                self.progress.advance();
            }
        }
        // Triggers that are still pending, and what had to wait for others.
        let result = self.dpkg(&["--configure", "--pending"], &[]);
        fs::remove_file(self.tree.place(policy)?).context("cannot remove policy-rc.d")?;
        if let Some(error) = result.err().or(failure) {
            self.progress.warn(format!(
                "a maintainer script failed; the packages' files are in the image, what the script makes may be missing \
                 ({error:#})"
            ));
            self.complete(&files(steps))?;
        }
        self.installed
            .extend(new.iter().map(|step| step.file.clone()));
        Ok(())
    }

    /// Puts the files of those packages into place that dpkg has refused.
    fn complete(&self, files: &[&Path]) -> Result<()> {
        for file in files.iter().filter(|file| !self.installed.contains(**file)) {
            let list = format!("/var/lib/dpkg/info/{}", name(file));
            let there = [".list", ":amd64.list"]
                .map(|end| self.tree.resolve(Path::new(&(list.clone() + end))));
            if there.iter().all(Option::is_none) {
                deb::unpack(file, self.tree)?;
            }
        }
        Ok(())
    }

    /// Runs the tree's dpkg: with the files themselves to unpack them, with the packages' names to configure them.
    fn dpkg(&self, action: &[&str], files: &[&Path]) -> Result<()> {
        let by_name = action[0] == "--configure";
        let Some(dir) = files
            .first()
            .map_or(Some(self.tree.root()), |file| file.parent())
        else {
            bail!("a package file without a directory");
        };
        let words = DPKG
            .iter()
            .chain(action)
            .map(|word| OsStr::new(*word).to_owned());
        let words = words.chain(files.iter().map(|file| {
            if by_name {
                name(file).into()
            } else {
                Path::new(chroot::PACKAGES)
                    .join(file.file_name().unwrap_or_default())
                    .into()
            }
        }));
        let result = tool::output(&mut chroot::command(self.tree, dir, words)?);
        // Where packages were; /run keeps what scripts have put there.
        let _ = fs::remove_dir(self.tree.root().join(&chroot::PACKAGES[1..]));
        result.map(|_| ())
    }

    /// Puts the packages' files into place, and makes the alternatives that are plain.
    fn unpack(&mut self, steps: &[Step]) -> Result<()> {
        let files = files(steps);
        let new: Vec<_> = files
            .into_iter()
            .filter(|file| !self.installed.contains(*file))
            .collect();
        self.progress.count("unpacking packages", new.len());
        let mut alternatives = Alternatives::default();
        for file in &new {
            deb::unpack(file, self.tree)?;
            let script = deb::postinst(file)?;
            self.skipped += usize::from(!script.is_empty());
            alternatives.read(&script);
            self.progress.advance();
        }
        alternatives.install(self.tree)?;
        self.installed.extend(new.into_iter().map(Path::to_owned));
        Ok(())
    }
}

/// The package files that the steps unpack.
fn files(steps: &[Step]) -> Vec<&Path> {
    let unpacked = steps.iter().filter(|step| !step.configure);
    unpacked.map(|step| step.file.as_path()).collect()
}

/// The package's name, with which its file's name starts.
pub(super) fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('_').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Makes a package with one file and a script.
    fn package(dir: &Path, name: &str, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let content = dir.join(name);
        fs::create_dir_all(content.join("DEBIAN")).unwrap();
        fs::create_dir_all(content.join("opt")).unwrap();
        fs::write(content.join("opt").join(name), name).unwrap();
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: M\nDescription: D\n"
        );
        fs::write(content.join("DEBIAN/control"), control).unwrap();
        let postinst = content.join("DEBIAN/postinst");
        fs::write(&postinst, script).unwrap();
        // Whatever the umask.
        for place in [&postinst, &content.join("DEBIAN"), &content.join("opt")] {
            fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let file = dir.join(format!("{name}_1_all.deb"));
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.args(["--root-owner-group", "--build"])
            .arg(&content)
            .arg(&file);
        tool::output(&mut dpkg).unwrap();
        file
    }

    #[test]
    fn names_are_those_of_packages() {
        assert_eq!(name(Path::new("/d/libc6_2.36-9_amd64.deb")), "libc6");
        assert_eq!(name(Path::new("libpam0g_1%3a1.5_all.deb")), "libpam0g");
    }

    #[test]
    fn without_scripts_files_and_plain_alternatives_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path().join("root"));
        fs::create_dir(tree.root()).unwrap();
        tree.skeleton().unwrap();
        let script =
            "#!/bin/sh\nupdate-alternatives --install /usr/bin/x x /opt/a 1\nadduser --system x\n";
        let file = package(dir.path(), "a", script);
        let progress = Progress::new();
        let mut packages = Packages::new(&tree, &progress, Some(anyhow::anyhow!("not allowed")));
        let step = |configure| Step {
            file: file.clone(),
            configure,
        };
        packages.unpack(&[step(false), step(true)]).unwrap();
        assert_eq!(
            tree.resolve(Path::new("/usr/bin/x")),
            Some(tree.root().join("opt/a"))
        );
        assert_eq!(packages.skipped, 1);
        // A later layer brings it again.
        packages.unpack(&[step(false), step(true)]).unwrap();
        assert_eq!(packages.skipped, 1);
    }

    #[test]
    fn what_a_failing_dpkg_leaves_out_is_unpacked() {
        if !rustix::process::geteuid().is_root() || chroot::enter().is_err() {
            eprintln!("skipped: this machine does not let us use chroot");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path().join("root"));
        fs::create_dir(tree.root()).unwrap();
        tree.skeleton().unwrap();
        // Writes down what it is told, and fails to unpack.
        let source = dir.path().join("dpkg.c");
        let text = r#"#include <stdio.h>
            #include <string.h>
            int main(int argc, char **argv) {
                FILE *log = fopen("/log", "a");
                int failed = 0;
                for (int i = 4; i < argc; i++) {
                    fprintf(log, "%s ", argv[i]);
                    failed |= !strcmp(argv[i], "--unpack");
                }
                fputs("\n", log);
                return failed;
            }"#;
        fs::write(&source, text).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-static", "-o"])
            .arg(tree.root().join("usr/bin/dpkg"))
            .arg(&source);
        tool::output(&mut gcc).unwrap();
        let [a, b] = ["a", "b"].map(|name| package(dir.path(), name, "#!/bin/sh\n"));
        let step = |file: &Path, configure| Step {
            file: file.to_owned(),
            configure,
        };
        let steps = [
            step(&a, false),
            step(&b, false),
            step(&a, true),
            step(&b, true),
        ];
        let progress = Progress::new();
        let mut packages = Packages::new(&tree, &progress, None);
        packages.install(&steps).unwrap();
        let log = fs::read_to_string(tree.root().join("log")).unwrap();
        assert_eq!(
            log,
            "--unpack --no-triggers /run/packages/a_1_all.deb /run/packages/b_1_all.deb \n\
             --configure a b \n--configure --pending \n"
        );
        assert!(tree.root().join("opt/a").exists() && tree.root().join("opt/b").exists());
        assert_eq!(tree.resolve(Path::new(POLICY.0)), None);
        // A later layer brings them again.
        packages.install(&steps).unwrap();
        assert_eq!(
            fs::read_to_string(tree.root().join("log")).unwrap(),
            log + "--configure --pending \n"
        );
    }
}
