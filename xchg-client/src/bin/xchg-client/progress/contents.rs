//! Which of the files that are transferred is which byte's.

use xchg_client::files::{Kind, Manifest};
use xchg_client::terminal::escape;

/// The contents of a manifest, one after another.
#[derive(Default)]
pub(super) struct Contents {
    /// Where each begins among the bytes of all, and its name.
    files: Vec<(u64, String)>,
    /// Bytes of all of them, as far as they are known.
    pub(super) bytes: u64,
    /// What was shown last.
    shown: String,
}

impl Contents {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut contents = Self { bytes: manifest.bytes(), ..Self::default() };
        let mut begin = 0;
        for entry in manifest.entries().iter().filter(|entry| entry.kind.has_content()) {
            // The words of a text have no name that matters.
            let name = match entry.kind {
                Kind::Text { .. } => String::new(),
                _ => escape(&entry.name.to_string_lossy()),
            };
            contents.files.push((begin, name));
            begin += entry.kind.size().unwrap_or(0);
        }
        contents
    }

    /// The file that byte `position` is in, and which of how many it is.
    pub(super) fn name_at(&self, position: u64) -> String {
        // Of several that begin there, all but the last are empty, and done.
        let after = self.files.partition_point(|&(begin, _)| begin <= position);
        match (&self.files[..], after.checked_sub(1)) {
            ([(_, name)], _) => name.clone(),
            (files, Some(index)) => format!("{after} of {}: {}", files.len(), files[index].1),
            (_, None) => String::new(),
        }
    }

    /// Whether `name` is not what was shown last.
    pub(super) fn is_news(&mut self, name: &str) -> bool {
        let is_news = self.shown != name;
        if is_news {
            self.shown = name.to_owned();
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use xchg_client::files::Entry;

    use super::*;

    #[test]
    fn each_byte_is_in_its_file() {
        let mut manifest = Manifest::new();
        for (name, kind) in [
            ("d", Kind::Directory),
            ("a", Kind::File { size: 3 }),
            ("empty", Kind::File { size: 0 }),
            ("b", Kind::File { size: 2 }),
        ] {
            let depth = usize::from(name != "d");
            manifest.push(Entry::new(kind, depth, name)).unwrap();
        }
        let contents = Contents::of(&manifest);
        for (position, expected) in
            [(0, "1 of 3: a"), (2, "1 of 3: a"), (3, "3 of 3: b"), (5, "3 of 3: b")]
        {
            assert_eq!(contents.name_at(position), expected);
        }
        assert_eq!(Contents::default().name_at(0), "");
    }
}
