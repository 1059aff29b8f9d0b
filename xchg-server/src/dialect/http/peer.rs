//! An http peer from its request to the end of its answer: what it is told at each turn of events.

use std::time::Duration;

use xchg_core::wire::RefusalCode;
use xchg_core::{Key, Outcome, Realm, Side};

use super::answer::{Failure, Notice, UploadAnswer};
use super::body::BodyError;
use super::respond::{PROCESSING, Refusal};
use super::{Body, Description, Download, Upload};
use crate::dialect::NotServed;
use crate::origin::Origin;

/// What an http peer asked for, and how far its answer has come.
#[derive(Debug)]
pub(crate) enum Peer {
    /// It uploads. Its answer begins when its offer is taken.
    Upload {
        /// What it asked for.
        upload: Upload,
        /// What it is told.
        answer: Option<UploadAnswer>,
        /// How many receivers it knows to be there.
        came: u16,
        /// How many of several receivers have been lost.
        lost: u16,
        /// What was too much of it, if the exchange was ended for that.
        too_long: Option<u64>,
    },
    /// It downloads.
    Download(Download),
}

impl From<Upload> for Peer {
    fn from(upload: Upload) -> Self {
        Self::Upload { upload, answer: None, came: 0, lost: 0, too_long: None }
    }
}

/// The last words to an uploader.
#[derive(Debug)]
pub(crate) struct Farewell {
    /// What it is told.
    pub(crate) words: Vec<u8>,
    /// Whether its connection carries another request behind that.
    pub(crate) keep_alive: bool,
}

impl Peer {
    /// What it shares with its counterpart.
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Upload { upload, .. } => &upload.key,
            Self::Download(download) => &download.key,
        }
    }

    /// Which end of an exchange it is.
    pub(crate) fn side(&self) -> Side {
        match self {
            Self::Upload { .. } => Side::Upload,
            Self::Download(_) => Side::Download,
        }
    }

    /// How many receivers its exchange is to have.
    pub(crate) fn receivers(&self) -> u16 {
        match self {
            Self::Upload { upload, .. } => upload.receivers,
            Self::Download(download) => download.receivers,
        }
    }

    /// The proxy that passed its request on, if that said for whom.
    pub(crate) fn proxy(&self) -> Option<Origin> {
        let proxy = match self {
            Self::Upload { upload, .. } => &upload.proxy,
            Self::Download(download) => &download.proxy,
        };
        proxy.as_deref().copied()
    }

    /// Notes the proxy that passed its request on, and said for whom.
    pub(crate) fn passed_on_by(mut self, proxy: Option<Origin>) -> Self {
        *match &mut self {
            Self::Upload { upload, .. } => &mut upload.proxy,
            Self::Download(download) => &mut download.proxy,
        } = proxy.map(Box::new);
        self
    }

    /// What an upload is named by, however often it is sent, if its client names it: its key, and a
    /// hash of the name.
    pub(crate) fn idempotency_key(&self) -> Option<(&Key, u64)> {
        match self {
            Self::Upload { upload, .. } => Some((&upload.key, upload.idempotency_key?)),
            Self::Download(_) => None,
        }
    }

    /// The payload's length in bytes, where an uploader said it.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Upload { upload, .. } => upload.length(),
            Self::Download(_) => None,
        }
    }

    /// To one that has to wait, where `gathered` of several receivers are there already. A
    /// downloader's response begins only when it knows what comes.
    #[must_use]
    pub(crate) fn waiting(&mut self, elsewhere: Option<Realm>, gathered: u16) -> Vec<u8> {
        let Self::Upload { upload, answer, came, .. } = self else { return Vec::new() };
        *came = gathered;
        let mut words = begin(upload, answer);
        if let (Some(answer), 1..) = (answer.as_mut(), gathered) {
            words.extend(answer.notice(Notice::ReceiversThere { receivers: gathered }));
        }
        if let (Some(answer), Some(Realm::Sealed)) = (answer, elsewhere) {
            words.extend(answer.notice(Notice::ReceiverSealed));
        }
        words
    }

    /// To an uploader that waits for several receivers, of whom one has come; nothing to anybody
    /// else.
    #[must_use]
    pub(crate) fn receiver_came(&mut self) -> Vec<u8> {
        match self {
            Self::Upload { answer: Some(answer), came, .. } => {
                *came = came.saturating_add(1);
                answer.notice(Notice::ReceiverCame)
            }
            _ => Vec::new(),
        }
    }

    /// To an uploader that has lost one of several receivers; nothing to anybody else.
    #[must_use]
    pub(crate) fn receiver_lost(&mut self) -> Vec<u8> {
        match self {
            Self::Upload { answer: Some(answer), lost, .. } => {
                *lost += 1;
                answer.notice(Notice::ReceiverAborted)
            }
            _ => Vec::new(),
        }
    }

    /// When it is told next that it still waits, if others are so after `interval`.
    ///
    /// There are few signs for one whose lines are kept: the longer it waits, the rarer they
    /// become, so that they last for 500 intervals.
    #[must_use]
    pub(crate) fn heartbeat_interval(&self, interval: Duration) -> Option<Duration> {
        match self {
            Self::Upload { answer: Some(answer), upload, .. } if !upload.reply_to.hears_early => {
                Some(interval.saturating_mul(1 << answer.signs()?))
            }
            Self::Upload { .. } => Some(interval),
            Self::Download(download) => download.reply_to.hears_early.then_some(interval),
        }
    }

    /// To one that still waits, every so often.
    ///
    /// An uploader is told once more what it was told first. Beside keeping proxies on the way
    /// awake, that finds out whether it is there: if it has left in the middle of a body that is
    /// not being read, its end is stuck behind that, and only bytes sent to it draw the reset of a
    /// connection that nobody holds.
    #[must_use]
    pub(crate) fn still_waiting(&mut self, elsewhere: Option<Realm>) -> Vec<u8> {
        match self {
            Self::Upload { upload, answer: Some(answer), .. } if !upload.reply_to.hears_early => {
                answer.sign()
            }
            Self::Upload { upload, answer: Some(answer), .. } => {
                let mut words = answer.notice(Notice::Waiting { receivers: upload.receivers });
                if elsewhere == Some(Realm::Sealed) {
                    words.extend(answer.notice(Notice::ReceiverSealed));
                }
                words
            }
            Self::Upload { answer: None, .. } => Vec::new(),
            Self::Download(_) => PROCESSING.to_vec(),
        }
    }

    /// To an uploader whose counterpart is here. Of several receivers, who come at once at
    /// different workers, it may not have heard of each.
    #[must_use]
    pub(crate) fn matched(&mut self) -> Vec<u8> {
        let Self::Upload { upload, answer, came, .. } = self else { return Vec::new() };
        let receivers = upload.receivers;
        let has_waited = answer.is_some();
        let mut words = if has_waited { Vec::new() } else { begin(upload, answer) };
        if let Some(answer) = answer {
            if has_waited {
                let unknown = receivers.saturating_sub(*came).max(1);
                (0..unknown).for_each(|_| words.extend(answer.notice(Notice::ReceiverCame)));
            } else {
                words.extend(answer.notice(Notice::ReceiversThere { receivers }));
            }
            words.extend(answer.notice(Notice::Started { receivers }));
        }
        words
    }

    /// To an uploader whose whole payload has been passed on.
    #[must_use]
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        match self {
            Self::Upload { answer: Some(answer), .. } => answer.notice(Notice::Sent),
            _ => Vec::new(),
        }
    }

    /// To one whose offer is not taken, or whose wait is in vain. The connection has to be closed
    /// behind it.
    #[must_use]
    pub(crate) fn refused(self, refusal: Refusal) -> Vec<u8> {
        match self {
            Self::Upload { answer: Some(answer), .. } => answer.failed(match refusal {
                Refusal::TimedOut => Failure::TimedOut,
                Refusal::Draining => Failure::Draining,
                _ => Failure::Cancelled,
            }),
            Self::Upload { upload, answer: None, .. } => {
                refusal.reply(upload.reply_to.closing(), &upload.key)
            }
            Self::Download(download) => refusal.reply(download.reply_to.closing(), &download.key),
        }
    }

    /// Notes that the exchange ends because more came than the `most` bytes that it may move.
    pub(crate) fn has_sent_more_than(&mut self, most: u64) {
        if let Self::Upload { too_long, .. } = self {
            *too_long = Some(most);
        }
    }

    /// To an uploader whose exchange has ended; `body` says what was wrong with its body. `None` if
    /// it is gone, or none.
    #[must_use]
    pub(crate) fn ended(self, outcome: Outcome, body: Option<BodyError>) -> Option<Farewell> {
        let Self::Upload { upload, answer: Some(answer), lost, too_long, .. } = self else {
            return None;
        };
        let failure = match (outcome, body) {
            (Outcome::Completed, _) => {
                let keep_alive = answer.keep_alive();
                return Some(Farewell { words: answer.received(), keep_alive });
            }
            (Outcome::Lost(Side::Upload), Some(error)) => Failure::Body(error),
            (Outcome::Lost(Side::Upload), None) => return None,
            (Outcome::Lost(Side::Download), _) => {
                Failure::ReceiversLost { lost: lost.max(1), receivers: upload.receivers }
            }
            (Outcome::TimedOut, _) => Failure::Stalled,
            _ => too_long.map_or(Failure::Cancelled, |most| Failure::TooLong { most }),
        };
        Some(Farewell { words: answer.failed(failure), keep_alive: false })
    }

    /// As [`Upload::open`], of an uploader.
    pub(crate) fn open(&mut self) -> Option<(Body, Option<Box<Description>>)> {
        match self {
            Self::Upload { upload, .. } => Some(upload.open()),
            Self::Download(_) => None,
        }
    }
}

/// Begins an uploader's answer; it is told that it waits even if its receiver is there already, as
/// piping-server does.
fn begin(upload: &Upload, answer: &mut Option<UploadAnswer>) -> Vec<u8> {
    let (mut begun, mut words) = UploadAnswer::begin(upload.reply_to, upload.expects_continue);
    words.extend(begun.notice(Notice::Waiting { receivers: upload.receivers }));
    *answer = Some(begun);
    words
}

impl Refusal {
    /// What it means to `peer` that it is not served.
    pub(crate) fn of(why: &NotServed<'_>, peer: &Peer) -> Self {
        match *why {
            NotServed::Refused(why) => Self::of_offer(why, peer),
            NotServed::TooLong { most } => Self::TooLong { most },
            NotServed::TooOften { seconds } => Self::TooOften { seconds },
            NotServed::For { code: RefusalCode::TimedOut, .. } => Self::TimedOut,
            NotServed::For { code: RefusalCode::Draining, .. } => Self::Draining,
            NotServed::For { .. } => Self::Busy,
        }
    }

    /// What it means to `peer` that its offer is not taken.
    fn of_offer(why: xchg_core::Refusal, peer: &Peer) -> Self {
        use xchg_core::Refusal as Why;
        match (why, peer.side()) {
            (Why::Receivers { expected }, _) => {
                Self::Receivers { expected, asked: peer.receivers() }
            }
            (Why::SideTaken, Side::Upload) => Self::SecondUpload,
            (Why::SideTaken, Side::Download) => Self::SecondDownload,
            (Why::Exchanging, _) => Self::Running,
            (Why::KeyFull | Why::OriginFull, _) => Self::TooMany,
            (Why::Closed, _) => Self::Draining,
            _ => Self::Busy,
        }
    }
}
