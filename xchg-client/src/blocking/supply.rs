//! The content of an upload, from one offer to the next.

use crate::Error;
use crate::blocking::options::Content;
use crate::files::{self, Outgoing};

/// The content, collected before each offer: what cannot be sent is said before anybody comes.
pub(crate) struct Supply {
    content: Option<Content>,
    ready: Option<Outgoing>,
}

impl Supply {
    pub(crate) fn new(content: Content) -> Self {
        Self { content: Some(content), ready: None }
    }

    /// Collects it, unless that is done.
    pub(crate) fn prepare(&mut self) -> Result<&Outgoing, Error> {
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => match &self.content {
                Some(Content::Paths { paths, walk }) => Outgoing::collect(paths, *walk)?,
                Some(Content::Text { name, text }) => Outgoing::text(name, text)?,
                Some(Content::Stream { .. }) | None => match self.content.take() {
                    Some(Content::Stream { name, stream }) => Outgoing::stream(&name, stream)?,
                    _ => return Err(files::Error::Nothing.into()),
                },
            },
        };
        Ok(self.ready.insert(ready))
    }

    /// Gives it out, to be sent.
    pub(crate) fn take(&mut self) -> Result<Outgoing, files::Error> {
        self.ready.take().ok_or(files::Error::Nothing)
    }

    /// A stream that was not begun is there for the next offer; all else is collected anew.
    pub(crate) fn take_back(&mut self, outgoing: Outgoing) {
        self.ready = Some(outgoing).filter(Outgoing::is_unread_stream);
    }

    /// Whether another offer has something to send: a stream is gone with the exchange that began
    /// to read it.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.ready.is_some() || self.content.is_some()
    }
}
