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

use super::sources;
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

    /// The package files of `names` and all they depend on, in the order apt would install them.
    pub(super) fn fetch(&mut self, names: &[String]) -> Result<Vec<PathBuf>> {
        let place = self.place()?;
        let record = self.cache.dir("resolved")?.join(format!(
            "deb-{}",
            cache::key(std::iter::once(&place.key).chain(names))
        ));
        if !self.refresh
            && let Some(files) = recorded(&record, &place.debs)
        {
            return Ok(files);
        }
        let _lock = self.cache.lock("apt")?;
        self.update(&place)?;
        let wanted = self.resolve(&place, names)?;
        self.download(&place, names, &wanted)?;
        cache::write_atomically(&record, wanted.join("\n").as_bytes())?;
        recorded(&record, &place.debs).context("apt did not download all packages")
    }

    /// The file of the package `name` alone, without what it depends on.
    pub(super) fn fetch_alone(&mut self, name: &str) -> Result<PathBuf> {
        let place = self.place()?;
        let record = self
            .cache
            .dir("resolved")?
            .join(format!("deb-alone-{}", cache::key([&place.key, name])));
        if let Some(files) = recorded(&record, &place.debs)
            && let [file] = files.as_slice()
        {
            return Ok(file.clone());
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
        cache::write_atomically(&record, wanted.join("\n").as_bytes())?;
        recorded(&record, &place.debs)
            .and_then(|files| files.into_iter().next())
            .with_context(|| format!("apt did not download {name}"))
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

/// The files a record names, if they are all still there.
fn recorded(record: &Path, dir: &Path) -> Option<Vec<PathBuf>> {
    let text = fs::read_to_string(record).ok()?;
    let files: Vec<PathBuf> = text.lines().map(|name| dir.join(name)).collect();
    (!files.is_empty() && files.iter().all(|file| file.exists())).then_some(files)
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
    fn file_names_of_uris() {
        let printed = "NOTE: x\n'http://d/z/zlib1g_1.2_amd64.deb' zlib1g_1%3a1.2_amd64.deb 86684 \
                       MD5Sum:ec\n'http://d/x' ../evil.deb 1\n";
        assert_eq!(file_names(printed), ["zlib1g_1%3a1.2_amd64.deb"]);
    }
}
