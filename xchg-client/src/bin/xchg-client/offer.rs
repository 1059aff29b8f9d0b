//! What is offered, in words for the person who may decline it.

use indicatif::HumanBytes;
use xchg_client::files::{Entry, Kind, Manifest, Survey};
use xchg_client::terminal::escape;

/// The most names on the top level that are shown unasked.
const SHOWN_NAMES: usize = 20;

/// The most examples of what is worth a second look.
const SHOWN_EXAMPLES: usize = 4;

/// What is offered, in one line.
pub(crate) fn summary(manifest: &Manifest) -> String {
    let count =
        |is: fn(&Kind) -> bool| manifest.entries().iter().filter(|entry| is(&entry.kind)).count();
    let size = HumanBytes(manifest.bytes());
    match manifest.entries() {
        [Entry { kind: Kind::Text { .. }, .. }] => return format!("a text, {size}"),
        [Entry { kind: Kind::Stream, .. }] => return "a stream of unknown length".into(),
        _ => {}
    }
    let mut parts = Vec::new();
    for (number, one, many) in [
        (count(Kind::has_content), "file", "files"),
        (count(|kind| *kind == Kind::Directory), "folder", "folders"),
        (count(|kind| matches!(kind, Kind::Symlink { .. })), "link", "links"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {}", if number == 1 { one } else { many }));
        }
    }
    parts.push(format!("{size} in all"));
    parts.join(", ")
}

/// What is uploaded, in one line that names it.
pub(crate) fn headline(manifest: &Manifest) -> String {
    let mut tops = manifest.entries().iter().enumerate().filter(|(_, entry)| entry.depth == 0);
    match (tops.next(), tops.next()) {
        (Some((_, entry)), None) if !entry.kind.has_content() => {
            format!("{}/: {}", escape(&entry.name.to_string_lossy()), summary(manifest))
        }
        (Some((index, Entry { kind: Kind::File { .. }, .. })), None) => named(manifest, index),
        _ => summary(manifest),
    }
}

/// What is offered, in a word for programs.
pub(crate) fn kind(manifest: &Manifest) -> &'static str {
    let mut tops = manifest.entries().iter().filter(|entry| entry.depth == 0);
    match (tops.next().map(|entry| &entry.kind), tops.next()) {
        (Some(Kind::Text { .. }), None) => "text",
        (Some(Kind::Stream), None) => "stream",
        (Some(Kind::File { .. }), None) => "file",
        (Some(Kind::Directory), None) => "folder",
        _ => "several",
    }
}

/// The names on the top level, and what of the rest deserves a look before it is accepted.
pub(crate) fn outline(manifest: &Manifest, survey: &Survey) -> Vec<String> {
    if is_text(manifest) {
        return Vec::new();
    }
    let tops = || (0..manifest.entries().len()).filter(|&i| manifest.entries()[i].depth == 0);
    let mut lines: Vec<String> =
        tops().take(SHOWN_NAMES).map(|index| named(manifest, index)).collect();
    if tops().count() > SHOWN_NAMES {
        lines.push(format!("and more, {} entries in all", manifest.entries().len()));
    }
    let links = survey.links.iter().map(|&index| named(manifest, index));
    let path = |&index: &usize| escape(&manifest.path(index));
    for (what, examples, count) in [
        ("hidden", some(survey.hidden.iter().map(path)), survey.hidden.len()),
        ("links", some(links), survey.links.len()),
        ("unprintable names", some(survey.deceptive.iter().map(path)), survey.deceptive.len()),
        ("unfinished folders", some(survey.unfinished.iter().map(path)), survey.unfinished.len()),
        ("new in folders that exist", some(survey.added.iter().map(path)), survey.added.len()),
        ("taken names", some(survey.taken.iter().map(path)), survey.taken.len()),
    ] {
        if count > 0 {
            lines.push(format!("{what}: {}", and_more(&examples, count)));
        }
    }
    lines
}

/// Every entry, with what is to be said about it.
pub(crate) fn listing(manifest: &Manifest, survey: &Survey) -> Vec<String> {
    let has = |list: &[usize], index| list.binary_search(&index).is_ok();
    let line = |index| {
        let marks = [
            (has(&survey.hidden, index), "hidden"),
            (has(&survey.added, index), "new in a folder that exists"),
            (has(&survey.merged, index), "exists"),
            (has(&survey.unfinished, index), "exists, unfinished"),
            (has(&survey.deceptive, index), "unprintable name"),
            (has(&survey.taken, index), "name is taken"),
        ];
        let marks: Vec<_> = marks.iter().filter(|mark| mark.0).map(|mark| mark.1).collect();
        match &marks[..] {
            [] => named(manifest, index),
            marks => format!("{}  ({})", named(manifest, index), marks.join(", ")),
        }
    };
    (0..manifest.entries().len()).map(line).collect()
}

/// Whether what is offered is a few words rather than files.
pub(crate) fn is_text(manifest: &Manifest) -> bool {
    matches!(manifest.entries(), [Entry { kind: Kind::Text { .. }, .. }])
}

/// An entry's path, with its size or target.
fn named(manifest: &Manifest, index: usize) -> String {
    let path = escape(&manifest.path(index));
    match &manifest.entries()[index].kind {
        Kind::File { size } => format!("{path}, {}", HumanBytes(*size)),
        Kind::Directory => format!("{path}/"),
        Kind::Symlink { target } => format!("{path} -> {}", escape(&target.to_string_lossy())),
        _ => path,
    }
}

fn some(examples: impl Iterator<Item = String>) -> Vec<String> {
    examples.take(SHOWN_EXAMPLES).collect()
}

fn and_more(examples: &[String], count: usize) -> String {
    let shown = examples.join("; ");
    match count - examples.len() {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(kinds: &[(Kind, usize)]) -> Manifest {
        let mut manifest = Manifest::new();
        for (index, (kind, depth)) in kinds.iter().enumerate() {
            manifest.push(Entry::new(kind.clone(), *depth, index.to_string())).unwrap();
        }
        manifest
    }

    #[test]
    fn an_offer_is_told_in_one_line() {
        let file = |size| Kind::File { size };
        let link = Kind::Symlink { target: "0".into() };
        for (kinds, expected) in [
            (&[(file(5), 0)][..], "1 file, 5 B in all"),
            (
                &[(Kind::Directory, 0), (file(5), 1), (link, 1)],
                "1 file, 1 folder, 1 link, 5 B in all",
            ),
            (&[(file(512), 0), (file(512), 0)], "2 files, 1.00 KiB in all"),
            (&[(Kind::Text { size: 3 }, 0)], "a text, 3 B"),
            (&[(Kind::Stream, 0)], "a stream of unknown length"),
        ] {
            assert_eq!(summary(&manifest(kinds)), expected);
        }
    }

    #[test]
    fn what_deserves_a_look_is_called_out() {
        let link = Kind::Symlink { target: "../1".into() };
        let kinds =
            [(Kind::Directory, 0), (Kind::File { size: 1 }, 1), (Kind::Directory, 1), (link, 2)];
        let manifest = manifest(&kinds);
        let mut survey = Survey::default();
        assert_eq!(outline(&manifest, &survey), ["0/"]);
        survey.hidden = vec![2, 3];
        survey.links = vec![3];
        survey.merged = vec![0];
        survey.added = vec![2];
        survey.taken = vec![1];
        survey.deceptive = vec![1];
        survey.unfinished = vec![2];
        let lines = [
            "0/",
            "hidden: 0/2; 0/2/3",
            "links: 0/2/3 -> ../1",
            "unprintable names: 0/1",
            "unfinished folders: 0/2",
            "new in folders that exist: 0/2",
            "taken names: 0/1",
        ];
        assert_eq!(outline(&manifest, &survey), lines);
        let lines = [
            "0/  (exists)",
            "0/1, 1 B  (unprintable name, name is taken)",
            "0/2/  (hidden, new in a folder that exists, exists, unfinished)",
            "0/2/3 -> ../1  (hidden)",
        ];
        assert_eq!(listing(&manifest, &survey), lines);
    }

    #[test]
    fn of_many_a_few_are_shown_and_all_are_counted() {
        let many = manifest(&vec![(Kind::File { size: 1 }, 0); 30]);
        let mut survey = Survey::default();
        survey.hidden = (0..30).collect();
        let lines = outline(&many, &survey);
        assert_eq!(lines.len(), SHOWN_NAMES + 2);
        assert_eq!(lines[SHOWN_NAMES], "and more, 30 entries in all");
        assert_eq!(lines[SHOWN_NAMES + 1], "hidden: 0; 1; 2; 3; and 26 more");
        assert_eq!(listing(&many, &survey).len(), 30);
    }
}
