//! A destination that becomes full.
//!
//! A small file system of its own is needed; who may not mount one (all but root) sees the tests
//! pass over, with a note.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::{TempDir, tempdir};
use xchg_client::Observer;
use xchg_client::files::{Error as FilesError, PlaceOptions};
use xchg_client::session::Error;

use crate::support::{Exchange, noise};

/// A file system of 1 MiB, unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    #[expect(clippy::print_stderr, reason = "a test that did not run should say so")]
    fn mount() -> Option<Self> {
        let directory = tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(directory)),
            _ => {
                eprintln!("passed over: a small tmpfs cannot be mounted here");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

/// Takes up the free space but for some pages, once the offer is accepted: too late for the
/// downloader's check.
struct Fills {
    filler: PathBuf,
    left_pages: usize,
}

const PAGE: usize = 4096;

impl Observer for Fills {
    fn accepted(&mut self, _: u64) {
        let mut file = File::create(&self.filler).unwrap();
        while file.write_all(&[0; PAGE]).is_ok() {}
        let full = file.metadata().unwrap().len();
        file.set_len(full - (self.left_pages * PAGE) as u64).unwrap();
    }
}

#[test]
fn a_disk_that_becomes_full_keeps_the_partial_and_can_be_resumed() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let from = tempdir().unwrap();
    let content = noise(1, 60_000);
    fs::write(from.path().join("a"), &content).unwrap();
    let filler = disk.path().join("filler");
    for left_pages in 1..content.len() / PAGE {
        let mut exchange = Exchange::of(&from.path().join("a"), disk.path());
        exchange.downloader.observer = Box::new(Fills { filler: filler.clone(), left_pages });
        let ended = exchange.run();
        assert!(matches!(ended.received, Err(Error::Files(FilesError::DiskFull { .. }))));
        let told = ended.sent.unwrap_err().to_string();
        assert!(told.contains("disk is full"), "{told}");
        assert!(!disk.path().join("a").exists());
        let kept = fs::metadata(disk.path().join(".a.xchg-part")).unwrap().len();
        assert_eq!(kept, (left_pages * PAGE) as u64);

        fs::remove_file(&filler).unwrap();
        let options = PlaceOptions::default();
        let (sent, _) =
            Exchange::of(&from.path().join("a"), disk.path()).options(options).run().unwrap();
        assert_eq!(sent.moved, content.len() as u64 - kept);
        assert_eq!(fs::read(disk.path().join("a")).unwrap(), content);
        fs::remove_file(disk.path().join("a")).unwrap();
    }
}

#[test]
fn an_offer_that_does_not_fit_is_declined_at_once() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let from = tempdir().unwrap();
    fs::write(from.path().join("a"), noise(1, 2_000_000)).unwrap();
    let ended = Exchange::of(&from.path().join("a"), disk.path()).run();
    assert!(matches!(
        ended.received,
        Err(Error::Files(FilesError::NoSpace { needed: 2_000_000, .. }))
    ));
    assert!(matches!(ended.sent, Err(Error::Unable { .. })));
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
}
