//! Alternatives: `libblas.so.3` and its like exist only as links that a package's postinst script
//! asks update-alternatives for. Where scripts cannot be run, they are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use filetime::FileTime;

use crate::tree::Tree;

/// Link names with all that want to be behind them.
#[derive(Default)]
pub(super) struct Alternatives {
    groups: BTreeMap<String, Vec<Choice>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Choice {
    priority: i64,
    /// The master link first, then its slaves.
    links: Vec<Link>,
}

#[derive(Debug, PartialEq, Eq)]
struct Link {
    link: PathBuf,
    name: String,
    path: PathBuf,
}

impl Alternatives {
    /// Collects what the shell script `script` would install.
    pub(super) fn read(&mut self, script: &str) {
        for line in script.replace("\\\n", " ").lines() {
            if let Some((name, choice)) = parse(line) {
                self.groups.entry(name).or_default().push(choice);
            }
        }
    }

    /// Makes the links for the best choice of each group, as update-alternatives' automatic mode.
    pub(super) fn install(mut self, tree: &Tree) -> Result<()> {
        for choices in self.groups.values_mut() {
            choices.sort_by_key(|choice| -choice.priority);
            let exists = |link: &Link| tree.resolve(&link.path).is_some();
            let Some(choice) = choices
                .iter()
                .find(|choice| choice.links.first().is_some_and(exists))
            else {
                continue;
            };
            for link in choice.links.iter().filter(|link| exists(link)) {
                let middle = Path::new("/etc/alternatives").join(&link.name);
                let time = FileTime::zero();
                tree.add_link(&middle, &link.path, time)?;
                tree.add_link(&link.link, &middle, time)?;
            }
        }
        Ok(())
    }
}

/// Parses `update-alternatives --install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]…`.
fn parse(line: &str) -> Option<(String, Choice)> {
    let line = line.split_once("update-alternatives ")?.1;
    let clean = |word: &str| word.trim_matches(['"', '\'', ';']).to_owned();
    let mut words = line.split_whitespace().map(clean).peekable();
    while words
        .next_if(|word| word == "--quiet" || word == "--force")
        .is_some()
    {}
    if words.next()? != "--install" {
        return None;
    }
    // What a shell would still have to work out is beyond us.
    let link = |words: &mut dyn Iterator<Item = String>| {
        let (link, name, path) = (words.next()?, words.next()?, words.next()?);
        let plain = link.starts_with('/')
            && path.starts_with('/')
            && !name.contains('/')
            && ![&link, &name, &path]
                .iter()
                .any(|word| word.contains(['$', '`', '*']));
        plain.then(|| Link {
            link: link.into(),
            name,
            path: path.into(),
        })
    };
    let master = link(&mut words)?;
    let priority = words.next()?.parse().ok()?;
    let name = master.name.clone();
    let mut links = vec![master];
    while words.next_if(|word| word == "--slave").is_some() {
        links.extend(link(&mut words));
    }
    Some((name, Choice { priority, links }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const SCRIPT: &str = "#!/bin/sh\nset -e\n\
        update-alternatives --install /usr/lib/libblas.so.3 \\\n  libblas.so.3 \\\n\t  \
        /usr/lib/PLACE/libblas.so.3 PRIO\n\
        update-alternatives --install /usr/bin/$x x /y 10\n\
        update-alternatives --remove z /z\n";

    #[test]
    fn the_best_choice_wins() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        tree.skeleton().unwrap();
        let mut all = Alternatives::default();
        for (place, priority) in [("good", "100"), ("plain", "10"), ("absent", "200")] {
            let text = SCRIPT.replace("PLACE", place).replace("PRIO", priority);
            all.read(&text);
            if place != "absent" {
                let file = dir.path().join("usr/lib").join(place).join("libblas.so.3");
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, place).unwrap();
            }
        }
        assert_eq!(all.groups.len(), 1);
        all.install(&tree).unwrap();
        let found = tree.resolve(Path::new("/usr/lib/libblas.so.3")).unwrap();
        assert_eq!(fs::read_to_string(found).unwrap(), "good");
    }

    #[test]
    fn slaves_come_along() {
        let line = "  update-alternatives --quiet --install /usr/bin/awk awk /usr/bin/mawk 5 \
                    --slave /usr/share/man/awk.1 awk.1 /usr/share/man/mawk.1";
        let (name, choice) = parse(line).unwrap();
        assert_eq!(
            (name.as_str(), choice.priority, choice.links.len()),
            ("awk", 5, 2)
        );
        assert_eq!(choice.links[1].name, "awk.1");
    }
}
