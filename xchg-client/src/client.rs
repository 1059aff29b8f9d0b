//! The client: one server, and what can be asked of it.

use std::io;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use xchg_core::wire::{
    Answer, Command, CounterpartDialect, Greeting, Matched, Offer, StatusReport, Token, Wait,
};
use xchg_core::{Key, Realm, Side};

use crate::key::normalised;
use crate::net::{Connection, Handshake, Settings, Throttle, connect};
use crate::plain::framing::Framing;
use crate::plain::meter::Meter;
use crate::plain::source::Input;
use crate::plain::target::Output;
use crate::plain::{download, upload};
use crate::retry::{Patience, Retry};
use crate::{Address, Cancel, Error, Observer, Source, Target};

/// How long connecting and the server's first answer may take, unless [`Client::connect_timeout`] says otherwise.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many bytes are copied at once, unless [`Client::buffer_bytes`] says otherwise: enough to make the cost of the
/// calls vanish, and little enough to stay in a processor's cache.
pub const DEFAULT_BUFFER_BYTES: u32 = 256 << 10;

/// Transfers files through one server. Each call makes a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    token: Option<Token>,
    connect_timeout: Duration,
    buffer_bytes: Option<u32>,
    cancel: Option<Cancel>,
}

/// What to upload.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlainUploadOptions {
    /// What the downloader has to name too.
    pub key: Key,
    /// Where the payload comes from.
    pub source: Source,
    /// How long to wait for the downloader. Default: for ever.
    pub wait: Wait,
    /// The least pause between two sends. Default: none.
    pub pace: Duration,
    /// The most bytes a second. Default: no limit.
    pub rate_limit: Option<NonZeroU64>,
    /// Whether to offer again what failed before anything had moved, for a reason that passes. Default: no.
    pub retry: Option<Retry>,
}

impl PlainUploadOptions {
    /// Uploads `source` as soon as somebody downloads `key`.
    pub fn new(key: Key, source: Source) -> PlainUploadOptions {
        PlainUploadOptions {
            key,
            source,
            wait: Wait::Forever,
            pace: Duration::ZERO,
            rate_limit: None,
            retry: None,
        }
    }
}

/// What to download.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlainDownloadOptions {
    /// What the uploader has to name too.
    pub key: Key,
    /// Where the payload goes.
    pub target: Target,
    /// How long to wait for the uploader. Default: for ever.
    pub wait: Wait,
    /// The most bytes a second. Default: no limit.
    pub rate_limit: Option<NonZeroU64>,
    /// Whether to ask again for what failed before anything had moved, for a reason that passes. Default: no.
    pub retry: Option<Retry>,
}

impl PlainDownloadOptions {
    /// Downloads into `target` as soon as somebody uploads `key`.
    pub fn new(key: Key, target: Target) -> PlainDownloadOptions {
        PlainDownloadOptions { key, target, wait: Wait::Forever, rate_limit: None, retry: None }
    }
}

/// A transfer that is done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Summary {
    /// Payload bytes.
    pub bytes: u64,
    /// From the match to the end.
    pub elapsed: Duration,
    /// What the counterpart speaks. Only a native one has confirmed that it keeps the payload.
    pub counterpart: CounterpartDialect,
    /// Where a download is, if it went to a file.
    pub path: Option<PathBuf>,
    /// Whether an uploaded file became longer meanwhile: what was there when the wait began has been sent.
    pub has_grown: bool,
}

/// What a plain exchange is to be.
struct Exchange {
    offer: Offer,
    pace: Duration,
    rate_limit: Option<NonZeroU64>,
    retry: Option<Retry>,
    /// Whether its payload can be opened again.
    repeats: bool,
}

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: Address) -> Client {
        Client {
            address,
            token: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            buffer_bytes: None,
            cancel: None,
        }
    }

    /// Shows `token` to the server.
    pub fn token(mut self, token: Token) -> Client {
        self.token = Some(token);
        self
    }

    /// How long looking up the server, trying all its addresses and hearing its first answer may take.
    pub fn connect_timeout(mut self, timeout: Duration) -> Client {
        self.connect_timeout = timeout;
        self
    }

    /// The size of the copy buffer and of the socket's buffers, here and at the server, which may take it as a wish.
    pub fn buffer_bytes(mut self, bytes: u32) -> Client {
        self.buffer_bytes = Some(bytes.max(1));
        self
    }

    /// Lets `cancel` end whatever this client is doing.
    pub fn cancel(mut self, cancel: Cancel) -> Client {
        self.cancel = Some(cancel);
        self
    }

    /// Waits for a downloader, and sends it the payload.
    ///
    /// # Errors
    /// Unless a native downloader has confirmed every byte, or the connection of another one has taken it.
    pub fn upload_plain(
        &self,
        options: PlainUploadOptions,
        observer: &mut dyn Observer,
    ) -> Result<Summary, Error> {
        let PlainUploadOptions { key, source, wait, pace, rate_limit, retry } = options;
        let mut offer = Offer::new(Realm::Plain, Side::Upload, normalised(&key));
        offer.wait = wait;
        let exchange =
            Exchange { offer, pace, rate_limit, retry, repeats: source.again().is_some() };
        let mut sources = Some(source);
        let open = |offer: &mut Offer| {
            let source = sources.take().expect("only what is there again is opened again");
            sources = source.again();
            let input = Input::open(source)?;
            offer.length = input.length();
            Ok(input)
        };
        self.exchange(exchange, observer, open, |input, connection, matched, meter| {
            let framing = Framing::with(matched.dialect);
            let has_grown = upload::send(connection, framing, input.renew()?, meter)?;
            Ok((None, has_grown))
        })
    }

    /// Waits for an uploader, and takes the payload.
    ///
    /// # Errors
    /// Unless the whole payload is where it shall be; a target file exists if and only if it is.
    pub fn download_plain(
        &self,
        options: PlainDownloadOptions,
        observer: &mut dyn Observer,
    ) -> Result<Summary, Error> {
        let PlainDownloadOptions { key, target, wait, rate_limit, retry } = options;
        let key = normalised(&key);
        let mut offer = Offer::new(Realm::Plain, Side::Download, key.clone());
        offer.wait = wait;
        let (pace, repeats) = (Duration::ZERO, target.again().is_some());
        let exchange = Exchange { offer, pace, rate_limit, retry, repeats };
        let mut targets = Some(target);
        let open = |_: &mut Offer| {
            let target = targets.take().expect("only what is there again is opened again");
            targets = target.again();
            Output::open(target, &key)
        };
        self.exchange(exchange, observer, open, |output, connection, matched, meter| {
            let framing = Framing::with(matched.dialect);
            let path = download::receive(connection, framing, matched.length, output, meter)?;
            Ok((path, false))
        })
    }

    /// How the server is.
    ///
    /// # Errors
    /// [`Error::Refused`] if the server wants a token for that.
    pub fn status(&self) -> Result<StatusReport, Error> {
        self.report(Command::Status)
    }

    /// Drains the server: it refuses those who wait and those who come, and exits when the running exchanges have ended.
    ///
    /// # Errors
    /// [`Error::Refused`] if this is not allowed from here, or not with this token.
    pub fn terminate(&self) -> Result<StatusReport, Error> {
        self.report(Command::Terminate)
    }

    /// Opens the payload, meets the counterpart, and moves the payload; again and again, if nothing has moved and that may help.
    fn exchange<Payload>(
        &self,
        exchange: Exchange,
        observer: &mut dyn Observer,
        mut open: impl FnMut(&mut Offer) -> Result<Payload, Error>,
        mut transfer: impl FnMut(
            Payload,
            Connection,
            &Matched,
            &mut Meter<'_>,
        ) -> Result<(Option<PathBuf>, bool), Error>,
    ) -> Result<Summary, Error> {
        let Exchange { mut offer, pace, rate_limit, retry, repeats } = exchange;
        offer.buffer_bytes = self.buffer_bytes;
        let mut patience = Patience::new(retry, NonZeroU32::MIN);
        let mut opened = Some(open(&mut offer)?);
        self.cancellable(|cancel| {
            loop {
                let payload = match opened.take() {
                    Some(payload) => payload,
                    None => open(&mut offer)?,
                };
                let error = match self.offer(offer.clone(), cancel, observer) {
                    Err(error) => {
                        opened = Some(payload);
                        error
                    }
                    Ok((connection, matched)) => {
                        let started = Instant::now();
                        let throttle = Throttle::new(pace, rate_limit, started);
                        let mut meter = Meter::new(observer, throttle, cancel, self.copy_bytes());
                        let transferred = transfer(payload, connection, &matched, &mut meter);
                        match transferred {
                            Ok((path, has_grown)) => {
                                return Ok(Summary {
                                    bytes: meter.bytes(),
                                    elapsed: started.elapsed(),
                                    counterpart: matched.dialect,
                                    path,
                                    has_grown,
                                });
                            }
                            Err(error) if meter.bytes() > 0 || !repeats => return Err(error),
                            Err(error) => error,
                        }
                    }
                };
                patience.pause_after(error, false, cancel, observer)?;
            }
        })
    }

    /// How many bytes are copied at once.
    fn copy_bytes(&self) -> usize {
        let bytes = self.buffer_bytes.unwrap_or(DEFAULT_BUFFER_BYTES);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// The size of the socket's buffers that the caller asked for.
    pub(crate) fn wished_buffer_bytes(&self) -> Option<u32> {
        self.buffer_bytes
    }

    /// Waits for the counterpart. What comes on the connection then is the exchange.
    pub(crate) fn offer(
        &self,
        offer: Offer,
        cancel: &Cancel,
        observer: &mut dyn Observer,
    ) -> Result<(Connection, Matched), Error> {
        let sends_payload = offer.side == Side::Upload;
        let length = offer.length;
        let mut handshake = self.greet(Command::Offer(offer), cancel, observer)?;
        let mut matched = loop {
            match handshake.next_answer()? {
                Answer::Waiting(waiting) => observer.waiting(&waiting),
                Answer::Heartbeat => {}
                Answer::Matched(matched) => break matched,
                Answer::Refused { code, text } => return Err(Error::Refused { code, text }),
                Answer::Status(_) => return Err(handshake.unexpected()),
            }
        };
        let lost = |source: io::Error| {
            let address = self.address.clone();
            Error::ServerLost { address, had_place: true, source }
        };
        let mut connection = handshake.into_connection();
        connection.set_read_timeout(None).map_err(lost)?;
        connection.watch_for_death(sends_payload).map_err(lost)?;
        connection.reset_unless_finished().map_err(lost)?;
        if sends_payload {
            // Nobody knows it better than the uploader.
            matched.length = length;
        }
        observer.matched(&matched);
        Ok((connection, matched))
    }

    fn report(&self, command: Command) -> Result<StatusReport, Error> {
        self.cancellable(|cancel| {
            let mut handshake = self.greet(command, cancel, &mut ())?;
            match handshake.next_answer()? {
                Answer::Status(report) => Ok(report),
                _ => Err(handshake.unexpected()),
            }
        })
    }

    fn greet(
        &self,
        command: Command,
        cancel: &Cancel,
        observer: &mut dyn Observer,
    ) -> Result<Handshake<'_>, Error> {
        observer.connecting(&self.address);
        let settings = Settings { timeout: self.connect_timeout, buffer_bytes: self.buffer_bytes };
        let deadline = Instant::now().checked_add(self.connect_timeout);
        let connection = connect(&self.address, settings, cancel)?;
        let mut greeting = Greeting::new(command);
        greeting.token.clone_from(&self.token);
        Handshake::greet(&self.address, connection, &greeting, (self.connect_timeout, deadline))
    }

    /// Runs `call` with the token that ends it. Whatever a cancelled call fails with, that is why.
    pub(crate) fn cancellable<T>(
        &self,
        call: impl FnOnce(&Cancel) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let cancel = match &self.cancel {
            Some(cancel) => cancel.clone(),
            None => Cancel::new()
                .map_err(|source| Error::Local { what: "a way to be interrupted", source })?,
        };
        call(&cancel).map_err(|error| if cancel.is_cancelled() { Error::Cancelled } else { error })
    }
}
