//! What arrives is what was sent.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::tempdir;
use xchg_client::files::{
    Destination, Error as FilesError, Existing, Manifest, NamePolicy, Note, Outgoing, PlaceOptions,
    Stream, Survey, WalkOptions,
};
use xchg_client::session::Error;
use xchg_client::{Decision, Observer};

use crate::support::{Exchange, Item, collect, noise, snapshot};

/// A tree with everything that a tree can have.
fn make_tree(top: &Path) {
    fs::create_dir_all(top.join("a/deep/er")).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    fs::write(top.join("none"), "").unwrap();
    fs::write(top.join("a/small"), "small").unwrap();
    fs::write(top.join("a/deep/big"), noise(1, 700_001)).unwrap();
    fs::write(top.join("a/deep/er/\u{e9}t\u{e9} \u{1f3d6}"), "sun").unwrap();
    symlink("../a/small", top.join("empty/link")).unwrap();
    symlink("nowhere", top.join("dangling")).unwrap();
    set_link_time(&top.join("empty/link"), 987_654_321);
    set_link_time(&top.join("dangling"), -5);
    set(&top.join("a/small"), 0o4640, 1_000_000_000);
    set(&top.join("a/deep/big"), 0o400, 1_700_000_000);
    set(&top.join("a/deep"), 0o700, 5);
    set(&top.join("empty"), 0o555, 1_234_567_890);
    set(top, 0o750, 1_111_111_111);
}

fn set(path: &Path, mode: u32, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
    let file = File::open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What this process's umask leaves of a mode.
fn allowed_mode() -> u32 {
    let folder = tempdir().unwrap();
    let made = folder.path().join("made");
    fs::create_dir(&made).unwrap();
    fs::metadata(made).unwrap().permissions().mode() & 0o777
}

fn set_link_time(path: &Path, seconds: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec { tv_sec: seconds, tv_nsec: 7 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn options(existing: Existing, resume: bool) -> PlaceOptions {
    PlaceOptions::default().existing(existing).resume(resume)
}

#[test]
fn a_tree_arrives_with_its_modes_times_links_and_empty_directories() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let top = from.path().join("top");
    fs::create_dir(&top).unwrap();
    make_tree(&top);
    let (sent, received) = Exchange::of(&top, to.path()).run().unwrap();
    // Set-user-id and its like are not restored.
    set(&top.join("a/small"), 0o640, 1_000_000_000);
    assert_eq!(snapshot(to.path()), snapshot(from.path()));
    assert_eq!(sent.entries, 11);
    assert_eq!(sent.bytes, 700_001 + 5 + 3);
    assert_eq!((received.bytes, received.moved), (sent.bytes, sent.moved));
    assert!(received.notes.is_empty(), "{:?}", received.notes);
}

#[test]
fn names_that_differ_only_in_case_or_composition_arrive_where_they_differ() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let net = from.path().join("linux/net");
    fs::create_dir_all(&net).unwrap();
    for name in ["xt_MARK.h", "xt_mark.h", "\u{e9}", "e\u{301}", "E\u{301}"] {
        fs::write(net.join(name), name).unwrap();
    }
    if fs::read_dir(&net).unwrap().count() < 5 {
        // This system takes some of them for one, and will hardly be asked for them.
        return;
    }
    // The second time, the directory that holds them is there already.
    for resume in [false, true] {
        let options = options(Existing::Refuse, resume);
        let exchange = Exchange::of(&from.path().join("linux"), to.path()).options(options);
        exchange.run().unwrap();
        let files = |folder: &Path| -> Vec<_> {
            let items = snapshot(folder).into_iter();
            items.filter(|(_, item)| matches!(item, Item::File(..))).collect()
        };
        assert_eq!(files(to.path()), files(from.path()));
    }
}

#[test]
fn what_lends_rights_or_lets_everybody_write_is_not_restored() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let top = from.path().join("top");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("file"), "x").unwrap();
    set(&top.join("file"), 0o6777, 1);
    set(&top, 0o3777, 1);
    Exchange::of(&top, to.path()).run().unwrap();
    for path in ["top", "top/file"] {
        let mode = fs::metadata(to.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o775 & allowed_mode(), "{path}");
    }
}

#[test]
fn what_nobody_may_read_can_be_read_where_it_arrives() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let top = from.path().join("top");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("file"), "x").unwrap();
    set(&top.join("file"), 0o022, 1);
    set(&top, 0o022, 1);
    if fs::read_dir(&top).is_err() {
        // Only root can send it.
        return;
    }
    Exchange::of(&top, to.path()).run().unwrap();
    for (path, mode) in [("top", 0o520), ("top/file", 0o420)] {
        let restored = fs::metadata(to.path().join(path)).unwrap().permissions().mode();
        assert_eq!(restored & 0o7777, mode & allowed_mode(), "{path}");
    }
}

#[test]
fn what_was_there_keeps_its_mode_and_time() {
    let resumed_or_not = [Existing::Refuse, Existing::Overwrite, Existing::Rename]
        .into_iter()
        .flat_map(|existing| [(existing, false), (existing, true)]);
    for (existing, resume) in resumed_or_not {
        let options = options(existing, resume);
        let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
        for top in [from.path(), to.path()].map(|folder| folder.join("top")) {
            fs::create_dir_all(top.join("private")).unwrap();
            symlink("nowhere", top.join("link")).unwrap();
        }
        fs::write(from.path().join("top/private/new"), "new").unwrap();
        set(&from.path().join("top/private"), 0o775, 5);
        set(&from.path().join("top"), 0o775, 5);
        set_link_time(&to.path().join("top/link"), 7);
        set(&to.path().join("top/private"), 0o700, 6);
        set(&to.path().join("top"), 0o750, 6);
        let before = snapshot(to.path());
        let named_beside = existing == Existing::Rename;
        Exchange::of(&from.path().join("top"), to.path()).options(options).run().unwrap();
        let after = snapshot(to.path());
        for path in ["top", "top/link"] {
            assert_eq!(after[path], before[path], "{path} {options:?}");
        }
        let Item::Directory(mode, time) = after["top/private"] else { panic!("it is a folder") };
        assert_eq!(mode, 0o700);
        assert_eq!(time.0 == 6, named_beside, "only what was put into it changed its time");
    }
}

#[test]
fn a_folder_that_an_interrupted_run_made_gets_mode_and_time_when_it_is_resumed() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let top = from.path().join("top");
    fs::create_dir_all(top.join("inner/most")).unwrap();
    fs::write(top.join("a"), noise(1, 1_000_000)).unwrap();
    set(&top.join("inner/most"), 0o500, 5);
    set(&top.join("inner"), 0o700, 6);
    set(&top, 0o750, 7);
    let mut exchange = Exchange::of(&top, to.path());
    exchange.uploader.line.cut_at = Some(500_000);
    assert!(exchange.run().received.is_err());
    // It is not taken for a folder that was there.
    let (surveys, heard) = std::sync::mpsc::channel();
    let mut exchange = Exchange::of(&top, to.path()).options(options(Existing::Refuse, true));
    exchange.downloader.observer = Box::new(Asked { existing: Existing::Refuse, surveys });
    exchange.run().unwrap();
    let (_, survey) = heard.recv().unwrap();
    assert_eq!((&survey.unfinished[..], &survey.merged[..]), (&[0][..], &[][..]));
    assert_eq!(snapshot(to.path()), snapshot(from.path()));
}

#[test]
fn a_folder_that_goes_beside_another_is_resumed_there() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let top = from.path().join("top");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("a"), noise(1, 1_000_000)).unwrap();
    fs::create_dir(to.path().join("top")).unwrap();
    fs::write(to.path().join("top/a"), "mine").unwrap();
    let options = options(Existing::Rename, true);
    let mut exchange = Exchange::of(&top, to.path()).options(options);
    exchange.uploader.line.cut_at = Some(500_000);
    assert!(exchange.run().received.is_err());
    let (sent, received) = Exchange::of(&top, to.path()).options(options).run().unwrap();
    assert!(sent.moved < 1_000_000);
    assert!(matches!(&received.notes[..], [Note::Renamed { name, .. }] if name == "top (1)"));
    assert_eq!(snapshot(&to.path().join("top (1)")), snapshot(&top));
    assert_eq!(fs::read(to.path().join("top/a")).unwrap(), b"mine");
    // One that is finished is not touched again.
    Exchange::of(&top, to.path()).options(options).run().unwrap();
    assert_eq!(snapshot(&to.path().join("top (2)")), snapshot(&top));
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 3);
}

#[test]
fn two_thousand_small_files_arrive() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    for number in 0..2000_usize {
        let directory = from.path().join(format!("top/{}", number % 7));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(number.to_string()), noise(7, number)).unwrap();
    }
    let (sent, _) = Exchange::of(&from.path().join("top"), to.path()).run().unwrap();
    assert_eq!(sent.entries, 2000 + 7 + 1);
    assert_eq!(snapshot(to.path()), snapshot(from.path()));
}

#[test]
fn several_paths_arrive_side_by_side() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    fs::write(from.path().join("a"), "one").unwrap();
    fs::create_dir(from.path().join("b")).unwrap();
    fs::write(from.path().join("b/c"), "two").unwrap();
    let paths = [from.path().join("b"), from.path().join("a")];
    let outgoing = Outgoing::collect(&paths, WalkOptions::default()).unwrap();
    Exchange::new(outgoing, Destination::Directory(to.path().into())).run().unwrap();
    assert_eq!(snapshot(to.path()), snapshot(from.path()));
}

#[test]
fn a_text_is_returned_and_not_written() {
    let to = tempdir().unwrap();
    let outgoing = Outgoing::text("note", "hello, \u{4e16}\u{754c}").unwrap();
    let destination = Destination::Directory(to.path().into());
    let (_, received) = Exchange::new(outgoing, destination).run().unwrap();
    assert_eq!(received.text.as_deref(), Some("hello, \u{4e16}\u{754c}"));
    assert!(snapshot(to.path()).is_empty());
}

#[test]
fn a_stream_arrives_under_the_name_that_was_asked_for() {
    let to = tempdir().unwrap();
    let content = noise(2, 1_000_003);
    let outgoing =
        Outgoing::stream("stdin", Stream::new(std::io::Cursor::new(content.clone()))).unwrap();
    let destination = Destination::File(to.path().join("kept.bin"));
    let (sent, _) = Exchange::new(outgoing, destination).run().unwrap();
    assert_eq!(sent.bytes, content.len() as u64);
    assert_eq!(fs::read(to.path().join("kept.bin")).unwrap(), content);
    assert_eq!(snapshot(to.path()).len(), 1);
}

#[test]
fn a_file_arrives_in_a_writer() {
    let from = tempdir().unwrap();
    let content = noise(3, 300_000);
    fs::write(from.path().join("a"), &content).unwrap();
    let mut arrived = Vec::new();
    let outgoing = collect(&from.path().join("a"));
    Exchange::new(outgoing, Destination::Writer(&mut arrived)).run().unwrap();
    assert_eq!(arrived, content);
}

#[test]
fn a_destination_for_one_file_refuses_a_directory() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let mut sink = Vec::new();
    for destination in [Destination::File(to.path().join("a")), Destination::Writer(&mut sink)] {
        let ended = Exchange::new(collect(from.path()), destination).run();
        assert!(matches!(ended.received, Err(Error::Files(FilesError::NotOneFile))));
        assert!(matches!(ended.sent, Err(Error::Unable { .. })));
    }
    assert!(snapshot(to.path()).is_empty());
}

#[test]
fn what_exists_is_refused_overwritten_or_kept_beside() {
    let from = tempdir().unwrap();
    fs::write(from.path().join("a.txt"), "new").unwrap();
    fs::create_dir(from.path().join("d")).unwrap();
    fs::write(from.path().join("d/b"), "new").unwrap();
    let paths = [from.path().join("a.txt"), from.path().join("d")];
    let run = |existing| {
        let to = tempdir().unwrap();
        fs::write(to.path().join("a.txt"), "old").unwrap();
        fs::create_dir(to.path().join("d")).unwrap();
        fs::write(to.path().join("d/b"), "old").unwrap();
        let outgoing = Outgoing::collect(&paths, WalkOptions::default()).unwrap();
        let ended = Exchange::new(outgoing, Destination::Directory(to.path().into()))
            .options(options(existing, false))
            .run();
        let read = |name: &str| fs::read_to_string(to.path().join(name)).ok();
        let names = ["a.txt", "a (1).txt", "d/b", "d (1)/b"];
        (ended, names.map(read))
    };
    let text = |text: &str| Some(text.to_owned());

    let (ended, files) = run(Existing::Refuse);
    assert!(matches!(ended.received, Err(Error::Files(FilesError::Exists { .. }))));
    assert!(matches!(ended.sent, Err(Error::Unable { .. })));
    assert_eq!(files, [text("old"), None, text("old"), None]);

    let (ended, files) = run(Existing::Overwrite);
    ended.unwrap();
    assert_eq!(files, [text("new"), None, text("new"), None]);

    let (ended, files) = run(Existing::Rename);
    let (_, received) = ended.unwrap();
    assert_eq!(files, [text("old"), text("new"), text("old"), text("new")]);
    let mut renamed: Vec<String> = received
        .notes
        .iter()
        .map(|note| match note {
            Note::Renamed { path, name } => format!("{path} -> {name}"),
            other => panic!("{other:?}"),
        })
        .collect();
    renamed.sort();
    assert_eq!(renamed, ["a.txt -> a (1).txt", "d -> d (1)"]);
}

#[test]
fn a_link_at_the_destination_is_never_followed() {
    let (from, to, outside) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    fs::create_dir(from.path().join("d")).unwrap();
    fs::write(from.path().join("d/f"), "new").unwrap();
    fs::write(outside.path().join("f"), "kept").unwrap();
    for existing in [Existing::Refuse, Existing::Overwrite, Existing::Rename] {
        for resume in [false, true] {
            // The directory is a link.
            symlink(outside.path(), to.path().join("d")).unwrap();
            let ended = Exchange::of(&from.path().join("d"), to.path())
                .options(options(existing, resume))
                .run();
            let beside = existing == Existing::Rename;
            assert_eq!(ended.received.is_ok(), beside, "{existing:?} {resume}");
            fs::remove_file(to.path().join("d")).unwrap();
            fs::remove_dir_all(to.path().join("d (1)")).ok();

            // The file, and its partial, are links.
            for name in ["f", ".f.xchg-part"] {
                symlink(outside.path().join("f"), to.path().join(name)).unwrap();
            }
            let ended = Exchange::of(&from.path().join("d/f"), to.path())
                .options(options(existing, resume))
                .run();
            assert!(ended.received.is_err(), "{existing:?} {resume}");
            assert!(ended.sent.is_err(), "{existing:?} {resume}");
            for name in ["f", ".f.xchg-part"] {
                fs::remove_file(to.path().join(name)).unwrap();
            }
            assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"kept");
            assert_eq!(snapshot(outside.path()).len(), 1);
        }
    }
}

#[test]
fn overwriting_replaces_a_link_and_not_what_it_leads_to() {
    let (from, to, outside) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    fs::write(from.path().join("f"), "new").unwrap();
    fs::write(outside.path().join("f"), "kept").unwrap();
    symlink(outside.path().join("f"), to.path().join("f")).unwrap();
    Exchange::of(&from.path().join("f"), to.path())
        .options(options(Existing::Overwrite, false))
        .run()
        .unwrap();
    assert!(matches!(&snapshot(to.path())["f"], Item::File(content, ..) if content == b"new"));
    assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"kept");
}

#[test]
fn only_names_that_cannot_be_held_are_refused_or_replaced() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let held = ["a:b", "CON", "dot.", "up\u{202e}txt.exe", "line\nbreak"];
    for name in held.into_iter().chain([".x.xchg-part"]) {
        fs::write(from.path().join(name), name).unwrap();
        let run = |names| {
            let options = PlaceOptions::default().names(names).resume(false);
            Exchange::of(&from.path().join(name), to.path()).options(options).run()
        };
        let ended = run(NamePolicy::Refuse);
        if held.contains(&name) {
            ended.unwrap();
            continue;
        }
        assert!(matches!(ended.received, Err(Error::Files(FilesError::Name { .. }))));
        assert!(matches!(ended.sent, Err(Error::Unable { .. })));
        run(NamePolicy::Replace).unwrap();
    }
    let mut expected = held.map(str::to_owned).to_vec();
    expected.push(".x.xchg-part_".into());
    expected.sort();
    assert_eq!(snapshot(to.path()).into_keys().collect::<Vec<_>>(), expected);
}

/// Answers what it was made with, and keeps what it was asked about.
struct Asked {
    existing: Existing,
    surveys: std::sync::mpsc::Sender<(Manifest, Survey)>,
}

impl Observer for Asked {
    fn existing(&mut self, manifest: &Manifest, survey: &Survey) -> Option<Existing> {
        self.surveys.send((manifest.clone(), survey.clone())).unwrap();
        Some(self.existing)
    }

    fn decide(&mut self, manifest: &Manifest, survey: &Survey) -> Decision {
        self.surveys.send((manifest.clone(), survey.clone())).unwrap();
        Decision::Accept
    }
}

#[test]
fn what_an_offer_meets_is_surveyed_before_anything_is_written() {
    for existing in [Existing::Refuse, Existing::Overwrite, Existing::Rename] {
        let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
        for top in [from.path(), to.path()].map(|folder| folder.join("photos")) {
            fs::create_dir_all(top.join(".ssh")).unwrap();
            fs::write(top.join("a"), top.to_str().unwrap()).unwrap();
            fs::write(top.join("same"), "same").unwrap();
        }
        let (offered, old) = (from.path().join("photos"), to.path().join("photos"));
        fs::write(old.join("a"), "older").unwrap();
        fs::create_dir(offered.join("new")).unwrap();
        fs::write(offered.join("new/inner"), "").unwrap();
        fs::write(offered.join(".ssh/authorized_keys"), "mine").unwrap();
        symlink("a", offered.join("link")).unwrap();
        let before = snapshot(&old);
        let (surveys, heard) = std::sync::mpsc::channel();
        let mut exchange =
            Exchange::of(&offered, to.path()).options(options(Existing::Refuse, true));
        exchange.downloader.observer = Box::new(Asked { existing, surveys });
        let ended = exchange.run();
        let surveys: Vec<_> = heard.try_iter().collect();
        let show = |manifest: &Manifest, entries: &[usize]| {
            entries.iter().map(|&index| manifest.path(index)).collect::<Vec<_>>().join(" ")
        };
        let (manifest, survey) = &surveys[0];
        assert_eq!(show(manifest, &survey.hidden), "photos/.ssh photos/.ssh/authorized_keys");
        assert_eq!(show(manifest, &survey.links), "photos/link");
        assert_eq!(show(manifest, &survey.merged), "photos photos/.ssh");
        let added = "photos/.ssh/authorized_keys photos/link photos/new";
        assert_eq!(show(manifest, &survey.added), added);
        assert_eq!(show(manifest, &survey.taken), "photos/a");
        assert_eq!(show(manifest, &survey.alike), "photos/same");
        match existing {
            Existing::Refuse => {
                assert_eq!(surveys.len(), 1, "nobody is asked to accept what is refused");
                let error = ended.received.unwrap_err();
                assert!(matches!(error, Error::Files(FilesError::Exists { more: 0, .. })));
                assert_eq!(snapshot(&old), before);
            }
            Existing::Overwrite => {
                ended.unwrap();
                assert_eq!(surveys[1], surveys[0]);
                assert_ne!(fs::read(old.join("a")).unwrap(), b"older");
                assert_eq!(fs::read(old.join(".ssh/authorized_keys")).unwrap(), b"mine");
            }
            Existing::Rename => {
                ended.unwrap();
                let survey = &surveys[1].1;
                assert_eq!([&survey.merged, &survey.added, &survey.taken, &survey.alike], [&[]; 4]);
                assert_eq!(snapshot(&old), before);
            }
        }
    }
}

#[test]
fn a_folder_that_shall_be_another_meets_nothing() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    for top in [from.path(), to.path()].map(|folder| folder.join("photos")) {
        fs::create_dir(&top).unwrap();
        fs::write(top.join("a"), "x").unwrap();
    }
    let (surveys, heard) = std::sync::mpsc::channel();
    let mut exchange = Exchange::of(&from.path().join("photos"), to.path());
    exchange.downloader.observer = Box::new(Asked { existing: Existing::Rename, surveys });
    let (_, received) = exchange.run().unwrap();
    let [asked, decided] = &heard.try_iter().collect::<Vec<_>>()[..] else {
        panic!("both questions are asked")
    };
    assert_eq!((&asked.1.merged[..], &asked.1.taken[..]), (&[0][..], &[1][..]));
    assert_eq!(decided.1, Survey::default());
    assert!(matches!(&received.notes[..], [Note::Renamed { name, .. }] if name == "photos (1)"));
    assert!(to.path().join("photos (1)/a").exists());
}

#[test]
fn all_that_is_in_the_way_is_counted() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    for name in ["a", "b", "c"] {
        fs::write(from.path().join(name), "new").unwrap();
        fs::write(to.path().join(name), "there").unwrap();
    }
    let paths = ["a", "b", "c"].map(|name| from.path().join(name));
    let outgoing = Outgoing::collect(&paths, WalkOptions::default()).unwrap();
    let ended = Exchange::new(outgoing, Destination::Directory(to.path().into())).run();
    let told = ended.received.unwrap_err().to_string();
    assert_eq!(told, "`a` exists already, and 2 more");
}
