//! A directory that is held open, and what may be done with the names in it.
//!
//! Every name is a single component that [`names`](super::names) found safe. No operation follows a
//! symbolic link: whoever puts one where a directory or file is expected gets an error, even if he
//! does so while a transfer runs.

#[cfg(any(not(unix), test))]
mod portable;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(super) use portable::{Dir, set_metadata};
#[cfg(unix)]
pub(super) use unix::{Dir, set_metadata};

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A regular file of this many bytes.
    File(u64),
    Directory,
    Symlink,
    /// A device, socket or pipe.
    Other,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;

    use super::*;

    /// The same behaviours of every implementation.
    macro_rules! behaves {
        ($implementation:ident, $Dir:path) => {
            mod $implementation {
                use super::*;

                type Dir = $Dir;

                fn dir() -> (tempfile::TempDir, Dir) {
                    let temp = tempfile::tempdir().unwrap();
                    let dir = Dir::open(temp.path()).unwrap();
                    (temp, dir)
                }

                #[test]
                fn what_has_a_name_is_found_without_following_links() {
                    let (temp, dir) = dir();
                    fs::write(temp.path().join("file"), "four").unwrap();
                    fs::create_dir(temp.path().join("dir")).unwrap();
                    std::os::unix::fs::symlink("dir", temp.path().join("link")).unwrap();
                    assert_eq!(dir.look("file").unwrap(), Some(Found::File(4)));
                    assert_eq!(dir.look("dir").unwrap(), Some(Found::Directory));
                    assert_eq!(dir.look("link").unwrap(), Some(Found::Symlink));
                    assert_eq!(dir.look("nothing").unwrap(), None);
                    assert_eq!(dir.read_link("link").unwrap(), "dir");
                }

                #[test]
                fn a_link_is_neither_entered_nor_read_nor_written() {
                    let (temp, dir) = dir();
                    let outside = tempfile::tempdir().unwrap();
                    fs::write(outside.path().join("file"), "kept").unwrap();
                    std::os::unix::fs::symlink(outside.path(), temp.path().join("dir")).unwrap();
                    std::os::unix::fs::symlink(
                        outside.path().join("file"),
                        temp.path().join("file"),
                    )
                    .unwrap();
                    assert!(dir.child("dir").is_err());
                    assert!(dir.read("file").is_err());
                    assert!(dir.read_write("file").is_err());
                    assert_eq!(fs::read(outside.path().join("file")).unwrap(), b"kept");
                }

                #[test]
                fn a_new_name_never_clobbers() {
                    let (temp, dir) = dir();
                    fs::write(temp.path().join("part"), "new").unwrap();
                    fs::write(temp.path().join("file"), "old").unwrap();
                    let refused = dir.rename_new("part", "file").unwrap_err();
                    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
                    assert_eq!(fs::read(temp.path().join("file")).unwrap(), b"old");
                    dir.rename_over("part", "file").unwrap();
                    assert_eq!(fs::read(temp.path().join("file")).unwrap(), b"new");
                    dir.rename_new("file", "third").unwrap();
                    assert_eq!(dir.look("file").unwrap(), None);
                    assert_eq!(dir.look("third").unwrap(), Some(Found::File(3)));
                }

                #[test]
                fn a_directory_is_made_once_and_entered() {
                    let (temp, dir) = dir();
                    dir.make_child("sub").unwrap();
                    let again = dir.make_child("sub").unwrap_err();
                    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
                    let sub = dir.child("sub").unwrap();
                    drop(sub.read_write("file").unwrap());
                    assert!(temp.path().join("sub/file").is_file());
                    sub.sync().unwrap();
                    sub.remove_file("file").unwrap();
                    assert!(!temp.path().join("sub/file").exists());
                }
            }
        };
    }

    behaves!(unix, crate::files::disk::dir::unix::Dir);
    behaves!(portable, crate::files::disk::dir::portable::Dir);
}
