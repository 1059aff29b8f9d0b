//! Peers that know the secret and lie.
//!
//! Whatever they say, the honest one ends with an error, places nothing under its final name and
//! nothing outside its destination.

mod downloaders;
mod uploaders;

use super::testing::Puppet;
use crate::session::Error;
use crate::session::message::{Message, encode_point};

/// Says `messages`, and that nothing follows.
fn say_all(link: &mut Puppet, messages: &[Message<'_>]) -> Result<(), Error> {
    messages.iter().try_for_each(|message| link.put(message))?;
    link.finish()
}

fn have(points: &[(u32, u64)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    points.iter().for_each(|&(entry, bytes)| encode_point(entry, bytes, &mut encoded));
    encoded
}

fn is_protocol(error: &Error) -> bool {
    matches!(error, Error::Protocol(_))
}
