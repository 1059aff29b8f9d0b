//! Walking the directories that are to be sent.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::manifest::{Entry, Kind, Manifest};
use super::names::link_stays_inside;
use super::outgoing::modified;
use super::peculiar::{HardLinks, MadeUp};
use super::{Error, Name};

/// How to treat what is neither file nor directory.
///
/// A link that is named itself is always followed. One in a directory is sent as a link if it stays inside
/// what is sent.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a plain set of choices")]
pub struct WalkOptions {
    /// What to do with links that lead elsewhere.
    pub outside_links: OutsideLinks,
    /// What to do with devices, sockets and pipes.
    pub special_files: SpecialFiles,
}

/// What to do with links that lead out of the directory that is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller offers all to its person")]
pub enum OutsideLinks {
    /// Refuse to send anything, and say which link it was.
    #[default]
    Refuse,
    /// Send what they lead to.
    Follow,
    /// Send everything else.
    LeaveOut,
}

/// What to do with devices, sockets and pipes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller offers both to its person")]
pub enum SpecialFiles {
    /// Refuse to send anything, and say which file it was.
    #[default]
    Refuse,
    /// Send everything else.
    LeaveOut,
}

/// What is in some paths.
pub(super) struct Collected {
    pub(super) manifest: Manifest,
    /// The path of each top-level entry.
    pub(super) tops: BTreeMap<usize, PathBuf>,
    /// The content of files that the system makes up as they are read, so that only reading them tells how long they are.
    pub(super) made_up: BTreeMap<usize, Vec<u8>>,
    /// How many files are another name of one that is among the entries before them.
    pub(super) hard_links: usize,
}

/// Collects what is in `paths`.
pub(super) fn collect<P: AsRef<Path>>(
    paths: &[P],
    options: WalkOptions,
) -> Result<Collected, Error> {
    let mut walk = Walk {
        options,
        manifest: Manifest::new(),
        around: Vec::new(),
        made_up: MadeUp::default(),
        hard_links: HardLinks::default(),
    };
    let mut names: BTreeMap<Name, &Path> = BTreeMap::new();
    let mut tops = BTreeMap::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let name = top_name(path)?;
        if let Some(first) = names.insert(name.clone(), path) {
            let name = name.to_string();
            return Err(Error::Duplicate { name, first: first.into(), second: path.into() });
        }
        tops.insert(walk.manifest.entries().len(), path.into());
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        walk.add(path, &name, &metadata, 0)?;
    }
    match walk.manifest.entries() {
        [] => Err(Error::Nothing),
        _ => Ok(Collected {
            manifest: walk.manifest,
            tops,
            made_up: walk.made_up.contents,
            hard_links: walk.hard_links.count,
        }),
    }
}

struct Walk {
    options: WalkOptions,
    manifest: Manifest,
    /// The directories around the next entry. As many as its depth.
    around: Vec<PathBuf>,
    made_up: MadeUp,
    hard_links: HardLinks,
}

impl Walk {
    /// Adds what `path` leads to. Links in it that stay inside the entry at depth `floor` are sent as such.
    fn add(
        &mut self,
        path: &Path,
        name: &Name,
        metadata: &Metadata,
        floor: usize,
    ) -> Result<(), Error> {
        if metadata.is_file() {
            check_readable(path).map_err(|source| unreadable(path, source))?;
            let index = self.manifest.entries().len();
            let size = self.made_up.size(index, path, metadata)?;
            self.hard_links.see(metadata);
            self.push(path, Kind::File { size }, name, metadata)
        } else if metadata.is_dir() {
            self.push(path, Kind::Directory, name, metadata)?;
            self.around.push(path.into());
            self.add_content(path, floor)?;
            self.around.pop();
            Ok(())
        } else if self.options.special_files == SpecialFiles::LeaveOut {
            Ok(())
        } else {
            Err(Error::Special { path: path.into() })
        }
    }

    /// Adds what is in the directory `path`, in the order of its names.
    fn add_content(&mut self, path: &Path, floor: usize) -> Result<(), Error> {
        let read = || -> io::Result<Vec<OsString>> {
            let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
            names.collect()
        };
        let mut names = read().map_err(|source| unreadable(path, source))?;
        names.sort_unstable();
        for name in names {
            let path = path.join(&name);
            let Some(name) = Name::of_os(&name) else {
                return Err(Error::NotUnicode { path });
            };
            let metadata =
                fs::symlink_metadata(&path).map_err(|source| unreadable(&path, source))?;
            if metadata.is_symlink() {
                self.add_link(&path, &name, &metadata, floor)?;
            } else {
                self.add(&path, &name, &metadata, floor)?;
            }
        }
        Ok(())
    }

    fn add_link(
        &mut self,
        path: &Path,
        name: &Name,
        metadata: &Metadata,
        floor: usize,
    ) -> Result<(), Error> {
        let target = fs::read_link(path).map_err(|source| unreadable(path, source))?;
        let depth = self.around.len();
        let inside = plain_target(&target)
            .filter(|target| link_stays_inside(depth - floor, target))
            .or_else(|| self.target_inside(&target, floor));
        if let Some(target) = inside {
            return self.push(path, Kind::Symlink { target }, name, metadata);
        }
        match self.options.outside_links {
            OutsideLinks::Refuse => return Err(Error::LinkLeaves { path: path.into(), target }),
            OutsideLinks::LeaveOut => return Ok(()),
            OutsideLinks::Follow => {}
        }
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if metadata.is_dir() {
            self.check_no_loop(path)?;
        }
        // What it leads to is a place of its own: steps upwards from there lead elsewhere than from here.
        self.add(path, name, &metadata, depth)
    }

    /// The same target without detours, if it is relative and leads into the entry at depth `floor`: such as `sub/../file`.
    fn target_inside(&self, target: &Path, floor: usize) -> Option<Name> {
        let here = self.around.last().filter(|_| target.is_relative())?;
        let whole = here.join(target);
        // What the target names may be a link itself, or missing; what is around it must be there.
        let place = match (whole.parent(), whole.file_name()) {
            (Some(parent), Some(name)) => fs::canonicalize(parent).ok()?.join(name),
            _ => fs::canonicalize(&whole).ok()?,
        };
        let (here, top) =
            (fs::canonicalize(here).ok()?, fs::canonicalize(&self.around[floor]).ok()?);
        if !place.starts_with(&top) {
            return None;
        }
        let common = here.ancestors().find(|above| place.starts_with(above))?;
        let ups = here.strip_prefix(common).ok()?.components().map(|_| Component::ParentDir);
        let relative: PathBuf = ups.chain(place.strip_prefix(common).ok()?.components()).collect();
        plain_target(&relative)
            .filter(|target| link_stays_inside(self.around.len() - floor, target))
    }

    fn check_no_loop(&self, link: &Path) -> Result<(), Error> {
        let real = |path: &Path| fs::canonicalize(path).map_err(|source| unreadable(path, source));
        let target = real(link)?;
        for directory in &self.around {
            if real(directory)? == target {
                return Err(Error::LinkLoop { path: link.into() });
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        path: &Path,
        kind: Kind,
        name: &Name,
        metadata: &Metadata,
    ) -> Result<(), Error> {
        let entry = Entry {
            mode: mode(metadata),
            kind,
            depth: self.around.len(),
            name: name.clone(),
            modified: modified(metadata),
        };
        match self.manifest.push(entry) {
            Ok(_) => Ok(()),
            Err(Error::Manifest(why)) => Err(Error::NotOffered { path: path.into(), why }),
            Err(error) => Err(error),
        }
    }
}

/// The last component of `path`, or of what it leads to if it is written without one (`.`, `a/..`).
fn top_name(path: &Path) -> Result<Name, Error> {
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        None => fs::canonicalize(path)
            .map_err(|source| unreadable(path, source))?
            .file_name()
            .ok_or(Error::NoName { path: path.into() })?
            .to_owned(),
    };
    Name::of_os(&name).ok_or(Error::NotUnicode { path: path.into() })
}

/// A link's target without components that say nothing; none if it is absolute, or cannot be sent.
fn plain_target(target: &Path) -> Option<Name> {
    let mut names = Vec::new();
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => names.push("..".into()),
            Component::Normal(name) => names.push(Name::of_os(name)?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    match &names[..] {
        [] => Some(".".into()),
        names => Some(names.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/').into()),
    }
}

/// Whether a file may be read: better known now than when its turn comes, perhaps hours after the other peer has come.
#[cfg(unix)]
fn check_readable(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, rustix::fs::Access::READ_OK)?)
}

#[cfg(not(unix))]
fn check_readable(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> u16 {
    use std::os::unix::fs::PermissionsExt;
    u16::try_from(metadata.permissions().mode() & 0o7777).unwrap_or(0o644)
}

#[cfg(not(unix))]
fn mode(metadata: &Metadata) -> u16 {
    match (metadata.is_dir(), metadata.permissions().readonly()) {
        (true, _) => 0o755,
        (false, true) => 0o444,
        (false, false) => 0o644,
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.into(), source }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use tempfile::{TempDir, tempdir};

    use super::*;

    const FOLLOW: WalkOptions =
        WalkOptions { outside_links: OutsideLinks::Follow, special_files: SpecialFiles::Refuse };

    fn tree() -> (TempDir, PathBuf) {
        let temp = tempdir().unwrap();
        let top = temp.path().join("top");
        fs::create_dir_all(top.join("sub")).unwrap();
        fs::write(top.join("sub/file"), "four").unwrap();
        (temp, top)
    }

    /// Each entry as its path and the first letter of its kind.
    fn collected(path: &Path, options: WalkOptions) -> Result<Vec<String>, Error> {
        let manifest = collect(&[path], options)?.manifest;
        let show = |index: usize| {
            let kind = match &manifest.entries()[index].kind {
                Kind::File { size } => format!("{size}"),
                Kind::Directory => "/".into(),
                Kind::Symlink { target } => format!("-> {target}"),
                other => format!("{other:?}"),
            };
            format!("{} {kind}", manifest.path(index))
        };
        Ok((0..manifest.entries().len()).map(show).collect())
    }

    #[test]
    fn links_inside_are_kept_and_plain() {
        let (_temp, top) = tree();
        symlink("./sub//file", top.join("a")).unwrap();
        symlink("../sub", top.join("sub/up")).unwrap();
        symlink("nowhere/", top.join("dangling")).unwrap();
        let expected = [
            "top /",
            "top/a -> sub/file",
            "top/dangling -> nowhere",
            "top/sub /",
            "top/sub/file 4",
            "top/sub/up -> ../sub",
        ];
        assert_eq!(collected(&top, WalkOptions::default()).unwrap(), expected);
    }

    #[test]
    fn links_that_lead_out_are_refused_or_followed() {
        let (temp, top) = tree();
        fs::create_dir(temp.path().join("out")).unwrap();
        fs::write(temp.path().join("out/x"), "1").unwrap();
        // From where it arrives, this one would lead elsewhere than from here.
        symlink("../top/sub/file", temp.path().join("out/y")).unwrap();
        for target in
            ["../out", "sub/../../out", "../top/../out", temp.path().join("out").to_str().unwrap()]
        {
            symlink(target, top.join("l")).unwrap();
            let refused = collected(&top, WalkOptions::default());
            assert!(matches!(refused, Err(Error::LinkLeaves { .. })), "{target}");
            let options = WalkOptions { outside_links: OutsideLinks::LeaveOut, ..FOLLOW };
            assert_eq!(collected(&top, options).unwrap(), ["top /", "top/sub /", "top/sub/file 4"]);
            let expected =
                ["top /", "top/l /", "top/l/x 1", "top/l/y 4", "top/sub /", "top/sub/file 4"];
            assert_eq!(collected(&top, FOLLOW).unwrap(), expected, "{target}");
            fs::remove_file(top.join("l")).unwrap();
        }
    }

    #[test]
    fn a_circle_of_links_is_refused() {
        let (_temp, top) = tree();
        symlink(&top, top.join("sub/round")).unwrap();
        assert!(matches!(collected(&top, FOLLOW), Err(Error::LinkLoop { .. })));
    }

    #[test]
    fn a_link_that_is_named_is_followed() {
        let (temp, top) = tree();
        symlink(top.join("sub"), temp.path().join("l")).unwrap();
        let walked = collected(&temp.path().join("l"), WalkOptions::default());
        assert_eq!(walked.unwrap(), ["l /", "l/file 4"]);
    }

    #[test]
    fn paths_without_a_name_get_the_one_they_have() {
        let (_temp, top) = tree();
        let walked = collected(&top.join("sub/.."), WalkOptions::default());
        assert_eq!(walked.unwrap()[0], "top /");
        let root = collected(Path::new("/"), WalkOptions::default());
        assert!(matches!(root, Err(Error::NoName { .. })));
    }

    #[test]
    fn equal_names_at_the_top_are_refused() {
        let (_temp, top) = tree();
        fs::write(top.join("file"), "").unwrap();
        let twice = collect(&[top.join("sub/file"), top.join("file")], FOLLOW);
        assert!(matches!(twice, Err(Error::Duplicate { name, .. }) if name == "file"));
        let none: [&Path; 0] = [];
        assert!(matches!(collect(&none, FOLLOW), Err(Error::Nothing)));
    }

    #[test]
    fn special_files_are_refused_or_left_out() {
        let (_temp, top) = tree();
        let _socket = UnixListener::bind(top.join("socket")).unwrap();
        let refused = collected(&top, WalkOptions::default());
        assert!(matches!(refused, Err(Error::Special { .. })));
        let options = WalkOptions { special_files: SpecialFiles::LeaveOut, ..FOLLOW };
        assert_eq!(collected(&top, options).unwrap().len(), 3);
    }

    #[test]
    fn a_file_that_may_not_be_read_is_told_at_once() {
        let (_temp, top) = tree();
        let file = top.join("sub/file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        // Root may read everything.
        let readable = fs::File::open(&file).is_ok();
        match collected(&top, WalkOptions::default()) {
            Ok(_) => assert!(readable),
            Err(error) => {
                assert!(!readable);
                assert!(matches!(error, Error::Unreadable { path, .. } if path == file));
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_and_targets_that_are_not_unicode_are_sent_as_they_are() {
        let (_temp, top) = tree();
        let name = OsString::from_vec(b"a\xff".to_vec());
        fs::write(top.join(&name), "").unwrap();
        symlink(&name, top.join("link")).unwrap();
        let manifest = collect(&[top], WalkOptions::default()).unwrap().manifest;
        assert_eq!(manifest.entries()[1].name.as_bytes(), b"a\xff");
        assert_eq!(manifest.entries()[2].kind, Kind::Symlink { target: b"a\xff"[..].into() });
    }

    #[test]
    fn links_that_make_detours_inside_are_sent_without_them() {
        let (_temp, top) = tree();
        symlink("sub", top.join("aside")).unwrap();
        for (link, target, expected) in [
            ("l", ".", "."),
            ("l", "./", "."),
            ("l", "sub/..", "."),
            ("l", "sub/../sub/file", "sub/file"),
            ("l", "../top/sub/file", "sub/file"),
            ("l", "../top/sub/missing", "sub/missing"),
            ("l", "aside/../sub/file", "sub/file"),
            ("l", "aside/file", "aside/file"),
            ("sub/l", ".", "."),
            ("sub/l", "..", ".."),
            ("sub/l", "../sub", "../sub"),
            ("sub/l", "../../top/sub/file", "file"),
            ("sub/l", "../sub/../aside", "../aside"),
        ] {
            symlink(target, top.join(link)).unwrap();
            let walked = collected(&top, WalkOptions::default()).unwrap();
            let sent = format!("top/{link} -> {expected}");
            assert!(walked.contains(&sent), "no {sent} for {target} in {walked:?}");
            fs::remove_file(top.join(link)).unwrap();
        }
    }

    #[test]
    fn a_refused_link_and_its_target_are_named() {
        let (temp, top) = tree();
        fs::create_dir(temp.path().join("out")).unwrap();
        for target in
            ["../out", "../missing", "..", "sub/../..", "../top/../out", "missing/../sub", "/"]
        {
            symlink(target, top.join("l")).unwrap();
            let refused = collected(&top, WalkOptions::default()).unwrap_err().to_string();
            let part = format!("top/l is a link to {target}, which leads out of what is sent");
            assert!(refused.contains(&part), "{refused}");
            fs::remove_file(top.join("l")).unwrap();
        }
    }

    #[test]
    fn what_is_too_deep_is_named() {
        let (_temp, top) = tree();
        let deepest = top.join(vec!["d"; crate::files::MAX_DEPTH].join("/"));
        fs::create_dir_all(&deepest).unwrap();
        fs::write(deepest.join("f"), "").unwrap();
        let refused = collected(&top, WalkOptions::default()).unwrap_err().to_string();
        let expected =
            format!("{}/f cannot be sent: it is in more than 128 directories", deepest.display());
        assert_eq!(refused, expected);
    }
}
