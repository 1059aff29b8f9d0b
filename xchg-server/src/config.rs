//! What an operator or an embedder may choose.

mod problems;

use std::path::PathBuf;
use std::time::Duration;

use xchg_core::Limits;
use xchg_core::wire::Token;

use crate::origin::Origin;
use crate::{Access, Dialect, Listen, ListenAddress, Network, Rate, Tls, WebOrigin};

/// Everything that a [`Server`](crate::Server) can be told. Each field has a default that suits a
/// small public server.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "callers build it with `..Config::default()`")]
pub struct Config {
    /// Where to listen. Default: `[::]:4980`, which takes IPv4 too.
    pub listen: Vec<Listen>,
    /// What peers may speak where [`Listen::dialects`] says nothing else. Default: all.
    pub dialects: Vec<Dialect>,
    /// Where to serve those who run the server: metrics, health, the exchanges that run, the drain.
    /// A TCP address that others reach needs a [`token`](Self::token), and where there is one,
    /// every TCP address asks for it; a unix socket is for the user that the server runs as.
    /// Default: nowhere.
    pub admin: Vec<ListenAddress>,
    /// Sites whose web pages may use listeners that are this machine's alone, beside the server's
    /// own. Default: none.
    ///
    /// Such pages run in the browsers of whoever sits at this machine, and could up- and download
    /// in their place.
    pub allow_origins: Vec<WebOrigin>,
    /// Where proxies may come from that say for whom they come: by the PROXY protocol at a listener
    /// that is marked [so](Listen::proxy), by `X-Forwarded-For`, `X-Real-IP` or `Forwarded` with
    /// http. What they name is then limited and logged in the place of their own address, and is
    /// never taken for this machine. Unix sockets are always trusted: their permissions say who may
    /// connect. Default: [this machine](Network::LOOPBACK), which has to be named if others are and
    /// it is meant, too.
    pub trusted_proxies: Vec<Network>,
    /// Threads that move bytes. Default: one for two cores, for each keeps the kernel's network
    /// code busy beside it: on 2 cores, one worker moves as much in bulk as two and more small
    /// exchanges a second (`cargo bench -p xchg-server --bench relay`).
    pub workers: usize,
    /// Connections held at once by peers who wait or exchange. A server with that many still hears
    /// newcomers, up to 256 at a time, and serves those whose counterpart waits; others are told
    /// that it is busy. It thus takes up to twice as many descriptors, and 256. Default: 65,536.
    pub max_connections: usize,
    /// Connections of one source, which is an IPv4 address or the /64 of an IPv6 address; further
    /// ones are told to come back. Default: 256, from which peers on this machine and
    /// [trusted proxies](Self::trusted_proxies) are exempt, for others stand behind them. A number
    /// that is set is for everybody.
    pub max_connections_per_source: Option<usize>,
    /// Offers that peers of one source may make in a second, and as many at once: each up- and
    /// download is one. Further ones are told to come back. Default: any number. One that is set is
    /// for everybody, peers on this machine and trusted proxies as well.
    pub max_offers_per_second: Option<u32>,
    /// Bytes that an exchange may move in each direction, what seals them included. A longer upload
    /// is refused if its length is known, and cut when it passes them if not. Default: any number.
    pub max_exchange_bytes: Option<u64>,
    /// Bytes a second that an exchange may move. Default: as many as there are.
    pub limit_rate_exchange: Option<Rate>,
    /// Bytes a second that the exchanges of one source may move together, up- and downloads alike.
    /// Default: as many as there are.
    pub limit_rate_source: Option<Rate>,
    /// Bytes a second that all exchanges may move together. Default: as many as there are.
    pub limit_rate_total: Option<Rate>,
    /// How many peers may wait. `waiting_per_origin` is 128 by default, from which peers on this
    /// machine and trusted proxies are exempt; a number that is set is for everybody.
    pub limits: Limits,
    /// Size of the sockets' receive buffers in bytes. Default: the kernel's choice, which grows
    /// with need.
    pub recv_buffer: Option<usize>,
    /// Size of the sockets' send buffers in bytes. Default: the kernel's choice, which grows with
    /// need.
    pub send_buffer: Option<usize>,
    /// Connections that the kernel holds until they are accepted, per listener. Default: 4,096; the
    /// kernel caps it at `net.core.somaxconn`.
    pub backlog: i32,
    /// TCP congestion control of accepted connections (Linux). Default: the system's.
    pub congestion: Option<String>,
    /// How long a connection may take to say what it wants. Default: 10 s.
    pub greeting_timeout: Duration,
    /// The longest that a peer may wait for its counterpart, whatever it asks for. Default: for
    /// ever.
    pub wait_timeout: Option<Duration>,
    /// The longest that an uploader keeps its place once it has closed: a classic one may send all
    /// and leave, and what it sent waits in its socket. Default: 1 h.
    pub closed_wait: Duration,
    /// How long an exchange may stand still; a quarter longer while bytes are on their way, to see
    /// whether the receiver takes them, which is no standing still. Default: 15 min, so that a
    /// laptop may sleep through a coffee.
    pub idle_timeout: Duration,
    /// How often a waiting native peer is told that it still has its place. Default: 25 s, under
    /// the 30 s after which the strictest NATs forget a mapping.
    pub heartbeat: Duration,
    /// How often a waiting HTTP/1.1 peer is told that it still has its place, so that proxies on
    /// the way keep the connection: a downloader by `102 Processing`, an uploader by another
    /// `[INFO] Waiting` line. Default: 25 s, as for native peers; 0 sends nothing.
    pub processing_interval: Duration,
    /// How long a drain lets exchanges finish. Default: for ever.
    pub drain_timeout: Option<Duration>,
    /// Who may terminate the server over the network. Default: peers on this machine.
    pub terminate: Terminate,
    /// The access token that lets its bearer terminate the server, ask for its status, use
    /// [`admin`](Self::admin) addresses, and up- and download wherever others need one.
    pub token: Option<Token>,
    /// Who may up- and download, where [`Listen::access`] says nothing else. Default: everybody.
    pub access: Access,
    /// A file of access tokens, one a line, behind which may stand `name=` (of the bearer, for the
    /// log), `prefix=` (which the bearer's keys are to begin with, as far as the server sees keys:
    /// with a secret it does not), and `limit_rate=` (of all that its bearer moves). `#` begins a
    /// comment. A change is taken within 10 s, unless something is wrong with the file. Default:
    /// none.
    pub token_file: Option<PathBuf>,
    /// The PEM file with the server's certificate, and behind it those of its issuers but for the
    /// last. It is read again when it changes. Default: none, and no TLS.
    pub tls_cert: Option<PathBuf>,
    /// The PEM file with the certificate's private key, likewise. Default: it is in the file of the
    /// certificate.
    pub tls_key: Option<PathBuf>,
    /// The PEM file with the authorities one of which must have signed the certificate of whoever
    /// comes in TLS, likewise. Default: nobody needs a certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether logs show keys in full. Default: no, for whoever knows a key can take the exchange.
    pub log_keys: bool,
    /// How much of peers' addresses logs show. Default: all.
    pub log_addresses: LogAddresses,
    /// How many log lines have been lost, for metrics: whoever subscribes to `tracing` may know.
    /// Default: none are.
    pub lost_log_lines: Option<fn() -> u64>,
    /// Size in bytes of the kernel pipes that bulk flows go through (Linux). Default: 1 MiB; 0
    /// copies instead.
    pub pipe_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Listen::default()],
            dialects: Dialect::ALL.to_vec(),
            admin: Vec::new(),
            allow_origins: Vec::new(),
            trusted_proxies: Network::LOOPBACK.to_vec(),
            workers: std::thread::available_parallelism()
                .map_or(1, |cores| cores.get().div_ceil(2)),
            max_connections: 65_536,
            max_connections_per_source: None,
            max_offers_per_second: None,
            max_exchange_bytes: None,
            limit_rate_exchange: None,
            limit_rate_source: None,
            limit_rate_total: None,
            limits: Limits::default(),
            recv_buffer: None,
            send_buffer: None,
            backlog: 4096,
            congestion: None,
            greeting_timeout: Duration::from_secs(10),
            wait_timeout: None,
            closed_wait: Duration::from_secs(60 * 60),
            idle_timeout: Duration::from_secs(15 * 60),
            heartbeat: Duration::from_secs(25),
            processing_interval: Duration::from_secs(25),
            drain_timeout: None,
            terminate: Terminate::Loopback,
            token: None,
            access: Access::Open,
            token_file: None,
            tls_cert: None,
            tls_key: None,
            client_ca: None,
            log_keys: false,
            log_addresses: LogAddresses::Full,
            lost_log_lines: None,
            pipe_size: 1 << 20,
        }
    }
}

impl Config {
    /// What peers may speak that came to the listener of this number.
    pub(crate) fn dialects_at(&self, listener: u8) -> &[Dialect] {
        let own = self.listen[usize::from(listener)].dialects.as_ref();
        own.unwrap_or(&self.dialects)
    }

    /// Who may exchange something at the listener of this number.
    pub(crate) fn access_at(&self, listener: u8) -> Access {
        self.listen[usize::from(listener)].access.unwrap_or(self.access)
    }

    /// Whether many peers may stand behind `origin`, so that no default limit of one source fits.
    pub(crate) fn may_be_many(&self, origin: Origin) -> bool {
        origin.is_local() || origin.is_in(&self.trusted_proxies)
    }

    /// Whether TLS may be spoken at the listener of this number.
    pub(crate) fn takes_tls(&self, listener: usize) -> bool {
        self.tls_cert.is_some() && self.listen[listener].tls != Some(Tls::Off)
    }
}

/// Who may terminate the server over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Terminate {
    /// Peers on this machine, and bearers of the token.
    Loopback,
    /// Bearers of the token.
    Token,
    /// Anybody.
    Any,
    /// Nobody; signals still do.
    Never,
}

/// How much of peers' addresses logs show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum LogAddresses {
    /// All.
    #[default]
    Full,
    /// The network: of an IPv4 address 24 bits, of an IPv6 address 48.
    Truncated,
    /// Nothing.
    None,
}
