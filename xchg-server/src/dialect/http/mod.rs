//! The http dialect: `PUT` or `POST /key` uploads, `GET /key` downloads, either first.
//!
//! It behaves as [piping-server](https://github.com/nwtgck/piping-server) does, in its words,
//! except where that would lose or run something: a transferred payload never runs in this
//! origin (see [`media::POLICY`]), a failure cannot be taken for a success (see
//! [`UploadAnswer`]), and requests that two parsers could read differently are refused.
//!
//! Nothing here does I/O. The engine goes through these steps:
//!
//! 1. [`parse`] what has been read until it is a [`Head::Request`], then ask
//!    [`Request::action`] what to do.
//! 2. [`Action::Reply`]: send it. The request had no body that could follow if the connection is
//!    kept alive. A body that was announced is not read: half-close behind the reply and drop
//!    what still comes for a moment, since closing at once would reset the connection and the
//!    reply with it.
//! 3. [`Action::Download`]: offer; send [`PROCESSING`] every 25 s to one that hears it early;
//!    once paired, [`download_head`] and the payload in the framing that it asks for. A payload
//!    that was cut is shown by closing before the end of the framing, or by a reset.
//! 4. [`Action::Upload`]: offer; when that is taken, [`UploadAnswer::begin`] and its notices; take
//!    the payload out of the [`Body`] that [`Upload::open`] gives. A form's
//!    [`description`](MultipartBody::description) is known only after some of the body has been
//!    decoded, and the downloader's head has to wait for it.
//! 5. A [`Refusal`] answers an offer that was not taken, and a downloader whose wait was in vain.
//!    An uploader's is [`closing`](ReplyTo::closing), as in step 2, for its body is not read.

mod answer;
mod body;
mod credentials;
mod encode;
mod failed_uploads;
mod fields;
mod foreign;
mod forwarded;
mod head;
mod line;
mod media;
mod multipart;
mod peer;
mod reserved;
mod respond;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod unasked;

pub(crate) use body::{BodyDecoder, BodyError, Step};
pub(crate) use encode::ChunkedEncoder;
pub(crate) use failed_uploads::FailedUploads;
pub(crate) use foreign::Foreign;
pub(crate) use head::{Head, MAX_HEAD_BYTES, Request, parse};
pub(crate) use line::request_line;
pub(crate) use media::Description;
pub(crate) use multipart::MultipartBody;
pub(crate) use peer::{Farewell, Peer};
pub(crate) use reserved::health;
pub(crate) use respond::{Framing, Refusal, ReplyTo, Version, download_head, refusal};
pub(crate) use target::encode_path;

pub(crate) use respond::ResponseHead;
pub(crate) use status::Status;

use std::net::IpAddr;

use xchg_core::Key;
use xchg_core::wire::Token;

use head::{BodyLength, Method};
use multipart::Boundary;
use status::Refused;

use crate::access::Denied;
use crate::origin::Origin;
use crate::{Network, WebOrigin};

/// What a request asks the engine to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Offer the connection as uploader.
    Upload(Upload),
    /// Offer the connection as downloader.
    Download(Download),
    /// Nothing is exchanged: send this response.
    Reply {
        /// The whole response.
        bytes: Vec<u8>,
        /// Whether the connection carries another request behind it.
        keep_alive: bool,
    },
    /// Nothing is exchanged: say how the server is, by [`health`].
    Health(ReplyTo),
}

/// An upload that waits or runs. Small, since there may be many that wait, and plain data: what
/// reads its body is made when there is something to read.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Where it goes to.
    pub(crate) key: Key,
    /// How to answer it.
    pub(crate) reply_to: ReplyTo,
    /// Whether it waits for the interim response before it sends its body.
    pub(crate) expects_continue: bool,
    /// How many receivers it asks for, at most [`target::MAX_RECEIVERS`].
    pub(crate) receivers: u16,
    /// What its client names it by, however often it sends it, hashed.
    pub(crate) idempotency_key: Option<u64>,
    /// The proxy that passed it on, if that said for whom.
    pub(crate) proxy: Option<Box<Origin>>,
    /// What the request's own header says of its body.
    description: Option<Box<Description>>,
    body: BodyLength,
    /// Whether the body is a form, with the payload in one of its parts.
    is_form: bool,
}

impl Upload {
    /// The payload's length in bytes, if it is known before the body has been read.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.known().filter(|_| !self.is_form)
    }

    /// What reads the body, and what the request's own header says of the payload: nothing for a
    /// form, whose part describes itself. To be called once.
    pub(crate) fn open(&mut self) -> (Body, Option<Box<Description>>) {
        let length = self.body.known();
        let framing = length.map_or_else(BodyDecoder::chunked, BodyDecoder::with_length);
        let form = self.description.as_deref().and_then(|request| {
            let boundary = Boundary::of_form(request).ok().flatten()?;
            Some(Box::new(MultipartBody::new(framing.clone(), boundary, request)))
        });
        match form {
            Some(form) => (Body::Form(form), None),
            None => (Body::Framed(framing), self.description.take()),
        }
    }
}

/// An upload's body.
#[derive(Debug)]
pub(crate) enum Body {
    /// Payload between framing: it can go through without being looked at.
    Framed(BodyDecoder),
    /// A form with the payload in one of its parts: it has to be copied.
    Form(Box<MultipartBody>),
}

/// A download that waits or runs.
#[derive(Debug)]
pub(crate) struct Download {
    /// Where it comes from.
    pub(crate) key: Key,
    /// How to answer it.
    pub(crate) reply_to: ReplyTo,
    /// How many receivers it believes there to be, at most [`target::MAX_RECEIVERS`].
    pub(crate) receivers: u16,
    /// The proxy that passed it on, if that said for whom.
    pub(crate) proxy: Option<Box<Origin>>,
}

impl Request {
    /// Has the connection close behind the answer.
    #[must_use]
    pub(crate) fn last(mut self) -> Self {
        self.reply_to = self.reply_to.closing();
        self
    }

    /// Notes that it came to this server in TLS.
    pub(crate) fn came_in_tls(&mut self) {
        self.is_secured = true;
    }

    /// The answer to a request that came without TLS where it is required.
    #[must_use]
    pub(crate) fn insecure(&self) -> Vec<u8> {
        reserved::insecure(self)
    }

    /// Whether it is to exchange something, or asks how to: all but the server's own pages, and
    /// what browsers ask before they ask.
    #[must_use]
    pub(crate) fn is_for_a_key(&self) -> bool {
        self.method != Method::Options && !reserved::is_reserved(&self.key)
    }

    /// What it would be exchanged under.
    #[must_use]
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The access token that it shows.
    #[must_use]
    pub(crate) fn token(&self) -> Option<&Token> {
        self.credentials.as_ref().map(|credentials| &credentials.token)
    }

    /// Whether the page of a site that is none of `allowed` would upload with a token that the
    /// browser remembers, and sends whoever asks.
    #[must_use]
    pub(crate) fn borrows_token(&self, allowed: &[WebOrigin]) -> bool {
        let is_basic = self.credentials.as_ref().is_some_and(|credentials| credentials.is_basic);
        is_basic && self.method != Method::Get && self.is_foreign(allowed)
    }

    /// Says that whoever asks needs a token.
    pub(crate) fn ask_for_token(&mut self) {
        self.asks_token = true;
    }

    /// The response to one who may not exchange what it wants to. Closes.
    #[must_use]
    pub(crate) fn denied(&self, why: &Denied) -> Vec<u8> {
        respond::denied(self.reply_to.closing(), why)
    }

    /// Who is behind the `trusted` proxies that passed it on. `None` if nobody says that there is
    /// one, `Some(None)` if that is hidden or doubtful.
    #[must_use]
    pub(crate) fn forwarded_for(&self, trusted: &[Network]) -> Option<Option<IpAddr>> {
        self.forwarded.peer(trusted)
    }

    /// What the engine should do with this request.
    #[must_use]
    pub(crate) fn action(self) -> Action {
        // A reply comes instead of reading the body, after which no request can be found.
        let reply_to = if self.body.is_none() { self.reply_to } else { self.reply_to.closing() };
        let reply = |bytes| Action::Reply { bytes, keep_alive: reply_to.keep_alive };
        let action = match self.method {
            Method::Options => {
                return reply(respond::preflight(
                    reply_to,
                    self.asks_private_network,
                    self.asks_token,
                ));
            }
            Method::Get | Method::Head if reserved::is_health(&self.key) => {
                return Action::Health(reply_to);
            }
            Method::Get | Method::Head if reserved::is_reserved(&self.key) => {
                return reply(reserved::reply(&self));
            }
            Method::Put | Method::Post => self.upload(),
            Method::Get => self.download(),
            Method::Head | Method::Other(_) => Err(self.method.unsupported()),
        };
        action.unwrap_or_else(|refused| reply(refused.reply(reply_to)))
    }

    fn upload(self) -> Result<Action, Refused> {
        let bad = |text: String| Err(Refused::new(Status::BadRequest, text));
        if reserved::is_reserved(&self.key) {
            let path = encode_path(&self.key);
            return bad(format!("Cannot send to the reserved path '{path}'. (e.g. '/mypath123')"));
        }
        if self.has_content_range {
            let method = self.method.name();
            return bad(format!("Content-Range is not supported for now in {method}"));
        }
        let receivers = target::receivers(&self.query, "Invalid \"n\" query parameter")?;
        self.description.check_size(self.key.len())?;
        let is_form = Boundary::of_form(&self.description)?.is_some();
        Ok(Action::Upload(Upload {
            key: key(&self.key)?,
            reply_to: self.reply_to,
            expects_continue: self.expects_continue && !self.body.is_none(),
            receivers,
            idempotency_key: self.idempotency_key,
            proxy: None,
            description: (!self.description.is_empty()).then(|| Box::new(self.description)),
            body: self.body,
            is_form,
        }))
    }

    fn download(self) -> Result<Action, Refused> {
        let bad = |text: &'static str| Err(Refused::new(Status::BadRequest, text));
        if self.is_service_worker {
            return bad("Service Worker registration is rejected.");
        }
        // Nothing that is taken for an answer in place of the file, or worth another try.
        if self.is_ahead {
            return Err(Refused::new(
                Status::Forbidden,
                "Fetching ahead is rejected: it would take the file away from a person.",
            ));
        }
        if self.is_by_a_robot {
            return Err(Refused::new(
                Status::Forbidden,
                "Link previews and robots are rejected: they would take the file away from a person. \
                 If you are one, open the link in a browser, or send another User-Agent.",
            ));
        }
        // Not 416, which curl and wget take for the end of a download that is whole.
        if self.asks_for_part {
            return bad("Downloads cannot be resumed here: ask for the whole, without Range.");
        }
        let receivers = target::receivers(&self.query, "Invalid query parameter \"n\"")?;
        // A body that nobody reads would be taken for the next request.
        let reply_to = if self.body.is_none() { self.reply_to } else { self.reply_to.closing() };
        Ok(Action::Download(Download { key: key(&self.key)?, reply_to, receivers, proxy: None }))
    }
}

/// The length was checked when the target was taken apart, and the empty key is a page.
fn key(bytes: &[u8]) -> Result<Key, Refused> {
    Key::parse(bytes).map_err(|error| Refused::new(Status::BadRequest, error.to_string()))
}
