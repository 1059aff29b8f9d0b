//! What a transfer has come to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files::{Destination, Manifest, Note};

/// An upload that is done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Uploaded {
    /// Entries, of all kinds.
    pub entries: usize,
    /// Bytes of all content.
    pub bytes: u64,
    /// Bytes that were sent; fewer if the downloader had some already.
    pub moved: u64,
    /// Whether the downloader has confirmed that it keeps everything. Of plain transfers only
    /// native downloaders do; the connection of any other has taken every byte.
    pub is_confirmed: bool,
    /// From the match to the end.
    pub elapsed: Duration,
    /// What the person should know: files that grew, or that were one here.
    pub notes: Vec<Note>,
}

/// A download that is done: everything is in its place.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Downloaded {
    /// What has arrived, with names made safe. Of a plain transfer, one stream.
    pub manifest: Manifest,
    /// Bytes of all content.
    pub bytes: u64,
    /// Bytes that arrived; fewer if some were there already.
    pub moved: u64,
    /// Whether the uploader has been told. Of plain transfers, only native ones are.
    pub is_confirmed: bool,
    /// From the match to the end.
    pub elapsed: Duration,
    /// Where that is: the one file or folder, or the folder that several went to. `None` if that
    /// was a writer, or if it is a text that is returned.
    pub path: Option<PathBuf>,
    /// The text, if it was one and the destination was a directory.
    /// [Escape](crate::terminal::escape) it to show it.
    pub text: Option<String>,
    /// What the person should know: other names than were offered, modes that could not be
    /// restored.
    pub notes: Vec<Note>,
}

impl Downloaded {
    /// Notes where it is, which went to `destination`.
    pub(crate) fn locate(&mut self, destination: &Destination<'_>) {
        self.path = match destination {
            Destination::Writer(_) => None,
            Destination::Directory(_) if self.text.is_some() => None,
            Destination::Directory(folder) => Some(self.within(folder)),
            Destination::File(path) => {
                let renamed = path.file_name().and_then(|name| self.renamed(Path::new(name)));
                Some(renamed.map_or_else(|| path.clone(), |name| path.with_file_name(name)))
            }
        };
    }

    fn within(&self, folder: &Path) -> PathBuf {
        let mut tops = self.manifest.entries().iter().filter(|entry| entry.depth == 0);
        let (Some(top), None) = (tops.next(), tops.next()) else {
            return folder.into();
        };
        let offered = Path::new(&top.name);
        let name = self.renamed(offered).unwrap_or(offered);
        if folder == Path::new(".") { name.into() } else { folder.join(name) }
    }

    /// The name that was given to what was offered as `name`, if it was another.
    fn renamed(&self, offered: &Path) -> Option<&Path> {
        self.notes.iter().find_map(|note| match note {
            Note::Renamed { path, name } if Path::new(path) == offered => Some(Path::new(name)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Entry, Kind};

    #[test]
    fn what_went_somewhere_is_found_there_under_its_name() {
        let downloaded = |names: &[&str], renamed: &[(&str, &str)]| {
            let mut downloaded = Downloaded::default();
            for &name in names {
                downloaded.manifest.push(Entry::new(Kind::Stream, 0, name)).unwrap();
            }
            downloaded.notes = renamed
                .iter()
                .map(|&(path, name)| Note::Renamed { path: path.into(), name: name.into() })
                .collect();
            downloaded
        };
        let file = |path: &str| Destination::File(path.into());
        let folder = |path: &str| Destination::Directory(path.into());
        let mut sink = std::io::sink();
        for (names, renamed, destination, expected) in [
            (&["a"][..], &[][..], folder("in"), Some("in/a")),
            (&["a"], &[], folder("."), Some("a")),
            (&["a"], &[("a", "a (1)")], folder("in"), Some("in/a (1)")),
            (&["a"], &[("b", "b (1)")], folder("in"), Some("in/a")),
            (&["a", "b"], &[("a", "a (1)")], folder("in"), Some("in")),
            (&["a"], &[], file("in/b"), Some("in/b")),
            (&["b"], &[("b", "b (1)")], file("in/b"), Some("in/b (1)")),
            (&["a"], &[], Destination::Writer(&mut sink), None),
        ] {
            let mut downloaded = downloaded(names, renamed);
            downloaded.locate(&destination);
            assert_eq!(downloaded.path.as_deref(), expected.map(Path::new));
        }
        let mut text = Downloaded { text: Some("hi".into()), ..downloaded(&["a"], &[]) };
        text.locate(&folder("in"));
        assert_eq!(text.path, None);
    }
}
