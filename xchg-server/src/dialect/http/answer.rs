//! The uploader's answer: a running text of what becomes of its upload.
//!
//! An HTTP/1.1 uploader is answered 200 at once, and line by line, while it still sends. By then
//! a status can no longer tell a failure. So a failure is told twice: by an `[ERROR]` line for
//! the person, and by cutting the answer before its last chunk, which any client reports as an
//! error (curl exits with 18). An HTTP/1.0 uploader knows no chunks: its lines are kept, and
//! sent when it is known how things went, with a status that says so. Because many look at no
//! status (curl exits with 0), a failure's answer is cut too: it is announced one byte longer.

use super::body::BodyError;
use super::respond::{CONTINUE, ReplyTo, ResponseHead, Status, Version};

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
            Self::Draining => "[ERROR] The server is shutting down; try again later.\n".to_owned(),
        }
    }

    /// For those whose status has not been sent yet.
    fn status(self) -> Status {
        match self {
            Self::Body(_) => Status::BadRequest,
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
    keep_alive: bool,
    form: Form,
}

/// To whom a kept answer goes.
const OLD: ReplyTo = ReplyTo { version: Version::Http10, ..ReplyTo::CLOSING };

#[derive(Debug)]
enum Form {
    /// HTTP/1.1: each line is a chunk.
    Running,
    /// HTTP/1.0: the lines so far.
    Kept(String),
}

impl UploadAnswer {
    /// Begins the answer with what HTTP/1.1 uploaders are sent at once: the interim response if
    /// they wait for it, and the head of the 200.
    #[must_use]
    pub(crate) fn begin(to: ReplyTo, expects_continue: bool) -> (Self, Vec<u8>) {
        let (form, bytes) = match to.version {
            Version::Http10 => (Form::Kept(String::new()), Vec::new()),
            Version::Http11 => {
                let head = ResponseHead::text(to.version, Status::Ok)
                    .field("Transfer-Encoding", "chunked")
                    .connection(to.keep_alive)
                    .end();
                let interim = if expects_continue { CONTINUE } else { b"" };
                let bytes = [interim, &head].concat();
                (Form::Running, bytes)
            }
        };
        let answer = Self { keep_alive: to.keep_alive, form };
        (answer, bytes)
    }

    /// Tells how things go.
    #[must_use]
    pub(crate) fn notice(&mut self, notice: Notice) -> Vec<u8> {
        self.say(&notice.line())
    }

    /// Ends the answer with the good news that every receiver has acknowledged every byte.
    ///
    /// The connection may carry another request if the uploader's was kept alive.
    #[must_use]
    pub(crate) fn received(mut self) -> Vec<u8> {
        let line = "[INFO] All receiver(s) was/were received successfully.\n";
        let mut bytes = self.say(line);
        match self.form {
            Form::Running => bytes.extend_from_slice(b"0\r\n\r\n"),
            Form::Kept(text) => {
                bytes = ResponseHead::text(Version::Http10, Status::Ok).body(OLD, text.as_bytes());
            }
        }
        bytes
    }

    /// Ends the answer with the bad news. The connection has to be closed behind it, at which
    /// an HTTP/1.1 client sees that the answer was cut.
    #[must_use]
    pub(crate) fn failed(mut self, failure: Failure) -> Vec<u8> {
        let bytes = self.say(&failure.lines());
        match self.form {
            Form::Running => bytes,
            Form::Kept(mut text) => {
                text.push('.');
                let head = ResponseHead::text(Version::Http10, failure.status());
                let head = match failure {
                    Failure::Draining => head.retry_when_drained(),
                    _ => head,
                };
                let mut bytes = head.body(OLD, text.as_bytes());
                bytes.pop();
                bytes
            }
        }
    }

    /// Whether lines are sent as they are said.
    #[must_use]
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.form, Form::Running)
    }

    /// Whether the connection may carry another request after the answer.
    #[must_use]
    pub(crate) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    fn say(&mut self, line: &str) -> Vec<u8> {
        match &mut self.form {
            Form::Kept(text) => {
                text.push_str(line);
                Vec::new()
            }
            // A chunk is sent with the line break behind it, because some clients show a line
            // only then.
            Form::Running => format!("{:x}\r\n{line}\r\n", line.len()).into_bytes(),
        }
    }
}
