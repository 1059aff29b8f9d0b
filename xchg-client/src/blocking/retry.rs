//! Which failures pass by themselves, and how long to wait for that.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use xchg_core::wire::{RefusalCode, Wait};

use crate::{Cancel, Error, Observer, session};

/// How to offer again what failed for a reason that passes: a counterpart or server that was lost,
/// a server that is full or starts again. The first connection is not among these: a wrong address
/// does not become right.
///
/// ```
/// use std::time::Duration;
/// use xchg_client::{Content, DownloadOptions, Key, Retry, Security, UploadOptions};
///
/// let patient = Retry::new(Duration::from_secs(1), Duration::from_secs(60));
/// let content = Content::paths(["photos"]);
/// let options = UploadOptions::new(Key::parse(b"photos")?, Security::Unauthenticated, content);
/// let options = options.retry(patient);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Retry {
    /// The first pause; each further one is twice as long. While the server is away, it is asked
    /// every second instead: whoever waited there has its place back as soon as it returns.
    pub first: Duration,
    /// The longest pause. An attempt that lasted longer than this, or that met its counterpart,
    /// makes the next pause the first again.
    pub longest: Duration,
}

impl Retry {
    /// Pauses of `first`, twice that, and so on, up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }
}

impl Default for Retry {
    /// From a quarter of a second to 15 seconds: quick after a short break, and no burden on a
    /// server that is down.
    fn default() -> Self {
        Self { first: Duration::from_millis(250), longest: Duration::from_secs(15) }
    }
}

/// How long the counterpart is waited for, whatever number of offers that takes.
struct Deadline {
    wait: Wait,
    /// When the first of them was made.
    began: Option<Instant>,
}

impl Deadline {
    /// The wait begins with the first offer.
    fn of(wait: Wait) -> Self {
        Self { wait, began: None }
    }

    /// How long the next offer may wait. In the end, only for who waits already.
    fn left(&mut self) -> Wait {
        let Some(began) = self.began else {
            self.began = Some(Instant::now());
            return self.wait;
        };
        match self.wait {
            Wait::AtMost(wait) => Wait::AtMost(wait.saturating_sub(began.elapsed())),
            Wait::Forever => Wait::Forever,
        }
    }
}

/// How long to leave a server alone that is away. A connection a second is no burden, even to one
/// that starts.
const SERVER_PAUSE: Duration = Duration::from_secs(1);

/// Decides after each failed attempt.
pub(crate) struct RetryPolicy {
    deadline: Deadline,
    retry: Option<Retry>,
    guesses_left: u32,
    pause: Duration,
    was_reached: bool,
    began: Instant,
}

impl RetryPolicy {
    pub(crate) fn new(wait: Wait, retry: Option<Retry>, guesses: NonZeroU32) -> Self {
        let deadline = Deadline::of(wait);
        let pause = retry.map_or(Duration::ZERO, |retry| retry.first);
        let guesses_left = guesses.get() - 1;
        Self { deadline, retry, guesses_left, pause, was_reached: false, began: Instant::now() }
    }

    /// How long the next offer may wait for the counterpart.
    pub(crate) fn wait(&mut self) -> Wait {
        self.deadline.left()
    }

    /// Pauses if another attempt is worth it, after one that `has_met` its counterpart and agreed
    /// on keys with it, or has not.
    ///
    /// # Errors
    /// The error itself if not, or [`Error::Cancelled`].
    pub(crate) fn pause_after(
        &mut self,
        error: Error,
        has_met: bool,
        cancel: &Cancel,
        observer: &mut (impl Observer + ?Sized),
    ) -> Result<(), Error> {
        if has_met {
            // Should it be lost again, it is waited for anew.
            self.deadline.began = None;
        }
        let lasted = self.began.elapsed();
        let Some(pause) = self.decide(&error, has_met, lasted).filter(|_| !cancel.is_cancelled())
        else {
            return Err(error);
        };
        observer.retrying(&error, pause);
        cancel.pause(pause)?;
        self.began = Instant::now();
        Ok(())
    }

    /// How long to pause after an attempt that went so far, `lasted` so long and ended like this;
    /// `None` to give up.
    fn decide(&mut self, error: &Error, has_met: bool, lasted: Duration) -> Option<Duration> {
        if let Error::Session(error) = error
            && error.is_guess()
        {
            self.guesses_left = self.guesses_left.checked_sub(1)?;
            return Some(Duration::ZERO);
        }
        if let Error::Session(session::Error::Unable { .. }) = error {
            // Nobody has said no: the offer waits for a downloader who can take it.
            return Some(Duration::ZERO);
        }
        let retry = self.retry?;
        self.was_reached |= !is_unreachable(error);
        if !self.was_reached || !passes(error) {
            return None;
        }
        if is_away(error) {
            self.pause = retry.first;
            return Some(SERVER_PAUSE);
        }
        if has_met || lasted > retry.longest {
            self.pause = retry.first;
        }
        let pause = self.pause.min(retry.longest);
        self.pause = pause.saturating_mul(2);
        Some(pause)
    }
}

/// Whether `error` says that the server has gone, or goes.
fn is_away(error: &Error) -> bool {
    let goes = matches!(
        error,
        Error::ServerLost { .. } | Error::Refused { code: RefusalCode::Draining, .. }
    );
    goes || is_unreachable(error)
}

/// Whether the server never said a word.
fn is_unreachable(error: &Error) -> bool {
    matches!(error, Error::Connect { .. } | Error::UnknownHost { .. } | Error::NoAnswer { .. })
}

/// Whether an error passes by itself. A person who cancelled will not come back by herself.
fn passes(error: &Error) -> bool {
    use RefusalCode::{Busy, Draining};
    match error {
        Error::Session(error) if matches!(error.root(), session::Error::PeerCancelled) => false,
        // It may come anew, to where nothing is left of it.
        Error::Session(session::Error::CutStream { .. }) => true,
        Error::ServerLost { .. } => true,
        // Of a plain transfer, which cannot be resumed.
        Error::CounterpartLost { bytes: 0, .. } | Error::NotReceived { bytes: 0 } => true,
        error if is_unreachable(error) => true,
        Error::Refused { code, .. } => matches!(code, Busy | Draining),
        error => error.is_cut_short(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    fn policy(retry: bool, guesses: u32) -> RetryPolicy {
        let guesses = NonZeroU32::new(guesses).unwrap();
        RetryPolicy::new(Wait::Forever, retry.then(Retry::default), guesses)
    }

    fn unreachable() -> Error {
        let source = io::ErrorKind::ConnectionRefused.into();
        Error::Connect { address: "localhost".parse().unwrap(), source }
    }

    fn refused(code: RefusalCode) -> Error {
        Error::Refused { code, text: String::new() }
    }

    fn lost() -> Error {
        session::Error::Lost.into()
    }

    #[test]
    fn a_wait_is_for_all_offers_until_the_counterpart_comes() {
        let hour = Duration::from_secs(3600);
        let mut deadline = Deadline::of(Wait::AtMost(hour));
        assert_eq!(deadline.left(), Wait::AtMost(hour));
        let ago = |time| Instant::now().checked_sub(time);
        deadline.began = ago(hour / 2);
        assert!(matches!(deadline.left(), Wait::AtMost(left) if left <= hour / 2));
        deadline.began = ago(2 * hour);
        assert_eq!(deadline.left(), Wait::AtMost(Duration::ZERO));
        deadline.began = None;
        assert_eq!(deadline.left(), Wait::AtMost(hour));
        assert_eq!(Deadline { wait: Wait::Forever, began: ago(hour) }.left(), Wait::Forever);
    }

    #[test]
    fn a_guess_is_counted_however_it_ended_and_costs_no_time() {
        let wrong = || session::Error::WrongSecret.into();
        let unconfirmed =
            || session::Error::Unconfirmed { source: Box::new(session::Error::Lost) }.into();
        for retry in [false, true] {
            let mut policy = policy(retry, 3);
            let guesses: [Error; 4] = [wrong(), unconfirmed(), unconfirmed(), wrong()];
            let decisions = guesses.map(|guess| policy.decide(&guess, false, SHORT));
            assert_eq!(decisions, [Some(Duration::ZERO), Some(Duration::ZERO), None, None]);
        }
    }

    #[test]
    fn what_is_retried_in_between_gives_no_guess_back() {
        let unconfirmed =
            || session::Error::Unconfirmed { source: Box::new(session::Error::Silent) }.into();
        let mut policy = policy(true, 2);
        assert!(policy.decide(&unconfirmed(), false, SHORT).is_some());
        assert!(policy.decide(&lost(), true, SHORT).is_some());
        assert_eq!(policy.decide(&unconfirmed(), false, SHORT), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_long_attempt_or_a_meeting() {
        let mut policy = policy(true, 1);
        let pauses: Vec<_> =
            (0..8).map(|_| policy.decide(&lost(), false, SHORT).unwrap().as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
        for (has_met, lasted) in [(false, Duration::from_secs(60)), (true, SHORT)] {
            let pause = policy.decide(&lost(), has_met, lasted);
            assert_eq!(pause, Some(Duration::from_millis(250)));
            let pause = policy.decide(&lost(), false, SHORT);
            assert_eq!(pause, Some(Duration::from_millis(500)));
        }
    }

    #[test]
    fn an_offer_that_could_not_be_taken_is_made_again_at_once() {
        for retry in [false, true] {
            let unable = session::Error::Unable { reason: String::new() }.into();
            let mut policy = policy(retry, 1);
            for _ in 0..3 {
                assert_eq!(policy.decide(&unable, true, SHORT), Some(Duration::ZERO));
            }
        }
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        use RefusalCode::*;
        for (error, passes) in [
            (lost(), true),
            (session::Error::Silent.into(), true),
            (refused(Busy), true),
            (refused(Draining), true),
            (refused(TimedOut), false),
            (refused(Forbidden), false),
            (session::Error::PeerCancelled.into(), false),
            (session::Error::Tampered.into(), false),
            (session::Error::DeclinedHere.into(), false),
            (session::Error::Declined { reason: String::new() }.into(), false),
            (Error::Cancelled, false),
        ] {
            assert_eq!(policy(true, 1).decide(&error, false, SHORT).is_some(), passes, "{error:?}");
            assert_eq!(policy(false, 1).decide(&error, false, SHORT), None, "{error:?}");
        }
    }

    #[test]
    fn a_server_that_was_never_reached_is_not_waited_for() {
        let mut policy = policy(true, 1);
        assert_eq!(policy.decide(&unreachable(), false, SHORT), None);
        assert!(policy.decide(&lost(), false, SHORT).is_some());
        for _ in 0..10 {
            let pause = policy.decide(&unreachable(), false, SHORT);
            assert_eq!(pause, Some(Duration::from_secs(1)), "however often it was in vain");
        }
    }
}
