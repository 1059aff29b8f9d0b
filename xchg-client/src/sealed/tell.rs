//! What a session's events are to who watches the transfer.

use crate::Observer;
use crate::files::Manifest;
use crate::session::Event;

/// Tells `observer` of what happens to the entries of `manifest`.
pub(super) fn tell(observer: &mut dyn Observer, manifest: &Manifest, event: Event) {
    match event {
        Event::Offered => observer.manifest(manifest),
        Event::Accepted(bytes) => observer.accepted(bytes),
        Event::Begun { entry, offset } => observer.begin(entry, &manifest.entries()[entry], offset),
        Event::Moved(bytes) => observer.moved(bytes),
        Event::Confirmed(bytes) => observer.confirmed(bytes),
        Event::Ended(entry) => observer.entry_done(entry, &manifest.entries()[entry]),
        Event::Finishing => observer.finishing(),
    }
}
