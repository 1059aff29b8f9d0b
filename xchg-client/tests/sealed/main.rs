//! Sealed transfers: the real program through the real server, which runs on unix only.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "whatever fails here is a failed test")]

#[path = "../support/rendezvous.rs"]
mod rendezvous;
#[path = "../support/mod.rs"]
mod support;

mod failures;
mod guesses;
mod kills;
mod library;
mod names;
mod outsider;
mod transfers;

use std::fs;
use std::path::Path;

use rendezvous::Rendezvous;
use support::{Client, Finished};
use tempfile::{TempDir, tempdir};

/// Runs an upload in `here` and a download in `there` to their ends, with these arguments behind
/// the command.
fn exchange(
    server: &Rendezvous,
    here: &Path,
    upload: &[&str],
    there: &Path,
    download: &[&str],
) -> (Finished, Finished) {
    let upload = server.run(here, &[&["upload"], upload].concat());
    let download = server.run(there, &[&["download"], download].concat());
    (upload.finish(), download.finish())
}

fn folder_with(name: &str, content: &[u8]) -> TempDir {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join(name), content).unwrap();
    folder
}

/// Bytes that no two places of which are alike (xorshift64*, <https://www.jstatsoft.org/v08/i14/>).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed.max(1));
    let words = std::iter::repeat_with(|| random.next().to_be_bytes());
    words.flatten().take(len).collect()
}

/// Random numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The events that a program with `--json` has told.
fn events(finished: &Finished) -> Vec<serde_json::Value> {
    finished.stderr.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last event of this name.
#[track_caller]
fn event(finished: &Finished, name: &str) -> serde_json::Value {
    let found = events(finished).into_iter().rfind(|event| event["event"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {finished:?}"))
}

/// Starts `args` in `folder` and waits until it is known to the server.
fn waiting(server: &Rendezvous, folder: &Path, args: &[&str]) -> Client {
    let mut client = server.run(folder, args);
    client.wait_for("waiting");
    client
}
