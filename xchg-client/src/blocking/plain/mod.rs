//! Transfers of bare bytes in realm plain, where the counterpart may be curl, a browser or a
//! classic client (PROTOCOL.md section 2).

mod bypass;
mod download;
mod framing;
mod meter;
mod upload;

use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime};

use xchg_core::wire::{CounterpartDialect, Offer};
use xchg_core::{Realm, Side};

use crate::blocking::net::{Server, Throttle};
use crate::blocking::options::{Content, DownloadOptions, UploadOptions};
use crate::blocking::retry::RetryPolicy;
use crate::blocking::supply::Supply;
use crate::files::{self, Destination, Entry, Kind, Manifest, Modified};
use crate::key::{file_name, normalised};
use crate::{Cancel, Downloaded, Error, Key, Observer, Uploaded};
use download::Place;
use framing::Framing;
use meter::Meter;
use upload::Payload;

/// The mode of a new file, as far as the process's umask lets it.
const FILE_MODE: u16 = 0o666;

/// What a destination calls content whose key is no name of a file.
const NAMELESS: &str = "payload";

/// Waits for a downloader, and sends it the content.
pub(crate) fn upload(
    server: &Server,
    options: UploadOptions,
    cancel: &Cancel,
    observer: &mut dyn Observer,
) -> Result<Uploaded, Error> {
    let UploadOptions { key, content, wait, pace, rate_limit, retry, .. } = options;
    if let Content::Paths { paths, .. } = &content {
        match &paths[..] {
            [path] if path.is_dir() => return Err(Error::Folder { path: path.clone() }),
            [_] => {}
            _ => return Err(files::Error::NotOneFile.into()),
        }
    }
    let mut supply = Supply::new(content);
    let mut offer = Offer::new(Realm::Plain, Side::Upload, normalised(&key));
    let mut policy = RetryPolicy::new(wait, retry, NonZeroU32::MIN);
    loop {
        observer.collected(supply.prepare()?.manifest());
        let mut payload = Payload::hold(supply.take()?)?;
        offer.length = payload.length();
        offer.wait = policy.wait();
        let error = match server.offer_while(offer.clone(), cancel, observer, || payload.stands()) {
            Err(error) => error,
            // It is offered as it is now.
            Ok(None) => continue,
            Ok(Some((connection, matched))) => {
                let began = Instant::now();
                let throttle = Throttle::new(pace, rate_limit, began);
                let mut meter = Meter::new(observer, throttle, cancel, server.buffer_bytes);
                let framing = Framing::with(matched.dialect);
                match payload.send(connection, framing, &mut meter) {
                    Ok(()) => {
                        return Ok(Uploaded {
                            entries: 1,
                            bytes: meter.bytes,
                            moved: meter.bytes,
                            is_confirmed: matched.dialect == CounterpartDialect::Native,
                            elapsed: began.elapsed(),
                            notes: payload.into_outgoing().notes(),
                        });
                    }
                    Err(error) if meter.bytes > 0 => return Err(error),
                    Err(error) => error,
                }
            }
        };
        supply.take_back(payload.into_outgoing());
        if !supply.is_repeatable() {
            return Err(error);
        }
        policy.pause_after(error, false, cancel, observer)?;
    }
}

/// Waits for an uploader, and takes what it sends.
pub(crate) fn download(
    server: &Server,
    options: DownloadOptions<'_>,
    cancel: &Cancel,
    observer: &mut dyn Observer,
) -> Result<Downloaded, Error> {
    let DownloadOptions { key, mut destination, mut place, wait, rate_limit, retry, .. } = options;
    let key = normalised(&key);
    let manifest = manifest_of(&key, &destination)?;
    place.resume = false;
    let mut place = Place { destination: &mut destination, manifest: &manifest, options: place };
    // Before the server is asked there is time to ask the person.
    place.look(|sink| observer.existing(sink.manifest(), sink.survey()))?;
    let mut offer = Offer::new(Realm::Plain, Side::Download, key);
    let mut policy = RetryPolicy::new(wait, retry, NonZeroU32::MIN);
    loop {
        offer.wait = policy.wait();
        let error = match server.offer(offer.clone(), cancel, observer) {
            Err(error) => error,
            Ok((connection, matched)) => {
                let began = Instant::now();
                let throttle = Throttle::new(Duration::ZERO, rate_limit, began);
                let mut meter = Meter::new(observer, throttle, cancel, server.buffer_bytes);
                let framing = Framing::with(matched.dialect);
                match place.receive(connection, framing, matched.length, &mut meter) {
                    Ok((manifest, notes)) => {
                        let mut downloaded = Downloaded {
                            manifest,
                            bytes: meter.bytes,
                            moved: meter.bytes,
                            is_confirmed: matched.dialect == CounterpartDialect::Native,
                            elapsed: began.elapsed(),
                            notes,
                            ..Downloaded::default()
                        };
                        downloaded.locate(place.destination);
                        return Ok(downloaded);
                    }
                    Err(error) if meter.bytes > 0 => return Err(error),
                    Err(error) => error,
                }
            }
        };
        policy.pause_after(error, false, cancel, observer)?;
    }
}

/// What arrives, as far as that is known before it does: one file, named after the key if it goes
/// into a folder. Nothing of it can be resumed, which is what makes it a stream.
fn manifest_of(key: &Key, destination: &Destination<'_>) -> Result<Manifest, Error> {
    let name = match (file_name(key), destination) {
        (Some(name), _) => name,
        (None, Destination::Directory(_)) => {
            return Err(Error::UnsafeName { key: key.clone() });
        }
        (None, Destination::File(_) | Destination::Writer(_)) => NAMELESS.into(),
    };
    let mut manifest = Manifest::new();
    manifest.push(Entry {
        kind: Kind::Stream,
        depth: 0,
        name: name.into(),
        mode: FILE_MODE,
        modified: Modified::from_system(SystemTime::now()),
    })?;
    Ok(manifest)
}
