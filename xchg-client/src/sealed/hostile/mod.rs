//! Peers that know the secret and lie.
//!
//! Whatever they say, the honest one ends with an error, places nothing under its final name and
//! nothing outside its destination.

mod downloaders;
mod uploaders;

use super::testing::Puppet;
use crate::files::{Entry, Kind, Modified};
use crate::session::Error;
use crate::session::message::{Message, encode_point};

type Script = dyn Fn(&mut Puppet) -> Result<(), Error> + Sync;

fn entry(kind: Kind, depth: usize, name: &str) -> Entry {
    Entry {
        kind,
        depth,
        name: name.into(),
        mode: 0o644,
        modified: Modified { seconds: 0, nanos: 0 },
    }
}

fn file(size: u64, name: &str) -> Entry {
    entry(Kind::File { size }, 0, name)
}

fn link_to(target: &str) -> [Entry; 2] {
    let target = target.into();
    [entry(Kind::Directory, 0, "d"), entry(Kind::Symlink { target }, 1, "l")]
}

fn expect(link: &mut Puppet, expected: Message<'_>) -> Result<(), Error> {
    assert_eq!(link.next()?, Some(expected));
    Ok(())
}

fn have(points: &[(u32, u64)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    points.iter().for_each(|&(entry, bytes)| encode_point(entry, bytes, &mut encoded));
    encoded
}

fn is_protocol(error: &Error) -> bool {
    matches!(error, Error::Protocol(_))
}
