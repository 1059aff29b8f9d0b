//! The client: one server, and what can be asked of it.

use std::path::PathBuf;
use std::time::Duration;

use xchg_core::wire::{Command, StatusReport, Token};

use super::{plain, sealed};
use crate::blocking::net::Server;
use crate::blocking::net::tls::{Credentials, Trust};
use crate::blocking::options::{DownloadOptions, Security, UploadOptions};
use crate::{Address, Cancel, Downloaded, Error, Observer, Uploaded};

/// How long connecting and the server's first answer may take, unless
/// [`Client::connect_timeout`] says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Transfers files through one server. Each call makes connections of its own, and blocks.
#[derive(Debug, Clone)]
#[must_use]
pub struct Client {
    server: Server,
    cancel: Option<Cancel>,
}

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: Address) -> Self {
        let server = Server {
            address,
            token: None,
            credentials: Credentials::default(),
            connect_timeout: CONNECT_TIMEOUT,
            buffer_bytes: None,
        };
        Self { server, cancel: None }
    }

    /// Shows `token` to the server. Default: none.
    pub fn token(mut self, token: impl Into<Option<Token>>) -> Self {
        self.server.token = token.into();
        self
    }

    /// Whom to take for the server, where its address wants TLS. Default: [`Trust::System`].
    pub fn trust(mut self, trust: Trust) -> Self {
        self.server.credentials.trust = trust;
        self
    }

    /// The PEM file with a certificate and its private key, to be shown to a server that wants to
    /// see one in TLS. Default: none.
    pub fn identity(mut self, path: impl Into<Option<PathBuf>>) -> Self {
        self.server.credentials.identity = path.into();
        self
    }

    /// How long looking up the server, trying all its addresses and hearing its first answer may
    /// take. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.server.connect_timeout = timeout;
        self
    }

    /// The size of the copy buffer and of the socket's buffers, here and at the server, which may
    /// take it as a wish. Default: 256 KiB are copied at once, and the systems size their buffers.
    pub fn buffer_bytes(mut self, bytes: u32) -> Self {
        self.server.buffer_bytes = Some(bytes.max(1));
        self
    }

    /// Lets `cancel` end whatever this client is doing.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Waits for a downloader, and sends it the content. Of a sealed transfer, one that cannot take
    /// it, for a reason of its own, is not the last: the offer is made again.
    ///
    /// ```no_run
    /// use xchg_client::{Client, Code, Content, UploadOptions};
    ///
    /// let client = Client::new("example.org".parse()?);
    /// // For the other person to type: the number is the key, the words are the secret.
    /// let code = Code::random()?;
    /// println!("{code}");
    /// let content = Content::paths(["photos", "report.pdf"]);
    /// let options = UploadOptions::new(code.key(), code.secret(), content);
    /// let uploaded = client.upload(options, &mut ())?;
    /// println!("all {} bytes are there", uploaded.bytes);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Unless the downloader has everything safe on its disk, and said so; or, if it is none that
    /// says so, its connection has taken every byte. [`Error::is_cut_short`] tells what another
    /// call goes on with.
    pub fn upload(
        &self,
        options: UploadOptions,
        observer: &mut dyn Observer,
    ) -> Result<Uploaded, Error> {
        self.cancellable(|cancel| match options.security {
            Security::Plain => plain::upload(&self.server, options, cancel, observer),
            Security::Sealed(_) | Security::Unauthenticated => {
                sealed::offers::upload(&self.server, options, cancel, observer)
            }
        })
    }

    /// Waits for an uploader, and takes what it sends, if [`Observer::decide`] accepts it.
    ///
    /// ```no_run
    /// use xchg_client::files::Destination;
    /// use xchg_client::{Client, Code, DownloadOptions, Retry};
    ///
    /// let client = Client::new("example.org".parse()?);
    /// let code = Code::parse("12342-fabric-lemon-orbit")?;
    /// let destination = Destination::Directory("downloads".into());
    /// let options = DownloadOptions::new(code.key(), code.secret(), destination);
    /// let downloaded = client.download(options.retry(Retry::default()), &mut ())?;
    /// println!("{} bytes, {} of them new", downloaded.bytes, downloaded.moved);
    /// # Ok::<_, xchg_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// Unless everything is in place: a file has its name if and only if it is whole.
    /// [`Error::is_cut_short`] tells what another call goes on with.
    pub fn download(
        &self,
        options: DownloadOptions<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Downloaded, Error> {
        self.cancellable(|cancel| match options.security {
            Security::Plain => plain::download(&self.server, options, cancel, observer),
            Security::Sealed(_) | Security::Unauthenticated => {
                sealed::offers::download(&self.server, options, cancel, observer)
            }
        })
    }

    /// How the server is.
    ///
    /// # Errors
    /// [`Error::Refused`] if the server wants a token for that.
    pub fn status(&self) -> Result<StatusReport, Error> {
        self.cancellable(|cancel| self.server.report(Command::Status, cancel))
    }

    /// Drains the server: it refuses those who wait and those who come, and exits when the running
    /// exchanges have ended.
    ///
    /// # Errors
    /// [`Error::Refused`] if this is not allowed from here, or not with this token.
    pub fn terminate(&self) -> Result<StatusReport, Error> {
        self.cancellable(|cancel| self.server.report(Command::Terminate, cancel))
    }

    /// Runs `call` with the token that ends it. Whatever a cancelled call fails with, that is why.
    fn cancellable<T>(&self, call: impl FnOnce(&Cancel) -> Result<T, Error>) -> Result<T, Error> {
        let cancel = match &self.cancel {
            Some(cancel) => cancel.clone(),
            None => Cancel::new()
                .map_err(|source| Error::Local { what: "a way to be interrupted", source })?,
        };
        call(&cancel).map_err(|error| if cancel.is_cancelled() { Error::Cancelled } else { error })
    }
}
