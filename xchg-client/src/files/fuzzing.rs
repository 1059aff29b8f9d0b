//! Any bytes as the name of a file.

use super::names::{NamePolicy, fold, problem, safe_name};
use super::partial::partial_name;
use crate::terminal::{escape, is_deceptive};

/// Takes `data` for a name: what is found safe, or made so, means one file in its directory on every system.
pub fn names(data: &[u8]) {
    let Ok(name) = str::from_utf8(data) else { return };
    assert!(!escape(name).contains(is_deceptive));
    assert_eq!(fold(&fold(name)), fold(name), "folding is done at once");
    for policy in [NamePolicy::Refuse, NamePolicy::Replace] {
        let Ok(safe) = safe_name(name, policy) else { continue };
        assert_eq!(problem(&safe), None);
        assert!(policy == NamePolicy::Replace || safe == name);
        assert_eq!(resolved_by_unix(&safe).as_deref(), Some(&*safe));
        assert_eq!(resolved_by_windows(&safe).as_deref(), Some(&*safe));
        let partial = partial_name(&safe);
        assert!(partial != safe && partial.len() <= 255);
        assert_eq!(resolved_by_unix(&partial).as_deref(), Some(&*partial));
    }
}

/// Where Windows takes the path that one gets by appending `name` to a directory: a path of one component
/// below it, or none.
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

/// The same for Unix.
pub(super) fn resolved_by_unix(name: &str) -> Option<String> {
    match name {
        "" | "." | ".." => None,
        name if name.contains(['/', '\0']) => None,
        name => Some(name.to_owned()),
    }
}
