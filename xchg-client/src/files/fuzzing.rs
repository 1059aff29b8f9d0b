//! Any bytes as the name of a file.

use super::names::Rules;
use super::names::fold::fold;
use super::{Name, partial_name};
use crate::terminal::{escape, is_deceptive};

/// Takes `data` for a name: what is found fit for a system, or made so, means one file in its
/// directory there.
pub fn names(data: &[u8]) {
    let name = Name::from(data);
    assert!(!escape(&name.to_string_lossy()).contains(is_deceptive));
    // Where a name is no text, what stood around an invisible character may become a letter.
    if name.as_str().is_some() {
        assert_eq!(fold(&fold(&name)), fold(&name), "folding is done at once");
    }
    for rules in [Rules::default(), Rules::windows()] {
        let Ok(fit) = rules.replaced(&name) else { continue };
        assert_eq!(rules.problem(&fit), None);
        assert_eq!(rules.problem(&name).is_none(), fit == name);
        let partial = partial_name(&fit);
        assert!(partial != fit && partial.as_bytes().len() <= 255);
        for name in [&fit, &partial] {
            assert_eq!(resolved_by_unix(name).as_ref(), Some(name));
            if rules == Rules::windows() {
                let text = name.as_str().expect("Windows holds nothing else");
                assert_eq!(resolved_by_windows(text).as_deref(), Some(text));
            }
        }
    }
}

/// Where Windows takes the path that one gets by appending `name` to a directory: a path of one
/// component below it, or none.
pub(super) fn resolved_by_windows(name: &str) -> Option<String> {
    let mut below = Vec::new();
    for component in name.split(['/', '\\']) {
        let bare = component.trim_end_matches([' ', '.']);
        match component {
            "" | "." => {}
            ".." => {
                below.pop()?;
            }
            _ => below.push(bare),
        }
    }
    let [only] = below[..] else {
        return None;
    };
    let base = only.split('.').next()?.trim_end().to_lowercase();
    let devices = ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"];
    let numbered = ["com", "lpt"].iter().any(|device| {
        base.strip_prefix(device).is_some_and(|number| {
            number.chars().count() == 1
                && number.contains(|c| "0123456789\u{b9}\u{b2}\u{b3}".contains(c))
        })
    });
    let leaves = only.contains(':') || devices.contains(&&*base) || numbered;
    (!leaves).then(|| only.to_owned())
}

/// Where Unix takes the path that one gets by appending `name` to a directory.
pub(super) fn resolved_by_unix(name: &Name) -> Option<Name> {
    match name.as_bytes() {
        b"" | b"." | b".." => None,
        bytes if bytes.contains(&b'/') || bytes.contains(&0) => None,
        _ => Some(name.clone()),
    }
}
