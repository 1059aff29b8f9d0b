//! Sealed transfers through the server: offers in realm sealed, a session in each exchange, and new
//! offers after what passes by itself.

use std::time::{Duration, Instant};

use xchg_core::Side;

use super::attempt::Attempts;
use crate::blocking::net::{Server, Throttle};
use crate::blocking::options::{DownloadOptions, UploadOptions};
use crate::blocking::retry::RetryPolicy;
use crate::blocking::supply::Supply;
use crate::files::Destination;
use crate::{Cancel, Downloaded, Error, Observer, Uploaded};

/// Waits for a downloader who knows the secret, and sends it the content.
pub(crate) fn upload(
    server: &Server,
    options: UploadOptions,
    cancel: &Cancel,
    observer: &mut dyn Observer,
) -> Result<Uploaded, Error> {
    let UploadOptions { key, security, content, wait, retry, guesses, pace, rate_limit } = options;
    let mut attempts = Attempts::new(server, Side::Upload, &key, security, cancel);
    let mut supply = Supply::new(content);
    let mut policy = RetryPolicy::new(wait, retry, guesses);
    loop {
        observer.collected(supply.prepare()?.manifest());
        let throttle = Throttle::new(pace, rate_limit, Instant::now());
        let sent = attempts.run(policy.wait(), throttle, observer, |stream, observer, token| {
            let mut outgoing = supply.take()?;
            let sent = super::upload(stream, &mut outgoing, observer, token);
            supply.take_back(outgoing);
            sent
        });
        match sent {
            Err(error) if supply.is_repeatable() => {
                policy.pause_after(error, attempts.has_met(), cancel, observer)?;
            }
            Err(error) => return Err(error),
            Ok(sent) => {
                let elapsed = attempts.elapsed();
                return Ok(Uploaded { is_confirmed: true, elapsed, ..sent });
            }
        }
    }
}

/// Waits for an uploader who knows the secret, and takes what it sends.
pub(crate) fn download(
    server: &Server,
    options: DownloadOptions<'_>,
    cancel: &Cancel,
    observer: &mut dyn Observer,
) -> Result<Downloaded, Error> {
    let DownloadOptions { key, security, mut destination, place, wait, retry, guesses, rate_limit } =
        options;
    let mut attempts = Attempts::new(server, Side::Download, &key, security, cancel);
    let mut policy = RetryPolicy::new(wait, retry, guesses);
    destination.check()?;
    loop {
        let throttle = Throttle::new(Duration::ZERO, rate_limit, Instant::now());
        let received =
            attempts.run(policy.wait(), throttle, observer, |stream, observer, token| {
                super::download(stream, destination.again(), place, observer, token)
            });
        match received {
            // What a writer got cannot be taken back.
            Err(error) if matches!(destination, Destination::Writer(_)) && attempts.has_met() => {
                return Err(error);
            }
            Err(error) => policy.pause_after(error, attempts.has_met(), cancel, observer)?,
            Ok(received) => {
                let elapsed = attempts.elapsed();
                let mut received = Downloaded { is_confirmed: true, elapsed, ..received };
                received.locate(&destination);
                return Ok(received);
            }
        }
    }
}
