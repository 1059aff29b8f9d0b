//! The uploader's answer: a running text of what becomes of its upload.
//!
//! An HTTP/1.1 uploader is answered 200 at once, and line by line, while it still sends. By then
//! a status can no longer tell a failure. So a failure is told twice: by an `[ERROR]` line for
//! the person, and by cutting the answer before its last chunk, which any client reports as an
//! error (curl exits with 18).
//!
//! An HTTP/1.0 uploader knows no chunks, and behind a proxy nobody can be answered while it sends:
//! nginx stops passing the upload on once the answer has begun, and so do proxies written in Go.
//! Their lines are kept, and sent when it is known how things went, with a status that says so.
//! Because many look at no status (curl exits with 0), a failure's answer is cut too: it is
//! announced one byte longer. While they wait they are sent the beginning that all answers have,
//! byte by byte (see [`sign`](UploadAnswer::sign)).
//!
//! **Behind a proxy nothing is said early.** A proxy that is answered while it still passes an
//! upload on stops doing so (nginx 1.22 after about 4 MB, Caddy at once), takes an interim response
//! for the answer (nginx), or gives up after five (Caddy 2.6). So the request's head decides
//! (`ReplyTo::hears_early`): if it shows a proxy, the answer comes at the end, and has the right
//! status for it. That leaves no word for one that waits. It is needed all the same: the end of an
//! uploader that leaves in the midst of a body that nobody reads is stuck behind it, for minutes if
//! not for ever, and its place with it. Bytes that are sent to it draw a reset, and the one thing
//! that can be sent is the answer itself: what all answers begin with, `HTTP/1.1 `, byte by byte,
//! at ever longer intervals.

use super::body::BodyError;
use super::respond::{CONTINUE, ReplyTo, ResponseHead};
use super::status::Status;

/// Something that an uploader is told on the way, in piping-server's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// It is registered, and so many receivers are awaited.
    Waiting {
        /// The number that it asked for.
        receivers: u16,
    },
    /// A receiver waits under the same name for an encrypted transfer.
    ReceiverSealed,
    /// A receiver came while it waited.
    ReceiverCame,
    /// So many receivers were there before it.
    ReceiversThere {
        /// The number of those.
        receivers: u16,
    },
    /// The exchange runs.
    Started {
        /// The number of receivers in it.
        receivers: u16,
    },
    /// One of several receivers was lost.
    ReceiverAborted,
    /// Its whole body has been read.
    Sent,
}

impl Notice {
    fn line(self) -> String {
        match self {
            Self::Waiting { receivers } => {
                format!("[INFO] Waiting for {receivers} receiver(s)...\n")
            }
            Self::ReceiverSealed => "[INFO] A receiver waits here for an encrypted transfer; \
                 it has to take --plain.\n"
                .to_owned(),
            Self::ReceiverCame => "[INFO] A receiver was connected.\n".to_owned(),
            Self::ReceiversThere { receivers } => {
                format!("[INFO] {receivers} receiver(s) has/have been connected.\n")
            }
            Self::Started { receivers } => {
                format!("[INFO] Start sending to {receivers} receiver(s)!\n")
            }
            Self::ReceiverAborted => "[ERROR] A receiver aborted.\n".to_owned(),
            Self::Sent => "[INFO] Sent successfully!\n".to_owned(),
        }
    }
}

/// Why an upload that was taken did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// Receivers were lost before they had acknowledged everything.
    ReceiversLost {
        /// How many. Of several, each has been [told of](Notice::ReceiverAborted) already.
        lost: u16,
        /// How many there were.
        receivers: u16,
    },
    /// The body could not be read.
    Body(BodyError),
    /// No receiver came within the wait.
    TimedOut,
    /// Nothing moved for too long.
    Stalled,
    /// The exchange was ended by whoever runs the server.
    Cancelled,
    /// More came than an exchange may move.
    TooLong {
        /// How many bytes it may.
        most: u64,
    },
    /// The server is shutting down.
    Draining,
}

impl Failure {
    fn lines(self) -> String {
        match self {
            Self::ReceiversLost { receivers: 1, .. } => "[ERROR] A receiver aborted.\n\
                 [ERROR] All receiver(s) was/were aborted halfway.\n"
                .to_owned(),
            Self::ReceiversLost { lost, receivers } if lost == receivers => {
                "[ERROR] All receiver(s) was/were aborted halfway.\n".to_owned()
            }
            Self::ReceiversLost { lost, receivers } => format!(
                "[ERROR] {lost} of {receivers} receivers was/were aborted halfway; the others \
                 received everything.\n"
            ),
            Self::Body(error) => format!("[ERROR] Failed to send: {error}.\n"),
            Self::TimedOut => {
                "[ERROR] No receiver came in time; ask the other side and try again.\n".to_owned()
            }
            Self::Stalled => {
                "[ERROR] Nothing moved for too long; the transfer was ended.\n".to_owned()
            }
            Self::Cancelled => "[ERROR] The transfer was cancelled on the server.\n".to_owned(),
            Self::TooLong { most } => format!(
                "[ERROR] This server passes on {most} bytes at most, and more came; the transfer was ended.\n"
            ),
            Self::Draining => "[ERROR] The server is shutting down; try again later.\n".to_owned(),
        }
    }

    /// For those whose status has not been sent yet.
    fn status(self) -> Status {
        match self {
            Self::Body(_) => Status::BadRequest,
            Self::TooLong { .. } => Status::ContentTooLarge,
            Self::ReceiversLost { .. } => Status::BadGateway,
            Self::TimedOut | Self::Stalled => Status::GatewayTimeout,
            Self::Cancelled => Status::InternalError,
            Self::Draining => Status::Unavailable,
        }
    }
}

/// The answer to one uploader. Each method gives the bytes to send now, which may be none.
#[derive(Debug)]
pub(crate) struct UploadAnswer {
    to: ReplyTo,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Each line is a chunk.
    Running,
    /// What will be said at the end, and how many bytes of that have been sent.
    Kept { notices: Vec<Notice>, sent: u8 },
}

/// How far answers in one version are all the same: `HTTP/1.1` and a space.
const BEGINNING_LEN: u8 = 9;

impl UploadAnswer {
    /// Begins the answer with what is sent at once: the interim response to those who wait for it,
    /// and the head of the 200 to those who hear it early.
    #[must_use]
    pub(crate) fn begin(to: ReplyTo, expects_continue: bool) -> (Self, Vec<u8>) {
        let mut bytes = if expects_continue { CONTINUE.to_vec() } else { Vec::new() };
        let form = if to.hears_early {
            let head = ResponseHead::text(to.version, Status::Ok)
                .field("Transfer-Encoding", "chunked")
                .connection(to.keep_alive);
            bytes.extend(head.end());
            Form::Running
        } else {
            Form::Kept { notices: Vec::new(), sent: 0 }
        };
        (Self { to, form }, bytes)
    }

    /// Tells how things go.
    #[must_use]
    pub(crate) fn notice(&mut self, notice: Notice) -> Vec<u8> {
        match &mut self.form {
            Form::Running => chunk(&notice.line()),
            Form::Kept { notices, .. } => {
                notices.push(notice);
                Vec::new()
            }
        }
    }

    /// A sign of life for one whose lines are kept: the next byte of the answer's beginning.
    /// Nothing if it has all of that, or its lines are not kept.
    ///
    /// It is of no use to a living peer. But if one has left in the middle of a body that is not
    /// being read, only bytes sent to it draw the reset of a connection that nobody holds. No
    /// interim response could be sent in its place: nginx takes the first for the answer.
    #[must_use]
    pub(crate) fn sign(&mut self) -> Vec<u8> {
        let to = self.to;
        match &mut self.form {
            Form::Kept { sent, .. } if *sent < BEGINNING_LEN => {
                let answer = ResponseHead::new(to.version, Status::Ok).end();
                *sent += 1;
                vec![answer[usize::from(*sent) - 1]]
            }
            _ => Vec::new(),
        }
    }

    /// How many [signs](Self::sign) one has had whose lines are kept, while there are more.
    #[must_use]
    pub(crate) fn signs(&self) -> Option<u8> {
        match &self.form {
            Form::Kept { sent, .. } if *sent < BEGINNING_LEN => Some(*sent),
            _ => None,
        }
    }

    /// Ends the answer with the good news that every receiver has acknowledged every byte.
    ///
    /// The connection may carry another request if the uploader's was kept alive.
    #[must_use]
    pub(crate) fn received(self) -> Vec<u8> {
        let line = "[INFO] All receiver(s) was/were received successfully.\n";
        match self.form {
            Form::Running => [&chunk(line)[..], b"0\r\n\r\n"].concat(),
            Form::Kept { notices, sent } => {
                let head = ResponseHead::text(self.to.version, Status::Ok);
                let mut bytes = head.body(self.to, (lines(&notices) + line).as_bytes());
                bytes.drain(..usize::from(sent));
                bytes
            }
        }
    }

    /// Ends the answer with the bad news. The connection has to be closed behind it, at which
    /// any client sees that the answer was cut.
    #[must_use]
    pub(crate) fn failed(self, failure: Failure) -> Vec<u8> {
        match self.form {
            Form::Running => chunk(&failure.lines()),
            Form::Kept { notices, sent } => {
                let head = ResponseHead::text(self.to.version, failure.status());
                let head = match failure {
                    Failure::Draining => head.retry_when_drained(),
                    _ => head,
                };
                let text = lines(&notices) + &failure.lines() + ".";
                let mut bytes = head.body(self.to.closing(), text.as_bytes());
                bytes.pop();
                bytes.drain(..usize::from(sent));
                bytes
            }
        }
    }

    /// Whether the connection may carry another request after the answer.
    #[must_use]
    pub(crate) fn keep_alive(&self) -> bool {
        self.to.keep_alive
    }
}

fn lines(notices: &[Notice]) -> String {
    notices.iter().map(|notice| notice.line()).collect()
}

/// A chunk is sent with the line break behind it, because some clients show a line only then.
fn chunk(line: &str) -> Vec<u8> {
    format!("{:x}\r\n{line}\r\n", line.len()).into_bytes()
}
