//! Running programs of the tree, with the tree as their root and as its root user: in namespaces of their own, so that
//! nothing outside changes. That takes root rights, or a user namespace, into which elfin goes with the whole build,
//! since the owners of files in the tree can be told apart, and changed, only in there.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Error, Result};

use crate::tool;
use crate::tree::Tree;

/// Set for an elfin that is in a user namespace already.
const INSIDE: &str = "ELFIN_IN_NAMESPACE";
/// What a program in the tree gets of its own; all its processes end with it.
const NAMESPACES: [&str; 6] = ["--mount", "--uts", "--pid", "--fork", "--kill-child", "--"];
/// Mounts what programs expect, and calls chroot.
const SCRIPT: &str = include_str!("chroot.sh");
/// Where the directory of package files is mounted for the programs.
pub(super) const PACKAGES: &str = "/run/packages";

/// Goes on as the root user of a user namespace if this process may not use chroot: it is executed anew then. Returns
/// why that is not to be had, if so.
pub(super) fn enter() -> Result<(), Error> {
    let unshare = tool::find("unshare", "util-linux")?;
    if rustix::process::geteuid().is_root() || std::env::var_os(INSIDE).is_some() {
        tool::output(Command::new(unshare).args(NAMESPACES).arg("true"))?;
        return Ok(());
    }
    let mut trial = in_user_namespace()?;
    tool::output(trial.arg(unshare).args(NAMESPACES).arg("true"))?;
    let mut again = in_user_namespace()?;
    let elfin = std::env::current_exe().context("cannot find elfin's own file")?;
    again.arg(elfin).args(std::env::args_os().skip(1));
    Err(again.env(INSIDE, "1").exec().into())
}

/// A command in a user namespace that has a range of users besides root, from `/etc/subuid`.
fn in_user_namespace() -> Result<Command> {
    let mut command = Command::new(tool::find("unshare", "util-linux")?);
    // unshare needs them.
    tool::find("newuidmap", "uidmap")?;
    command.args(["--user", "--map-root-user", "--map-auto", "--"]);
    Ok(command)
}

/// A command that runs `words` inside `tree`, with the files of `packages` at [`PACKAGES`].
pub(super) fn command<T: AsRef<OsStr>>(
    tree: &Tree,
    packages: &Path,
    words: impl IntoIterator<Item = T>,
) -> Result<Command> {
    let mut command = Command::new(tool::find("unshare", "util-linux")?);
    command
        .args(NAMESPACES)
        .args(["sh", "-c", SCRIPT, "sh"])
        .arg(tree.root())
        .arg(packages)
        .args(words)
        .env_clear()
        .envs([
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ]);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn programs_run_inside_and_leave_nothing_mounted() {
        if !rustix::process::geteuid().is_root() || enter().is_err() {
            eprintln!("skipped: this machine does not let us use chroot");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path().join("root"));
        fs::create_dir(tree.root()).unwrap();
        tree.skeleton().unwrap();
        let packages = dir.path().join("packages");
        fs::create_dir(&packages).unwrap();
        fs::write(packages.join("p.deb"), "").unwrap();
        let source = dir.path().join("program.c");
        let text = r#"#include <stdio.h>
            #include <unistd.h>
            int main(void) {
                char name[99];
                gethostname(name, sizeof name);
                return puts(name) == EOF || access("/run/packages/p.deb", F_OK) || access("/proc/self/exe", F_OK)
                    || !fopen("/dev/null", "w") || !fopen("/tmp/gone", "w") || !fopen("/kept", "w") || getuid();
            }"#;
        fs::write(&source, text).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-static", "-o"])
            .arg(tree.root().join("program"))
            .arg(&source);
        assert!(gcc.status().unwrap().success());
        let printed = tool::output(&mut command(&tree, &packages, ["/program"]).unwrap()).unwrap();
        assert_eq!(printed, b"elfin\n");
        assert!(tree.root().join("kept").exists() && packages.join("p.deb").exists());
        for place in ["dev", "proc", "tmp", "run/packages"] {
            assert_eq!(
                fs::read_dir(tree.root().join(place)).unwrap().count(),
                0,
                "{place}"
            );
        }
        let error = tool::output(&mut command(&tree, &packages, ["/none"]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("/none"), "{error}");
    }
}
