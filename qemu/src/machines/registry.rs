//! The machines of this user that run, and detached ones that have ended: a directory each under
//! `${XDG_RUNTIME_DIR}/elfin/machines`, named by the machine's id.
//!
//! In it are `about`, which says what the machine is, the `socket` of the elfin that runs it, and `lock`, which that
//! one holds for as long as it lives: nothing else says whether a machine runs, so who is killed leaves nothing that
//! could be taken for one. A detached machine has its output there (`log.rs`), and `end` once it has ended.

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::about::About;
use crate::data;

/// So many machines that have ended are remembered.
const REMEMBERED: usize = 16;

const ABOUT: &str = "about";
const SOCKET: &str = "socket";
const LOCK: &str = "lock";
pub(super) const END: &str = "end";

/// The directory of all machines of this user, which is made if it is not there.
fn directory() -> Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let base = match runtime.filter(|path| path.is_absolute()) {
        Some(base) => base.join("elfin"),
        None => {
            let uid = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("elfin-{uid}"))
        }
    };
    let dir = base.join("machines");
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&dir)
        .with_context(|| format!("cannot create {}", dir.display()))?;
    // In a directory that all may write to, somebody else may have been faster.
    let owner = fs::symlink_metadata(&base)
        .with_context(|| format!("cannot look at {}", base.display()))?
        .uid();
    if owner != rustix::process::getuid().as_raw() {
        bail!("{} belongs to somebody else", base.display());
    }
    Ok(dir)
}

/// All machines of this user.
pub(super) struct Registry {
    dir: PathBuf,
}

/// What becomes of the directory of a machine that ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Remembered {
    /// It goes.
    No,
    /// It stays, with the output.
    Yes,
}

impl Registry {
    pub(super) fn open() -> Result<Self> {
        Ok(Self { dir: directory()? })
    }

    /// Keeps other machines from coming as long as the file is open.
    fn lock(&self) -> Result<File> {
        let file = File::open(&self.dir).context("cannot open the directory of machines")?;
        flock(&file, FlockOperation::LockExclusive)
            .context("cannot lock the directory of machines")?;
        Ok(file)
    }

    /// The machines, oldest first.
    pub(super) fn all(&self) -> Result<Vec<Known>> {
        let entries = fs::read_dir(&self.dir).context("cannot list machines")?;
        // What goes while this looks is not there.
        let known = entries.filter_map(|entry| Known::read(entry.ok()?.path()));
        let mut known: Vec<_> = known.collect();
        known.sort_by(|a, b| (a.about.created, &a.id).cmp(&(b.about.created, &b.id)));
        Ok(known)
    }

    /// The machine that is meant: by its name, its id, or the beginning of that.
    pub(super) fn find(&self, wish: &str) -> Result<Known> {
        let mut all = self.all()?;
        let exact = |one: &Known| one.about.name.as_deref() == Some(wish) || one.id == wish;
        // Those that run come first, and later ones before earlier ones.
        all.sort_by_key(|one| !one.runs());
        if let Some(at) = all.iter().position(exact) {
            return Ok(all.swap_remove(at));
        }
        let mut begun = all
            .into_iter()
            .filter(|one| !wish.is_empty() && one.id.starts_with(wish));
        match (begun.next(), begun.next()) {
            (Some(_), Some(_)) => bail!("more than one machine begins with {wish}"),
            (Some(one), None) => Ok(one),
            (None, _) => {
                bail!("there is no machine {wish}; `elfin ps -a` lists those there are")
            }
        }
    }

    /// Removes what killed machines have left, and what is too old. The lock is held.
    fn sweep(&self, name: Option<&str>) -> Result<()> {
        let mut ended: Vec<_> = self.all()?;
        ended.retain(|one| !one.runs());
        let keeps = ended.len().saturating_sub(REMEMBERED - 1);
        for (number, one) in ended.iter().enumerate() {
            let is_replaced = name.is_some() && one.about.name.as_deref() == name;
            if !one.about.detached || is_replaced || number < keeps {
                fs::remove_dir_all(&one.dir)
                    .with_context(|| format!("cannot remove {}", one.dir.display()))?;
            }
        }
        Ok(())
    }

    /// Adds a machine.
    pub(super) fn enter(&self, about: &About, remembered: Remembered) -> Result<Entry> {
        if let Some(name) = &about.name
            && !data::is_name(name)
        {
            bail!("'{name}' is no name for a machine: letters, digits, '_', '.' and '-'");
        }
        let _lock = self.lock()?;
        if let Some(name) = &about.name
            && let Some(other) = self
                .all()?
                .into_iter()
                .find(|one| one.runs() && one.about.name.as_ref() == Some(name))
        {
            bail!(
                "there is a machine {name} already ({}); `elfin stop {name}` ends it",
                other.id
            );
        }
        self.sweep(about.name.as_deref())?;
        // Under another name until it is whole.
        let made = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&self.dir)
            .context("cannot enter the machine")?;
        fs::write(made.path().join(ABOUT), about.to_bytes()).context("cannot enter the machine")?;
        let lock = File::create(made.path().join(LOCK)).context("cannot enter the machine")?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .context("cannot enter the machine")?;
        let opened = File::open(made.path()).context("cannot enter the machine")?;
        let listener = UnixListener::bind(socket_in(&opened)).context("cannot make a socket")?;
        let id = new_id().context("cannot make an id")?;
        let dir = self.dir.join(&id);
        fs::rename(made.path(), &dir).context("cannot enter the machine")?;
        // It has gone where it belongs.
        let _ = made.keep();
        Ok(Entry {
            id,
            dir,
            listener: Some(listener),
            remembered,
            _lock: lock,
        })
    }
}

/// The path of the socket in an open directory: addresses of sockets have little room.
fn socket_in(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

/// Twelve hexadecimal digits.
fn new_id() -> std::io::Result<String> {
    let mut bytes = [0; 6];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A machine of our own, which is known to others until this is dropped.
pub(crate) struct Entry {
    pub(crate) id: String,
    dir: PathBuf,
    listener: Option<UnixListener>,
    remembered: Remembered,
    /// Held to the end.
    _lock: File,
}

impl Entry {
    /// Where others come in. Once.
    pub(crate) fn listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }

    /// Where its output goes, if it is detached.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The machine has ended, so.
    pub(crate) fn ended(&self, status: u8) {
        // Without it, it counts as killed.
        let _ =
            crate::cache::write_atomically(&self.dir.join(END), format!("{status}\n").as_bytes());
    }

    /// It has failed to start: nothing is worth remembering.
    pub(crate) fn forget(&mut self) {
        self.remembered = Remembered::No;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.remembered == Remembered::No {
            // What cannot be removed, whoever comes next removes.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A machine that somebody runs, or has run.
pub(super) struct Known {
    pub(super) id: String,
    pub(super) about: About,
    pub(super) dir: PathBuf,
}

impl Known {
    fn read(dir: PathBuf) -> Option<Self> {
        let id = dir.file_name()?.to_str()?.to_owned();
        let about = fs::read(dir.join(ABOUT)).ok()?;
        (!id.starts_with('.')).then_some(())?;
        Some(Self {
            id,
            about: About::from_bytes(&about)?,
            dir,
        })
    }

    /// Whether there is an elfin that runs it.
    pub(super) fn runs(&self) -> bool {
        let Ok(lock) = File::open(self.dir.join(LOCK)) else {
            return false;
        };
        flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// Waits until there is none.
    pub(super) fn wait(&self) -> Result<()> {
        // One that is not remembered may have gone.
        let Ok(lock) = File::open(self.dir.join(LOCK)) else {
            return Ok(());
        };
        flock(&lock, FlockOperation::LockShared).context("cannot wait for the machine")
    }

    /// Removes what is left of it. It does not run any more.
    pub(super) fn forget(&self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove {}", self.dir.display())),
        }
    }

    /// What a user calls it.
    pub(super) fn name(&self) -> &str {
        self.about.name.as_deref().unwrap_or(&self.id)
    }

    /// How it has ended, and when; `None` if it runs or was killed.
    pub(super) fn end(&self) -> Option<(u8, SystemTime)> {
        let path = self.dir.join(END);
        let status = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
        Some((status, fs::metadata(&path).ok()?.modified().ok()?))
    }

    /// How long ago it has begun.
    pub(super) fn age(&self) -> Duration {
        let created = SystemTime::UNIX_EPOCH + Duration::from_secs(self.about.created);
        created.elapsed().unwrap_or_default()
    }

    /// The elfin that runs it.
    pub(super) fn connect(&self) -> Result<UnixStream> {
        if !self.runs() {
            bail!("machine {} has ended", self.name());
        }
        let dir = File::open(&self.dir);
        let stream = dir.and_then(|dir| UnixStream::connect(socket_in(&dir)));
        // It may have ended just now.
        stream.with_context(|| format!("cannot reach machine {}", self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(dir: &tempfile::TempDir) -> Registry {
        Registry {
            dir: dir.path().to_owned(),
        }
    }

    fn about(name: &str, detached: bool) -> About {
        About {
            name: (!name.is_empty()).then(|| name.to_owned()),
            detached,
            ..About::default()
        }
    }

    fn names(registry: &Registry) -> Vec<String> {
        let all = registry.all().unwrap();
        let mut names: Vec<_> = all.iter().map(|one| one.name().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn machines_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(&dir);
        let db = registry.enter(&about("db", false), Remembered::No).unwrap();
        let other = registry.enter(&about("", false), Remembered::No).unwrap();
        for wish in [other.id.as_str(), &other.id[..11]] {
            assert_eq!(registry.find(wish).unwrap().id, other.id);
        }
        assert!(registry.find("db").unwrap().runs());
        let refused = |name| {
            let entered = registry.enter(&about(name, false), Remembered::No);
            entered.err().unwrap().to_string()
        };
        assert!(refused("db").starts_with("there is a machine db already"));
        assert!(refused("a/b").contains("no name"));
        assert!(registry.find("web").is_err() && registry.find("").is_err());
        drop(db);
        assert_eq!(names(&registry), [other.id.as_str()]);
    }

    #[test]
    fn ends_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(&dir);
        let run = |name: &str, status: Option<u8>| {
            let entry = registry.enter(&about(name, true), Remembered::Yes).unwrap();
            if let Some(status) = status {
                entry.ended(status);
            }
        };
        run("a", Some(3));
        run("killed", None);
        assert_eq!(
            registry.find("a").unwrap().end().map(|(status, _)| status),
            Some(3)
        );
        let killed = registry.find("killed").unwrap();
        assert!(!killed.runs() && killed.end().is_none());
        let gone = killed.connect().unwrap_err().to_string();
        assert_eq!(gone, "machine killed has ended");
        run("a", Some(4));
        assert_eq!(names(&registry), ["a", "killed"]);
        for _ in 0..40 {
            run("", Some(0));
        }
        assert_eq!(registry.all().unwrap().len(), REMEMBERED);
    }

    #[test]
    fn who_was_killed_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(&dir);
        let killed = registry.enter(&about("a", false), Remembered::Yes).unwrap();
        drop(killed);
        assert!(!registry.find("a").unwrap().runs());
        let next = registry.enter(&about("b", false), Remembered::No).unwrap();
        assert_eq!(names(&registry), ["b"]);
        drop(next);
    }
}
