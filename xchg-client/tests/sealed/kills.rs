//! Programs that are killed, and servers that are cut off, at random moments: whatever is resumed becomes whole.

use std::fs;
use std::ops::ControlFlow;

use tempfile::{TempDir, tempdir};

use crate::support::{Client, Finished, names};
use crate::{Random, Rendezvous, event, noise};

/// Whom it hits.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Uploader,
    Downloader,
    Server,
}

/// One transfer that is disturbed until it is whole.
struct Ordeal {
    server: Rendezvous,
    here: TempDir,
    there: TempDir,
    random: Random,
    kills: usize,
}

impl Ordeal {
    /// Sends a folder with a big file and some small ones, about `bytes` in all.
    fn new(seed: u64, bytes: usize) -> Ordeal {
        let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
        let top = here.path().join("top");
        fs::create_dir(&top).unwrap();
        fs::write(top.join("big"), noise(seed, bytes)).unwrap();
        for small in 0..20 {
            fs::write(top.join(format!("small{small}")), noise(seed + 1, 1000 * small)).unwrap();
        }
        Ordeal { server: Rendezvous::start(), here, there, random: Random(seed), kills: 0 }
    }

    /// Disturbs it until it is whole, or has been `most` times. The number of times.
    fn run(mut self, most: usize, bytes: u64) -> usize {
        while self.kills < most {
            let victim = match self.random.below(9) {
                0..4 => Victim::Uploader,
                4..8 => Victim::Downloader,
                _ => Victim::Server,
            };
            // Some come before the first byte, the others about twenty to the transfer.
            let at = self.random.below(bytes / 10).saturating_sub(bytes / 100);
            if self.disturb(victim, at).is_break() {
                break;
            }
        }
        let (sent, received) = self.exchange(|_, _, _| {});
        assert_eq!((sent.code, received.code), (Some(0), Some(0)), "{sent:?} {received:?}");
        assert_eq!(event(&received, "done")["receipt"], true);
        self.check_whole();
        self.kills
    }

    /// Strikes when `at` bytes have moved, unless it is whole before.
    fn disturb(&mut self, victim: Victim, at: u64) -> ControlFlow<()> {
        let mut struck = false;
        let (sent, received) = self.exchange(|upload, download, server| {
            let watched = if victim == Victim::Uploader { &mut *upload } else { &mut *download };
            struck = watched.find_line(|line| has_moved(line, at)).is_some();
            match victim {
                _ if !struck => {}
                Victim::Server => server.handle.cut(),
                Victim::Uploader | Victim::Downloader => watched.kill(),
            }
        });
        if !struck {
            assert_eq!((sent.code, received.code), (Some(0), Some(0)), "{sent:?} {received:?}");
            return ControlFlow::Break(());
        }
        self.kills += 1;
        if victim == Victim::Server {
            // Elsewhere: meanwhile, the port may be another test's.
            self.server = Rendezvous::start();
        }
        // Who survives either got all just before, or says that the rest can be had.
        let survivors = match victim {
            Victim::Uploader => vec![received],
            Victim::Downloader => vec![sent],
            Victim::Server => vec![sent, received],
        };
        for survivor in survivors {
            assert!(matches!(survivor.code, Some(0 | 6)), "{victim:?} at {at}: {survivor:?}");
        }
        ControlFlow::Continue(())
    }

    /// Runs both programs to their ends, with `meanwhile` during that.
    fn exchange(
        &self,
        meanwhile: impl FnOnce(&mut Client, &mut Client, &Rendezvous),
    ) -> (Finished, Finished) {
        let options = ["top", "--json", "--progress-interval", "0"];
        let mut upload = self.server.run(self.here.path(), &[&["upload"], &options[..]].concat());
        let mut download =
            self.server.run(self.there.path(), &[&["download"], &options[..]].concat());
        meanwhile(&mut upload, &mut download, &self.server);
        (upload.finish(), download.finish())
    }

    fn check_whole(&self) {
        let (here, there) = (self.here.path().join("top"), self.there.path().join("top"));
        assert_eq!(names(&there), names(&here), "all files, and no partial ones");
        for name in names(&here) {
            let same = fs::read(there.join(&name)).unwrap() == fs::read(here.join(&name)).unwrap();
            assert!(same, "{name} is another file");
        }
    }
}

/// Whether the offer is accepted and `at` bytes have moved in this attempt, as of this event.
fn has_moved(line: &str, at: u64) -> bool {
    thread_local! {
        static RESUMED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    match event["event"].as_str() {
        Some("decision") => {
            RESUMED.set(event["resumed"].as_u64().unwrap());
            at == 0
        }
        Some("progress") => event["bytes"].as_u64().unwrap() >= RESUMED.get() + at,
        _ => false,
    }
}

/// Runs ordeals until there were so many kills in all.
#[expect(clippy::print_stdout, reason = "the seed is shown with a failure only")]
fn ordeals(seed: u64, kills: usize, bytes: usize) {
    let mut done = 0;
    let mut round = 0;
    while done < kills {
        let seed = seed + round;
        println!("seed {seed}");
        done += Ordeal::new(seed, bytes).run(kills - done, bytes as u64);
        round += 1;
    }
}

#[test]
fn a_few_kills_leave_a_transfer_that_becomes_whole() {
    ordeals(7, 6, 8_000_000);
}

#[test]
#[ignore = "takes a minute; continuous integration runs it in release, with --ignored"]
fn two_hundred_random_kills_leave_transfers_that_become_whole() {
    ordeals(1000, 200, 40_000_000);
}
