//! The one line on a terminal that changes: what is waited for, or how far the transfer is.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::style::ProgressTracker;
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::prompt;

/// How often the line is drawn anew while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// How long nothing moves before it is said.
const STALL: Duration = Duration::from_secs(5);

/// The narrowest terminal that has room for everything.
const WIDE: usize = 70;

/// What a person sees of it. Where nobody looks, there is none.
#[derive(Default)]
pub(super) struct Screen {
    line: Option<ProgressBar>,
    /// Whether the line tells how far the transfer is.
    is_bar: bool,
}

impl Screen {
    /// Whether somebody looks.
    pub(super) fn is_there() -> bool {
        io::stderr().is_terminal()
    }

    /// Shows what is waited for, if somebody looks.
    pub(super) fn status(&mut self, text: String) {
        if !Self::is_there() {
            return;
        }
        match &self.line {
            Some(line) if !self.is_bar => line.set_message(text),
            _ => {
                self.clear();
                let line = ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}"));
                line.set_message(text);
                line.enable_steady_tick(TICK);
                self.line = Some(line);
                self.is_bar = false;
            }
        }
    }

    /// Shows how far the transfer of `length` bytes is, if somebody looks.
    pub(super) fn bar(&mut self, length: Option<u64>) {
        self.clear();
        if !Self::is_there() {
            return;
        }
        let is_wide = prompt::columns().is_none_or(|columns| columns >= WIDE);
        let (bar, template) = match (length, is_wide) {
            (Some(length), true) => (
                ProgressBar::new(length),
                "{bar:20} {percent:>3}% of {binary_total_bytes}, {pace}  {wide_msg}",
            ),
            (Some(length), false) => (ProgressBar::new(length), "{percent:>3}%, {pace} {wide_msg}"),
            (None, _) => {
                (ProgressBar::new_spinner(), "{spinner} {binary_bytes}, {pace}  {wide_msg}")
            }
        };
        let bar = bar.with_style(style(template).with_key("pace", Pace::default()));
        bar.enable_steady_tick(TICK);
        self.line = Some(bar);
        self.is_bar = true;
    }

    /// Says what moves now.
    pub(super) fn name(&self, text: String) {
        if let Some(bar) = self.line.as_ref().filter(|_| self.is_bar) {
            bar.set_message(text);
        }
    }

    /// Says how many bytes there are.
    pub(super) fn position(&self, bytes: u64) {
        if let Some(bar) = self.line.as_ref().filter(|_| self.is_bar) {
            bar.set_position(bytes);
        }
    }

    /// Says that what was there before did not come at this rate.
    pub(super) fn begin_at(&self, bytes: u64) {
        if let Some(bar) = self.line.as_ref().filter(|_| self.is_bar) {
            bar.set_position(bytes);
            bar.reset_eta();
        }
    }

    pub(super) fn clear(&mut self) {
        if let Some(line) = self.line.take() {
            line.finish_and_clear();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are well-formed")
}

/// The rate and the time that is left, or for how long nothing has moved.
#[derive(Clone)]
struct Pace {
    position: u64,
    moved: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { position: 0, moved: Instant::now() }
    }
}

impl ProgressTracker for Pace {
    fn clone_box(&self) -> Box<dyn ProgressTracker> {
        Box::new(self.clone())
    }

    fn tick(&mut self, state: &ProgressState, now: Instant) {
        if state.pos() != self.position {
            (self.position, self.moved) = (state.pos(), now);
        }
    }

    fn reset(&mut self, state: &ProgressState, now: Instant) {
        (self.position, self.moved) = (state.pos(), now);
    }

    fn write(&self, state: &ProgressState, out: &mut dyn Write) {
        let rate = state.per_sec();
        let idle = self.moved.elapsed();
        let eta = state.len().map(|_| state.eta());
        // There is nobody to tell that the line could not be written.
        write!(out, "{}", in_words(rate, eta, idle)).ok();
    }
}

fn in_words(rate: f64, eta: Option<Duration>, idle: Duration) -> String {
    if idle >= STALL {
        return format!("stalled for {} s", idle.as_secs());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "three digits of it show"
    )]
    let shown = HumanBytes(rate as u64);
    match eta {
        // Nothing is known yet.
        _ if rate < 1.0 => "starting".into(),
        Some(eta) => format!("{shown}/s, {} left", HumanDuration(eta)),
        None => format!("{shown}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_a_rate_or_how_long_nothing_moves() {
        let seconds = Duration::from_secs;
        for (rate, eta, idle, expected) in [
            (0.0, Some(seconds(0)), 0, "starting"),
            (1048576.0, Some(seconds(90)), 0, "1.00 MiB/s, 2 minutes left"),
            (1536.0, None, 4, "1.50 KiB/s"),
            (1536.0, Some(seconds(3)), 5, "stalled for 5 s"),
            (0.0, None, 75, "stalled for 75 s"),
        ] {
            assert_eq!(in_words(rate, eta, seconds(idle)), expected);
        }
    }
}
