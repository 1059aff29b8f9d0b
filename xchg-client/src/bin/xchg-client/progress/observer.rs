//! What the reporter hears, and what it does about it.

use std::time::{Duration, Instant};

use xchg_client::files::{Entry, Existing, Kept, Manifest, Survey};
use xchg_client::terminal::escape;
use xchg_client::{
    Address, Decision, Error, Matched, Observer, Side, Waiting, duration_in_words, session,
};

use super::contents::Contents;
use super::event::{Event, emit};
use super::screen::Screen;
use super::{CONNECTING_NOTICE, Notice, Reporter, connecting, dialect, with_article};
use crate::failure::chain;
use crate::say::{Verbosity, say};
use crate::{cause, offer, questions};

/// The most names in an event.
const EVENT_NAMES: usize = 100;

impl Observer for Reporter {
    fn collected(&mut self, manifest: &Manifest) {
        if self.verbosity == Verbosity::Human && self.retrying.is_none() {
            say(&format!("offering {}", offer::headline(manifest)));
        }
    }

    fn connecting(&mut self, address: &Address) {
        self.told = None;
        if self.verbosity == Verbosity::Json {
            emit(&Event::Connecting { server: address.to_string() });
        }
        // Where something is tried again, the line that says so stays.
        if self.retrying.is_none() {
            self.connecting = connecting(self.verbosity, address);
        }
        self.asked.get_or_insert_with(Instant::now);
    }

    fn waiting(&mut self, waiting: &Waiting) {
        self.connecting = None;
        let told = self.told.replace(*waiting);
        if told == Some(*waiting) {
            return;
        }
        let elsewhere = waiting.elsewhere.map(|realm| realm.as_str());
        match self.verbosity {
            Verbosity::Quiet => {}
            Verbosity::Human => {
                let (key, counterpart) = (escape(&self.key), with_article(!self.side));
                let secret = match &self.sealed {
                    Some(report) if report.has_secret => " with the same secret",
                    _ => "",
                };
                let line = format!("waiting for {counterpart} of {key}{secret}");
                if self.retrying.is_some() && Screen::is_there() {
                    self.screen.status(line);
                } else if told.is_none() {
                    say(&line);
                }
                self.warn_without_secret();
                if waiting.elsewhere.is_some() {
                    say(&self.mismatch());
                }
            }
            Verbosity::Json => {
                emit(&Event::Waiting { side: self.side.as_str(), key: &self.key, elsewhere })
            }
        }
    }

    fn retrying(&mut self, error: &Error, delay: Duration) {
        self.connecting = None;
        let again = if delay.is_zero() {
            "trying again".into()
        } else {
            format!("trying again in {}", duration_in_words(delay))
        };
        match self.verbosity {
            Verbosity::Quiet => {}
            Verbosity::Human => {
                let what = escape(&cause::in_short(error));
                // One line, however often: it changes where somebody looks, and comes once where
                // nobody does.
                if Screen::is_there() {
                    self.screen.status(format!("{what}; {again}"));
                } else if self.retrying.as_ref() != Some(&what) {
                    say(&format!("{what}; {again}"));
                }
                self.retrying = Some(what);
            }
            Verbosity::Json => emit(&Event::Retrying {
                cause: cause::word_of_error(error),
                error: &chain(error),
                seconds: delay.as_secs_f64(),
            }),
        }
    }

    fn matched(&mut self, matched: &Matched) {
        self.connecting = None;
        self.length = matched.length;
        self.began = Instant::now();
        let counterpart = dialect(matched.dialect);
        match self.verbosity {
            Verbosity::Quiet => {}
            Verbosity::Human => {
                if self.retrying.take().is_none() {
                    say(&format!("matched with {} ({counterpart})", with_article(!self.side)));
                }
                self.screen.clear();
                self.warn_without_secret();
                if self.sealed.is_none() {
                    self.screen.bar(self.length);
                }
            }
            Verbosity::Json => emit(&Event::Matched { counterpart, length: self.length }),
        }
    }

    fn manifest(&mut self, manifest: &Manifest) {
        // Should the other side be lost, it is waited for anew.
        self.asked = None;
        let same = self.report().manifest.as_ref() == Some(manifest);
        let report = self.report();
        if !same {
            (report.is_accepted, report.is_shown, report.existing) = (false, false, None);
        }
        report.manifest = Some(manifest.clone());
        report.position = 0;
        report.confirmed = None;
        report.contents = Contents::of(manifest);
        self.length = (!manifest.has_stream()).then(|| manifest.bytes());
        match self.verbosity {
            Verbosity::Human if self.side == Side::Upload => {
                let line = "waiting for the other side to accept";
                self.screen.status(line.into());
                let is_said = !Screen::is_there();
                self.report().waiting =
                    is_said.then(|| Notice::after(CONNECTING_NOTICE, line.into())).flatten();
            }
            Verbosity::Quiet | Verbosity::Human => {}
            Verbosity::Json => {
                let kind = offer::kind(manifest);
                let entries = manifest.entries();
                let files = entries.iter().filter(|entry| entry.kind.has_content()).count();
                let names: Vec<String> =
                    (0..entries.len().min(EVENT_NAMES)).map(|i| manifest.path(i)).collect();
                let (entries, bytes) = (entries.len(), manifest.bytes());
                emit(&Event::Manifest { kind, entries, files, bytes, names: &names });
            }
        }
    }

    fn existing(&mut self, manifest: &Manifest, survey: &Survey) -> Option<Existing> {
        if self.sealed.is_none() {
            return self.existing_file(&manifest.path(0));
        }
        if let Some(existing) = self.report().existing {
            return Some(existing);
        }
        let asks = self.asks();
        self.show_offer(manifest, survey, asks);
        if !asks {
            return Some(Existing::Refuse);
        }
        match self.answered(questions::existing(manifest, survey)) {
            Some(Some(existing)) => {
                // Whoever says how to take it takes it.
                self.report().existing = Some(existing);
                self.report().is_accepted = true;
                Some(existing)
            }
            Some(None) | None => None,
        }
    }

    fn decide(&mut self, manifest: &Manifest, survey: &Survey) -> Decision {
        // What was accepted once needs no second answer after a break.
        if self.report().is_accepted {
            return Decision::Accept;
        }
        let asks = self.asks();
        self.show_offer(manifest, survey, asks);
        if !asks {
            self.report().refusal = self.objection(manifest, survey);
            return match self.report().refusal {
                None => Decision::Accept,
                Some(_) => Decision::Unable("a folder of that name is there already".into()),
            };
        }
        self.report().is_accepted =
            self.answered(questions::accept(manifest, survey)) == Some(true);
        if self.report().is_accepted {
            Decision::Accept
        } else {
            Decision::Decline("the person there said no".into())
        }
    }

    fn accepted(&mut self, bytes: u64) {
        self.report().kept = None;
        self.report().waiting = None;
        if self.verbosity == Verbosity::Json {
            emit(&Event::Decision { accepted: true, resumed: bytes });
        }
        // Nobody wants to know how long the person thought about it.
        self.began = Instant::now();
        if self.verbosity == Verbosity::Human {
            self.screen.bar(self.length);
            let known = bytes.min(self.report().contents.bytes);
            self.screen.begin_at(known);
        }
    }

    fn begin(&mut self, _: usize, _: &Entry, offset: u64) {
        self.report().position += offset;
        if self.side == Side::Download {
            self.show_position(offset > 0);
        }
    }

    fn moved(&mut self, bytes: u64) {
        if self.sealed.is_none() {
            self.bytes += bytes;
            self.screen.position(self.bytes);
            self.tell_progress(self.bytes, None);
            return;
        }
        self.report().position += bytes;
        if self.side == Side::Download {
            self.show_position(false);
        }
        let (position, confirmed) = (self.report().position, self.report().confirmed);
        self.tell_progress(position, confirmed);
    }

    fn confirmed(&mut self, bytes: u64) {
        self.report().confirmed = Some(bytes);
        self.show_position(false);
        let position = self.report().position;
        self.tell_progress(position, Some(bytes));
    }

    fn entry_done(&mut self, index: usize, _: &Entry) {
        if self.verbosity == Verbosity::Json
            && let Some(manifest) = &self.report().manifest
        {
            emit(&Event::EntryDone { index, path: &manifest.path(index) });
        }
    }

    fn kept(&mut self, kept: &Kept, error: &session::Error) {
        match error {
            // Who wants to leave does not wait for the other to have heard of it.
            session::Error::Cancelled => self.tell_kept(kept),
            // Another attempt may follow.
            _ => self.report().kept = Some(kept.clone()),
        }
    }

    fn finishing(&mut self) {
        if self.side == Side::Download {
            self.screen.name("finishing".into());
        }
    }
}
