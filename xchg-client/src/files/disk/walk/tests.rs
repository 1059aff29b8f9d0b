//! Walking trees that are made for it.

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
        let part = format!("top/l` is a link to `{target}`, which leads out of what is sent");
        assert!(refused.contains(&part), "{refused}");
        fs::remove_file(top.join("l")).unwrap();
    }
}

#[test]
fn what_is_too_deep_is_named() {
    let (_temp, top) = tree();
    let deepest = top.join(vec!["d"; crate::files::manifest::MAX_DEPTH].join("/"));
    fs::create_dir_all(&deepest).unwrap();
    fs::write(deepest.join("f"), "").unwrap();
    let refused = collected(&top, WalkOptions::default()).unwrap_err().to_string();
    let expected =
        format!("`{}/f` cannot be sent: it is in more than 128 directories", deepest.display());
    assert_eq!(refused, expected);
}
