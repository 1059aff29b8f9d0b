//! A whole manifest, made fit for the directory that it shall go to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::trial;
use crate::files::disk::dir::Dir;
use crate::files::disk::finish::numbered;
use crate::files::disk::tree::Tree;
use crate::files::manifest::{Kind, Manifest};
use crate::files::names::fold::{collision, fold, lookalikes};
use crate::files::names::{NamePolicy, Rules};
use crate::files::{Error, Name};

/// `manifest` with names that the directory at `destination` can hold, and tells apart. It has
/// passed [`check`](super::check).
///
/// # Errors
/// [`Error::Name`] or [`Error::Collision`] if `policy` is to refuse and it has others.
pub(crate) fn fit(
    manifest: Manifest,
    policy: NamePolicy,
    destination: &Path,
) -> Result<Manifest, Error> {
    let unusable = |source| Error::Destination { path: destination.into(), source };
    let mut tree = Tree::open(destination).map_err(unusable)?;
    let rules = trial::rules_of(tree.root(), &manifest, Rules::of_this_system());
    let rules = rules.map_err(unusable)?;
    let manifest = replace_unfit(manifest, &rules, policy)?;
    separate(manifest, &rules, policy, &mut tree)
}

/// Replaces what `rules` forbid.
fn replace_unfit(manifest: Manifest, rules: &Rules, policy: NamePolicy) -> Result<Manifest, Error> {
    let mut names = BTreeMap::new();
    for (index, entry) in manifest.entries().iter().enumerate() {
        let Some(problem) = rules.problem(&entry.name) else { continue };
        let refused = |problem| Error::Name { path: manifest.path(index), problem };
        if policy == NamePolicy::Refuse {
            return Err(refused(problem));
        }
        names.insert(index, rules.replaced(&entry.name).map_err(refused)?);
    }
    rename(manifest, rules, names)
}

/// Gives another name to what the destination would take for another entry. Directories of one file
/// system may differ in that, so each is asked that will hold such names, or that will hold the
/// directory that will.
fn separate(
    manifest: Manifest,
    rules: &Rules,
    policy: NamePolicy,
    tree: &mut Tree,
) -> Result<Manifest, Error> {
    let mut names = BTreeMap::new();
    for group in lookalikes(&manifest)? {
        let failed = |source| Error::io("trying the name of", manifest.path(group[0]), source);
        let dir = nearest_directory(tree, &manifest, group[0]).map_err(failed)?;
        let alike: Vec<&Name> =
            group.iter().map(|&index| &manifest.entries()[index].name).collect();
        let repeated = trial::repeated(&dir, &alike).map_err(failed)?;
        if let (Some(&place), NamePolicy::Refuse) = (repeated.first(), policy) {
            let first = first_of(&dir, &alike, place).map_err(failed)?;
            return Err(collision(&manifest, group[first], group[place]));
        }
        names.extend(repeated.iter().map(|&place| (group[place], alike[place].clone())));
    }
    rename(manifest, rules, names)
}

/// The innermost directory around entry `index` that exists already.
fn nearest_directory(tree: &mut Tree, manifest: &Manifest, index: usize) -> io::Result<Arc<Dir>> {
    let mut inside = index;
    loop {
        match tree.around(manifest, inside) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        // The root is open: who has no parent is found in it.
        inside = manifest.parent(inside).unwrap_or(inside);
    }
}

/// Which of `names` the one at `place` is taken for.
fn first_of(dir: &Dir, names: &[&Name], place: usize) -> io::Result<usize> {
    for other in 0..place {
        if !trial::repeated(dir, &[names[other], names[place]])?.is_empty() {
            return Ok(other);
        }
    }
    Ok(0)
}

/// The manifest in which entries have other names, or numbered ones if those are taken, and links
/// lead to them.
fn rename(
    manifest: Manifest,
    rules: &Rules,
    mut names: BTreeMap<usize, Name>,
) -> Result<Manifest, Error> {
    if names.is_empty() {
        return Ok(manifest);
    }
    make_unique(&manifest, &mut names);
    let targets = redirect(&manifest, rules, &names);
    let mut renamed = Manifest::new();
    for (index, mut entry) in manifest.into_entries().into_iter().enumerate() {
        if let Some(name) = names.remove(&index) {
            entry.name = name;
        }
        if let (Kind::Symlink { target }, Some(redirected)) = (&mut entry.kind, targets.get(&index))
        {
            *target = redirected.clone();
        }
        renamed.push(entry)?;
    }
    Ok(renamed)
}

/// Adds numbers to `names` that would not be the only ones in their directory, on some system.
fn make_unique(manifest: &Manifest, names: &mut BTreeMap<usize, Name>) {
    let parents: HashSet<_> = names.keys().map(|&index| manifest.parent(index)).collect();
    let mut taken = HashSet::new();
    for (index, entry) in manifest.entries().iter().enumerate() {
        let parent = manifest.parent(index);
        if parents.contains(&parent) && !names.contains_key(&index) {
            taken.insert((parent, fold(&entry.name)));
        }
    }
    for (&index, name) in names {
        let parent = manifest.parent(index);
        let mut candidate = name.clone();
        let mut number = 0;
        while !taken.insert((parent, fold(&candidate))) {
            number += 1;
            candidate = numbered(name, number);
        }
        *name = candidate;
    }
}

/// The targets of links that lead to, or through, what has another name in `names`.
fn redirect(
    manifest: &Manifest,
    rules: &Rules,
    names: &BTreeMap<usize, Name>,
) -> HashMap<usize, Name> {
    let entries = manifest.entries();
    let is_found =
        |&index: &usize| entries[index].kind == Kind::Directory || names.contains_key(&index);
    let found = (0..entries.len()).filter(is_found);
    let found: HashMap<_, _> = found
        .map(|index| ((manifest.parent(index), entries[index].name.as_bytes()), index))
        .collect();
    let mut targets = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let Kind::Symlink { target } = &entry.kind else { continue };
        // Where the target has led so far, as long as that is in the manifest.
        let mut place = Some(manifest.parent(index));
        let mut components = Vec::new();
        for component in target.as_bytes().split(|&byte| byte == b'/') {
            if component == b".." {
                place = place.flatten().map(|directory| manifest.parent(directory));
                components.push(component.to_vec());
                continue;
            }
            let entry = place.and_then(|place| found.get(&(place, component)).copied());
            place = entry.map(Some);
            let name = entry.and_then(|entry| names.get(&entry).cloned());
            let name = name.unwrap_or_else(|| component.into());
            components.push(rules.replaced(&name).unwrap_or(name).as_bytes().to_vec());
        }
        targets.insert(index, components.join(&b'/').into());
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::NameProblem;
    use crate::files::manifest::{Entry, Modified};

    /// Entries as their depths, names and, for links, targets; for directories the target is `/`.
    fn manifest(entries: &[(usize, &str, &str)]) -> Manifest {
        let mut manifest = Manifest::new();
        for &(depth, name, target) in entries {
            let kind = match target {
                "" => Kind::File { size: 0 },
                "/" => Kind::Directory,
                target => Kind::Symlink { target: target.into() },
            };
            let modified = Modified { seconds: 0, nanos: 0 };
            manifest.push(Entry { kind, depth, name: name.into(), mode: 0o755, modified }).unwrap();
        }
        manifest
    }

    fn show(manifest: &Manifest) -> Vec<String> {
        let show = |(index, entry): (usize, &Entry)| match &entry.kind {
            Kind::Symlink { target } => format!("{} -> {target}", manifest.path(index)),
            _ => manifest.path(index),
        };
        manifest.entries().iter().enumerate().map(show).collect()
    }

    #[test]
    fn what_windows_cannot_hold_is_refused_or_replaced_and_links_follow() {
        let offered = || {
            manifest(&[
                (0, "a:", "/"),
                (1, "x?", ""),
                (1, "x*", ""),
                (1, "X_", ""),
                (1, "plain", ""),
                (1, "l:", "x*"),
                (1, "sub", "/"),
                (2, "up", "../x?"),
                (2, "aside", "../../gone:/x?"),
                (0, "a_", ""),
            ])
        };
        let refused = replace_unfit(offered(), &Rules::windows(), NamePolicy::Refuse);
        assert!(
            matches!(refused, Err(Error::Name { path, problem: NameProblem::Letter(':') }) if path == "a:")
        );
        let fit = replace_unfit(offered(), &Rules::windows(), NamePolicy::Replace).unwrap();
        let expected = [
            "a_ (1)",
            "a_ (1)/x_ (1)",
            "a_ (1)/x_ (2)",
            "a_ (1)/X_",
            "a_ (1)/plain",
            "a_ (1)/l_ -> x_ (2)",
            "a_ (1)/sub",
            "a_ (1)/sub/up -> ../x_ (1)",
            "a_ (1)/sub/aside -> ../../gone_/x_",
            "a_",
        ];
        assert_eq!(show(&fit), expected);
        let same = replace_unfit(offered(), &Rules::default(), NamePolicy::Refuse).unwrap();
        assert_eq!(same, offered());
    }

    #[test]
    fn what_would_be_one_file_gets_a_number() {
        let offered = manifest(&[(0, "d", "/"), (1, "A", ""), (1, "a", ""), (1, "a (1)", "")]);
        let names = [(2, "a".into())].into();
        let renamed = rename(offered, &Rules::default(), names).unwrap();
        assert_eq!(show(&renamed), ["d", "d/A", "d/a (2)", "d/a (1)"]);
    }

    #[test]
    fn names_that_differ_in_case_only_are_tried_where_they_shall_be() {
        let temp = tempfile::tempdir().unwrap();
        let offered = || manifest(&[(0, "d", "/"), (1, "A", ""), (1, "a", "")]);
        let differs = {
            std::fs::create_dir(temp.path().join("A")).unwrap();
            !temp.path().join("a").exists()
        };
        match fit(offered(), NamePolicy::Refuse, temp.path()) {
            Ok(same) => assert!(differs && same == offered()),
            Err(Error::Collision { first, second }) => {
                assert!(!differs);
                assert_eq!((&*first, &*second), ("d/A", "d/a"));
            }
            Err(error) => panic!("{error}"),
        }
        let fitted = fit(offered(), NamePolicy::Replace, temp.path()).unwrap();
        let second = if differs { "d/a" } else { "d/a (1)" };
        assert_eq!(show(&fitted), ["d", "d/A", second]);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
