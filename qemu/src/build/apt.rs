//! Asking apt which packages a package needs, and having it download them, without root rights and
//! without touching the machine's own package state: apt gets a private directory tree in which
//! nothing is installed yet.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::{install, sources};
use crate::cache::{self, Cache};
use crate::progress::Progress;
use crate::tool;

/// Package lists older than this are fetched anew before something new is resolved.
const LISTS_LAST: Duration = Duration::from_secs(24 * 60 * 60);

/// Debian's archive, as one suite of it.
pub(super) struct Apt<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
    suite: Option<&'a str>,
    refresh: bool,
}

/// One thing that dpkg is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The package's file.
    pub(super) file: PathBuf,
    /// Whether to configure the package, which has been unpacked, rather than to unpack it.
    pub(super) configure: bool,
}

/// apt's private directory tree for one set of sources.
struct Place {
    dir: PathBuf,
    debs: PathBuf,
    /// Identifies the sources.
    key: String,
    /// The suite to prefer.
    target: Option<String>,
}

impl<'a> Apt<'a> {
    /// Prepares to use `suite`, or the machine's own; with `refresh`, earlier answers are ignored.
    pub(super) fn new(
        cache: &'a Cache,
        progress: &'a Progress,
        suite: Option<&'a str>,
        refresh: bool,
    ) -> Self {
        Self {
            cache,
            progress,
            suite,
            refresh,
        }
    }

    /// Fetches the packages `names` and all they depend on; returns the steps by which apt would install them into an
    /// empty system.
    pub(super) fn fetch(&mut self, names: &[String]) -> Result<Vec<Step>> {
        let place = self.place()?;
        let record = self.cache.dir("resolved")?.join(format!(
            "steps-{}",
            cache::key(std::iter::once(&place.key).chain(names))
        ));
        if !self.refresh
            && let Some(steps) = recorded(&record, &place.debs)
        {
            return Ok(steps);
        }
        let _lock = self.cache.lock("apt")?;
        self.update(&place)?;
        let wanted = self.resolve(&place, names)?;
        let steps = self.order(&place, names, &wanted)?;
        self.download(&place, names, &wanted)?;
        cache::write_atomically(&record, steps.as_bytes())?;
        recorded(&record, &place.debs).context("apt did not download all packages")
    }

    /// The file of the package `name` alone, without what it depends on.
    pub(super) fn fetch_alone(&mut self, name: &str) -> Result<PathBuf> {
        let place = self.place()?;
        let record = self
            .cache
            .dir("resolved")?
            .join(format!("alone-{}", cache::key([&place.key, name])));
        if let Some(steps) = recorded(&record, &place.debs)
            && let [step] = steps.as_slice()
        {
            return Ok(step.file.clone());
        }
        let _lock = self.cache.lock("apt")?;
        self.update(&place)?;
        let printed = tool::output(
            self.apt_get(&place)?
                .args(["download", "--print-uris", "-qq"])
                .arg(name),
        )?;
        let wanted = file_names(&String::from_utf8_lossy(&printed));
        tool::output(
            self.apt_get(&place)?
                .args(["download", "-qq"])
                .arg(name)
                .current_dir(&place.debs),
        )?;
        let steps: Vec<_> = wanted
            .iter()
            .map(|file| format!("{UNPACK}{file}"))
            .collect();
        cache::write_atomically(&record, steps.join("\n").as_bytes())?;
        recorded(&record, &place.debs)
            .and_then(|steps| Some(steps.into_iter().next()?.file))
            .with_context(|| format!("apt did not download {name}"))
    }

    /// Identifies where packages come from.
    pub(super) fn key(&self) -> Result<String> {
        Ok(self.place()?.key)
    }

    fn place(&self) -> Result<Place> {
        let sources = match self.suite {
            Some(suite) => sources::of(suite)?,
            None => sources::of_machine()?,
        };
        let key = cache::key(std::iter::once(&sources.text).chain(&sources.target));
        let dir = self.cache.dir(&format!("apt/{key}"))?;
        let debs = self.cache.dir("debs")?;
        cache::write_atomically(&dir.join("elfin.sources"), sources.text.as_bytes())?;
        Ok(Place {
            dir,
            debs,
            key,
            target: sources.target,
        })
    }

    /// Lays out apt's directories and its configuration.
    fn configure(&self, place: &Place) -> Result<PathBuf> {
        let dir = &place.dir;
        for part in [
            "state/lists/partial",
            "cache",
            "sources",
            "apt.conf.d",
            "none",
        ] {
            fs::create_dir_all(dir.join(part))?;
        }
        fs::create_dir_all(place.debs.join("partial"))?;
        fs::copy(dir.join("elfin.sources"), dir.join("sources/elfin.sources"))?;
        fs::write(dir.join("status"), "")?;
        // The machine's proxies and certificates are needed, its hooks are not: apt reads this
        // directory after APT_CONFIG, so clearing them works only from a part of our own.
        for old in fs::read_dir(dir.join("apt.conf.d"))? {
            fs::remove_file(old?.path())?;
        }
        for part in fs::read_dir("/etc/apt/apt.conf.d").into_iter().flatten() {
            let part = part?;
            symlink(part.path(), dir.join("apt.conf.d").join(part.file_name()))?;
        }
        fs::write(
            dir.join("apt.conf.d/zz-elfin"),
            "#clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             #clear Acquire::IndexTargets::deb::DEP-11;\n\
             #clear Acquire::IndexTargets::deb::CNF;\n\
             Acquire::Languages \"none\";\n",
        )?;
        let mut text = String::new();
        for (option, value) in [
            ("Dir::State", dir.join("state")),
            ("Dir::State::status", dir.join("status")),
            ("Dir::State::extended_states", dir.join("state/extended")),
            ("Dir::Cache", dir.join("cache")),
            ("Dir::Cache::archives", place.debs.clone()),
            ("Dir::Etc::parts", dir.join("apt.conf.d")),
            ("Dir::Etc::sourcelist", "/dev/null".into()),
            ("Dir::Etc::sourceparts", dir.join("sources")),
            ("Dir::Etc::preferences", "/dev/null".into()),
            ("Dir::Etc::preferencesparts", dir.join("none")),
            ("Dir::Log", dir.join("cache")),
            ("APT::Architecture", "amd64".into()),
            ("APT::Install-Recommends", "false".into()),
            ("APT::Install-Suggests", "false".into()),
            ("APT::Sandbox::User", "root".into()),
            ("Debug::NoLocking", "true".into()),
        ] {
            writeln!(text, "{option} \"{}\";", value.display())?;
        }
        if let Some(suite) = &place.target {
            writeln!(text, "APT::Default-Release \"{suite}\";")?;
        }
        text.push_str("#clear APT::Architectures;\nAPT::Architectures { \"amd64\"; };\n");
        let config = dir.join("apt.conf");
        cache::write_atomically(&config, text.as_bytes())?;
        Ok(config)
    }

    fn apt_get(&self, place: &Place) -> Result<Command> {
        let mut command = Command::new(tool::find("apt-get", "apt")?);
        command
            .env("APT_CONFIG", place.dir.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive");
        Ok(command)
    }

    fn update(&self, place: &Place) -> Result<()> {
        self.configure(place)?;
        let stamp = place.dir.join("updated");
        let age = fs::metadata(&stamp)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        if !self.refresh && age.is_some_and(|age| age < LISTS_LAST) {
            return Ok(());
        }
        self.progress.step("fetching Debian's package lists");
        let result = tool::output(
            self.apt_get(place)?
                .args(["update", "-q", "--error-on=any"]),
        );
        match result {
            Ok(_) => fs::write(stamp, "")?,
            Err(error) if age.is_some() => {
                self.progress
                    .warn(format!("using old package lists: {error:#}"));
            }
            Err(error) => return Err(error.context("cannot fetch Debian's package lists")),
        }
        Ok(())
    }

    /// File names of all packages to install. With an empty archive, apt prints every one.
    fn resolve(&self, place: &Place, names: &[String]) -> Result<Vec<String>> {
        self.progress.step("resolving packages");
        let none = place.dir.join("none");
        fs::create_dir_all(none.join("partial"))?;
        let printed = tool::output(
            self.apt_get(place)?
                .arg("-o")
                .arg(format!("Dir::Cache::archives={}", none.display()))
                .args(["install", "-y", "-qq", "--print-uris"])
                .args(names),
        )
        .with_context(|| format!("cannot resolve the packages {}", names.join(", ")))?;
        let wanted = file_names(&String::from_utf8_lossy(&printed));
        if wanted.is_empty() {
            bail!("apt names no files for the packages {}", names.join(", "));
        }
        Ok(wanted)
    }

    /// The steps of the installation, one a line, as records have them.
    fn order(&self, place: &Place, names: &[String], wanted: &[String]) -> Result<String> {
        let printed = tool::output(
            self.apt_get(place)?
                .args(["install", "-y", "-qq", "--simulate"])
                .args(names),
        )?;
        let steps = steps(&String::from_utf8_lossy(&printed), wanted);
        let unpacked = steps
            .lines()
            .filter(|line| line.starts_with(UNPACK))
            .count();
        if unpacked != wanted.len() {
            bail!(
                "apt installs {unpacked} packages and downloads {}",
                wanted.len()
            );
        }
        Ok(steps)
    }

    fn download(&self, place: &Place, names: &[String], wanted: &[String]) -> Result<()> {
        let missing: Vec<_> = wanted
            .iter()
            .map(|name| place.debs.join(name))
            .filter(|file| !file.exists())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.progress.count("downloading packages", missing.len());
        let mut command = self.apt_get(place)?;
        command
            .args(["install", "-y", "-qq", "--download-only"])
            .args(names);
        std::thread::scope(|scope| {
            let download = scope.spawn(|| tool::output(command.stderr(Stdio::piped())));
            let mut done = 0;
            while !download.is_finished() {
                std::thread::sleep(Duration::from_millis(100));
                let now = missing.iter().filter(|file| file.exists()).count();
                for _ in done..now {
                    self.progress.advance();
                }
                done = done.max(now);
            }
            download.join()
        })
        .map_err(|_| anyhow::anyhow!("downloading packages failed"))?
        .context("cannot download packages")?;
        Ok(())
    }
}

/// What lines of a record start with.
const UNPACK: &str = "unpack ";
const CONFIGURE: &str = "configure ";

/// The steps of a record, if the files are all still there.
fn recorded(record: &Path, dir: &Path) -> Option<Vec<Step>> {
    let text = fs::read_to_string(record).ok()?;
    let step = |line: &str| {
        let unpacked = line.strip_prefix(UNPACK);
        let file = dir.join(unpacked.or_else(|| line.strip_prefix(CONFIGURE))?);
        file.exists().then_some(Step {
            file,
            configure: unpacked.is_none(),
        })
    };
    let steps: Vec<Step> = text.lines().map(step).collect::<Option<_>>()?;
    (!steps.is_empty()).then_some(steps)
}

/// What `apt-get --simulate` prints (`Inst NAME (VERSION …)`, `Conf NAME (VERSION …)`), with the packages' files.
fn steps(printed: &str, files: &[String]) -> String {
    let step = |line: &str| {
        let (action, rest) = line.split_once(' ')?;
        let action = match action {
            "Inst" => UNPACK,
            "Conf" => CONFIGURE,
            _ => return None,
        };
        let name = rest.split([' ', ':']).next()?;
        let file = files
            .iter()
            .find(|file| install::name(Path::new(file)) == name)?;
        Some(format!("{action}{file}\n"))
    };
    printed.lines().filter_map(step).collect()
}

/// The file names in the output of `--print-uris`: `'URI' NAME SIZE HASH`.
fn file_names(printed: &str) -> Vec<String> {
    printed
        .lines()
        .filter(|line| line.starts_with('\''))
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter(|name| name.ends_with(".deb") && !name.contains('/'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_apts_order() {
        let printed = "Inst libc6 (2.36 Debian:12 [amd64]) []\nInst libc6-dev (2.36 Debian:12 [amd64])\n\
                       Conf libc6 (2.36 Debian:12 [amd64])\nNOTE: x\n";
        let files = ["libc6-dev_2.36_amd64.deb", "libc6_2.36_amd64.deb"].map(str::to_owned);
        assert_eq!(
            steps(printed, &files),
            "unpack libc6_2.36_amd64.deb\nunpack libc6-dev_2.36_amd64.deb\nconfigure libc6_2.36_amd64.deb\n"
        );
    }

    #[test]
    fn file_names_of_uris() {
        let printed = "NOTE: x\n'http://d/z/zlib1g_1.2_amd64.deb' zlib1g_1%3a1.2_amd64.deb 86684 \
                       MD5Sum:ec\n'http://d/x' ../evil.deb 1\n";
        assert_eq!(file_names(printed), ["zlib1g_1%3a1.2_amd64.deb"]);
    }
}
