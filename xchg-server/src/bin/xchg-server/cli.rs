//! Flags, environment and the config file, made into a [`Config`]. A flag beats the environment,
//! that the file, that the default.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use xchg_core::wire::Token;
use xchg_server::{
    Access, Config, Dialect, Listen, ListenAddress, LogAddresses, Network, OpenSocket, Rate,
    Terminate, WebOrigin,
};

use crate::health::Health;
use crate::log::{self, Format, Level};
use crate::mistakes::{self, Mistakes};
use crate::sandbox::Sandbox;
use crate::self_signed;
use crate::top::Top;

/// File exchange server: pairs an upload and a download of the same key and pipes the bytes between
/// them, storing nothing.
///
/// The bound addresses go to stdout, one a line; logs go to stderr. SIGTERM or SIGINT drains: who
/// waits is told and closed, exchanges that run finish, then the server exits with status 0. A
/// second signal cuts them: status 1. A log that cannot be written, and addresses that cannot be
/// told, harm nobody: lines are dropped, and their number is logged once that works again.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// What is done instead of serving.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// TOML file with settings: the long names of the options below, with `_` for `-`
    #[arg(long, value_name = "FILE", env = "XCHG_CONFIG")]
    config: Option<PathBuf>,

    /// Check the configuration, and whether the addresses can be had, and exit
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Write the bound addresses to FILE, one a line, once they are served
    #[arg(long, value_name = "FILE")]
    pub(crate) port_file: Option<PathBuf>,

    /// How much to log
    #[arg(long, value_enum, value_name = "LEVEL", env = "XCHG_LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: Level,

    /// How a log line looks
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        env = "XCHG_LOG_FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: Format,

    /// Print the script that completes this command line in SHELL, and exit
    #[arg(long, value_name = "SHELL")]
    pub(crate) completions: Option<Shell>,

    /// Write the manual pages into DIR, made if need be, and exit
    #[arg(long, value_name = "DIR")]
    pub(crate) man: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,
}

/// What the program does beside serving: it looks at a server that runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Top(Top),
    Health(Health),
}

impl Command {
    pub(crate) fn run(&self) -> ExitCode {
        match self {
            Self::Top(top) => top.run(),
            Self::Health(health) => health.run(),
        }
    }
}

/// What flags, environment and config file have in common.
#[derive(Debug, Default, Args)]
pub(crate) struct Settings {
    /// Where to listen: ADDR:PORT (port 0: the system chooses) or unix:PATH, repeated or with `;`
    /// between several [default: [::]:4980]
    ///
    /// Options follow behind commas. `dialects=http+native` says what peers may speak there.
    /// `public` serves everybody at an address of this machine's alone, as behind a proxy; without
    /// it, web pages of other sites are kept out there. `access=token` serves bearers of a token
    /// (see --access). With `proxy`, only proxies come there, and say first whom each connection is
    /// for, by the PROXY protocol (see --trusted-proxies). `tls=required` refuses who does not use
    /// TLS, `tls=off` who does; without either, each may who likes once there is a certificate (see
    /// --tls-cert). For instance: 127.0.0.1:4981,dialects=http,public
    #[arg(long, value_name = "ADDR:PORT[,OPTION]...", env = "XCHG_LISTEN", value_delimiter = ';')]
    listen: Option<Vec<Listen>>,

    /// What peers may speak where --listen does not say it [default: all]
    #[arg(long, value_enum, value_name = "DIALECTS", env = "XCHG_DIALECTS", value_delimiter = ',')]
    dialects: Option<Vec<Dialect>>,

    /// Where to serve metrics, health, the exchanges that run and the drain: ADDR:PORT or
    /// unix:PATH, repeated or with `;` between several [default: nowhere]
    ///
    /// An address that others reach needs --token, and where there is one, every ADDR:PORT asks for
    /// it. A unix socket is for the user that the server runs as.
    #[arg(long, value_name = "ADDR:PORT", env = "XCHG_ADMIN", value_delimiter = ';')]
    admin: Option<Vec<ListenAddress>>,

    /// Sites whose web pages may use addresses of this machine's alone, such as
    /// https://example.org, or * for all [default: none]
    #[arg(long, value_name = "ORIGIN", env = "XCHG_ALLOW_ORIGIN", value_delimiter = ',')]
    allow_origin: Option<Vec<WebOrigin>>,

    /// Where proxies may come from that say whom they come for: networks such as 10.0.0.0/8, with
    /// `,` between several [default: this machine]
    ///
    /// That goes for listeners that are marked `proxy`, and for X-Forwarded-For, X-Real-IP and
    /// Forwarded with HTTP. Name 127.0.0.0/8, too, if there is one on this machine beside others.
    /// Unix sockets are always trusted
    #[arg(long, value_name = "CIDR", env = "XCHG_TRUSTED_PROXIES", value_delimiter = ',')]
    trusted_proxies: Option<Vec<Network>>,

    /// Threads that move bytes [default: one for two cores]
    #[arg(long, value_name = "N", env = "XCHG_WORKERS", value_parser = number::<usize>("4"))]
    workers: Option<usize>,

    /// Receive buffer of each socket, such as 262144 or 256K [default: the kernel's choice]
    #[arg(long, value_name = "BYTES", env = "XCHG_RECV_BUFFER")]
    recv_buffer: Option<Bytes>,

    /// Send buffer of each socket [default: the kernel's choice]
    #[arg(long, value_name = "BYTES", env = "XCHG_SEND_BUFFER")]
    send_buffer: Option<Bytes>,

    /// Peers that may wait [default: 100000]
    #[arg(long, value_name = "N", env = "XCHG_MAX_WAITING", value_parser = number::<usize>("100000"))]
    max_waiting: Option<usize>,

    /// Peers that may wait under one key [default: 1000]
    #[arg(long, value_name = "N", env = "XCHG_MAX_WAITING_PER_KEY", value_parser = number::<usize>("1000"))]
    max_waiting_per_key: Option<usize>,

    /// Peers of one address that may wait [default: 128, but for peers on this machine]
    #[arg(long, value_name = "N", env = "XCHG_MAX_WAITING_PER_SOURCE", value_parser = number::<usize>("128"))]
    max_waiting_per_source: Option<usize>,

    /// Connections open at once; further peers are served if their counterpart waits [default:
    /// 65536]
    #[arg(long, value_name = "N", env = "XCHG_MAX_CONNECTIONS", value_parser = number::<usize>("65536"))]
    max_connections: Option<usize>,

    /// Connections of one address [default: 256, but for peers on this machine]
    #[arg(long, value_name = "N", env = "XCHG_MAX_CONNECTIONS_PER_SOURCE", value_parser = number::<usize>("256"))]
    max_connections_per_source: Option<usize>,

    /// Offers that peers of one address may make in a second: each up- and download is one
    /// [default: any number]
    #[arg(long, value_name = "N", env = "XCHG_MAX_OFFERS_PER_SECOND", value_parser = number::<u32>("10"))]
    max_offers_per_second: Option<u32>,

    /// Bytes that an exchange may move, such as 4G; what is longer is refused, or cut if its length
    /// was not known [default: any number]
    #[arg(long, value_name = "BYTES", env = "XCHG_MAX_EXCHANGE_BYTES")]
    max_exchange_bytes: Option<Bytes>,

    /// Bytes a second that an exchange may move, such as 500K or 20M [default: as many as there
    /// are]
    #[arg(long, value_name = "BYTES", env = "XCHG_LIMIT_RATE_EXCHANGE")]
    limit_rate_exchange: Option<Rate>,

    /// Bytes a second that the exchanges of one address may move together, up- and downloads alike
    /// [default: as many as there are]
    #[arg(long, value_name = "BYTES", env = "XCHG_LIMIT_RATE_SOURCE")]
    limit_rate_source: Option<Rate>,

    /// Bytes a second that all exchanges may move together [default: as many as there are]
    #[arg(long, value_name = "BYTES", env = "XCHG_LIMIT_RATE_TOTAL")]
    limit_rate_total: Option<Rate>,

    /// The longest that a peer may wait, whatever it asks for [default: for ever]
    #[arg(long, value_name = "SECS", env = "XCHG_WAIT_TIMEOUT")]
    wait_timeout: Option<Seconds>,

    /// The longest that a classic uploader is still served after it has sent all and left [default:
    /// 3600]
    #[arg(long, value_name = "SECS", env = "XCHG_CLOSED_WAIT")]
    closed_wait: Option<Seconds>,

    /// How long an exchange may stand still [default: 900]
    #[arg(long, value_name = "SECS", env = "XCHG_IDLE_TIMEOUT")]
    idle_timeout: Option<Seconds>,

    /// How often a waiting HTTP/1.1 peer is told so (by `102 Processing`, or another line); 0 sends
    /// nothing [default: 25]
    #[arg(long, value_name = "SECS", env = "XCHG_PROCESSING_INTERVAL")]
    processing_interval: Option<Seconds>,

    /// How long a drain lets exchanges finish before it cuts them [default: for ever]
    #[arg(long, value_name = "SECS", env = "XCHG_DRAIN_TIMEOUT")]
    drain_timeout: Option<Seconds>,

    /// Who may terminate the server over the network [default: loopback]
    #[arg(long, value_enum, value_name = "WHO", env = "XCHG_TERMINATE")]
    terminate: Option<Terminate>,

    /// Who may up- and download where --listen does not say it: everybody, or bearers of a token
    /// [default: open]
    ///
    /// A token is one of --token-file, or that of --token. xchg-client takes it by --token or
    /// XCHG_TOKEN, curl by `-u :TOKEN`, and browsers ask for it, as the password. Classic and
    /// transit peers have no place for one and are refused. `access=open` or `access=token` behind
    /// an address of --listen is for that alone
    #[arg(long, value_enum, value_name = "WHO", env = "XCHG_ACCESS")]
    access: Option<Access>,

    /// File of access tokens, one a line; a change is taken within 10 seconds, if nothing is wrong
    /// with it
    ///
    /// Behind a token may stand `name=` (of its bearer, for the log), `prefix=` (which the bearer's
    /// keys are to begin with) and `limit_rate=` (bytes a second of all that the bearer moves, such
    /// as 20M). `#` begins a comment
    #[arg(long, value_name = "FILE", env = "XCHG_TOKEN_FILE")]
    token_file: Option<PathBuf>,

    /// The access token that lets its bearer terminate the server, see its status, use --admin, and
    /// up- and download; better set by environment or file
    #[arg(long, value_name = "TOKEN", env = "XCHG_TOKEN", hide_env_values = true)]
    token: Option<AccessToken>,

    /// Offer TLS, with the certificate in FILE (PEM; those of its issuers behind it); it is read
    /// again when it changes [default: none]
    #[arg(long, value_name = "FILE", env = "XCHG_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM), likewise [default: in the certificate's file]
    #[arg(long, value_name = "FILE", env = "XCHG_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// Offer TLS with a certificate that the server makes itself and keeps in DIR; its fingerprint,
    /// for `xchg-client --pin`, is told on stderr
    #[arg(long, value_name = "DIR", env = "XCHG_TLS_SELF_SIGNED")]
    tls_self_signed: Option<PathBuf>,

    /// Serve in TLS only who has a certificate that an authority in FILE (PEM) has signed [default:
    /// everybody]
    #[arg(long, value_name = "FILE", env = "XCHG_CLIENT_CA")]
    client_ca: Option<PathBuf>,

    /// TCP congestion control of connections, such as reno, cubic or bbr (Linux) [default: the
    /// system's]
    #[arg(long, value_name = "NAME", env = "XCHG_CONGESTION")]
    congestion: Option<String>,

    /// Size of the kernel pipes that bulk transfers go through (Linux); 0 copies instead [default:
    /// 1M]
    #[arg(long, value_name = "BYTES", env = "XCHG_PIPE_SIZE")]
    pipe_size: Option<Bytes>,

    /// How much of peers' addresses logs show [default: full]
    #[arg(long, value_enum, value_name = "HOW", env = "XCHG_LOG_ADDRESSES")]
    log_addresses: Option<LogAddresses>,

    /// Whether the server gives up what it does not need once it listens: files but its own and
    /// system calls (Linux) [default: auto]
    ///
    /// `auto` does as far as the kernel can see to it, and the log says how far that is; `required`
    /// does not start unless it goes all the way.
    #[arg(long, value_enum, value_name = "MODE", env = "XCHG_SANDBOX")]
    sandbox: Option<Sandbox>,

    /// Show keys in logs, not their fingerprints; whoever knows a key can take the exchange
    #[arg(long, env = "XCHG_LOG_KEYS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    log_keys: Option<bool>,
}

impl Cli {
    /// The configuration that flags, environment and file make together. Where none of them says
    /// where to listen, it is at `passed`, if that is not empty.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(crate) fn config(&mut self, passed: &[OpenSocket]) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        mistakes::check_environment(std::env::vars_os(), &mut mistakes);
        let path = self.config.clone().or_else(|| std::env::var_os("XCHG_CONFIG").map(Into::into));
        let file = path.map(|path| mistakes::read_file(&path, &mut mistakes)).unwrap_or_default();
        let mut config = Config { lost_log_lines: Some(log::lost), ..Config::default() };
        if !passed.is_empty() {
            config.listen = listens(passed);
        }
        file.apply(&mut config);
        self.settings.apply(&mut config);
        self.settings.sandbox = self.settings.sandbox.or(file.sandbox);
        let self_signed = self.settings.tls_self_signed.clone().or(file.tls_self_signed);
        if let Some(folder) = &self_signed {
            let is_only_checked =
                self.check_config || self.completions.is_some() || self.man.is_some();
            self_signed::prepare(folder, is_only_checked, &mut config, &mut mistakes);
        }
        config.problems().iter().for_each(|problem| mistakes.add(problem));
        mistakes.none()?;
        self_signed.iter().for_each(|folder| self_signed::tell(folder));
        Ok(config)
    }
}

impl Cli {
    pub(crate) fn sandbox(&self) -> Sandbox {
        self.settings.sandbox.unwrap_or_default()
    }
}

/// The addresses of `sockets`, each once.
fn listens(sockets: &[OpenSocket]) -> Vec<Listen> {
    let mut listens: Vec<Listen> = Vec::new();
    for socket in sockets {
        let listen = socket.address().clone().into();
        if !listens.contains(&listen) {
            listens.push(listen);
        }
    }
    listens
}

impl Settings {
    fn apply(&self, config: &mut Config) {
        fn set<T: Clone>(field: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                field.clone_from(value);
            }
        }
        set(&mut config.listen, &self.listen);
        set(&mut config.dialects, &self.dialects);
        set(&mut config.admin, &self.admin);
        set(&mut config.allow_origins, &self.allow_origin);
        set(&mut config.trusted_proxies, &self.trusted_proxies);
        set(&mut config.workers, &self.workers);
        set(&mut config.limits.waiting, &self.max_waiting);
        set(&mut config.limits.waiting_per_key, &self.max_waiting_per_key);
        set(&mut config.limits.waiting_per_origin, &self.max_waiting_per_source.map(Some));
        set(&mut config.max_connections_per_source, &self.max_connections_per_source.map(Some));
        set(&mut config.max_offers_per_second, &self.max_offers_per_second.map(Some));
        set(
            &mut config.max_exchange_bytes,
            &self.max_exchange_bytes.map(|most| Some(most.0 as u64)),
        );
        set(&mut config.limit_rate_exchange, &self.limit_rate_exchange.map(Some));
        set(&mut config.limit_rate_source, &self.limit_rate_source.map(Some));
        set(&mut config.limit_rate_total, &self.limit_rate_total.map(Some));
        set(&mut config.closed_wait, &self.closed_wait.map(|time| time.0));
        set(&mut config.max_connections, &self.max_connections);
        set(&mut config.terminate, &self.terminate);
        set(&mut config.log_addresses, &self.log_addresses);
        set(&mut config.log_keys, &self.log_keys);
        set(&mut config.pipe_size, &self.pipe_size.map(|bytes| bytes.0));
        set(&mut config.idle_timeout, &self.idle_timeout.map(|time| time.0));
        set(&mut config.processing_interval, &self.processing_interval.map(|time| time.0));
        set(&mut config.recv_buffer, &self.recv_buffer.map(|bytes| Some(bytes.0)));
        set(&mut config.send_buffer, &self.send_buffer.map(|bytes| Some(bytes.0)));
        set(&mut config.wait_timeout, &self.wait_timeout.map(|time| Some(time.0)));
        set(&mut config.drain_timeout, &self.drain_timeout.map(|time| Some(time.0)));
        set(&mut config.token, &self.token.clone().map(|token| Some(token.0)));
        set(&mut config.access, &self.access);
        set(&mut config.token_file, &self.token_file.clone().map(Some));
        set(&mut config.tls_cert, &self.tls_cert.clone().map(Some));
        set(&mut config.tls_key, &self.tls_key.clone().map(Some));
        set(&mut config.client_ca, &self.client_ca.clone().map(Some));
        set(&mut config.congestion, &self.congestion.clone().map(Some));
    }
}

/// A token, which neither logs nor error messages show.
#[derive(Debug, Clone)]
struct AccessToken(Token);

impl FromStr for AccessToken {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let token = Token::parse(text.as_bytes());
        token.map(AccessToken).map_err(|_| "write a token of 1 to 255 bytes")
    }
}

/// Takes a number, of which `example` is one.
fn number<N: FromStr>(
    example: &'static str,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static {
    move |text| text.parse().map_err(|_| format!("write a number, such as {example}"))
}

/// A number of bytes, with an optional K, M or G for powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bytes(usize);

/// A number of seconds, fractions allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seconds(Duration);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (digits, shift) = match text.as_bytes() {
            [.., b'K' | b'k'] => (&text[..text.len() - 1], 10),
            [.., b'M' | b'm'] => (&text[..text.len() - 1], 20),
            [.., b'G' | b'g'] => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        let number = digits.parse::<usize>().ok();
        let bytes = number.and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Bytes).ok_or("write a number of bytes, such as 65536, 64K or 1M")
    }
}

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let seconds = text.parse::<f64>().ok();
        let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        time.map(Seconds).ok_or("write a number of seconds, such as 30 or 0.5")
    }
}
