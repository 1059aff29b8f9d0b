//! What is compared: no relay, xchg, and the other relays, each started with a configuration of
//! ours.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use super::arguments::{Arguments, Rival};
use super::failure::{During, Failure, Result};
use super::process::{PATIENCE, ServerProcess, find_program};
use super::route::{Route, listen};

/// Passed by the benchmark to itself to become the thread relay: address, port file.
pub(crate) const SERVE_THREADS: &str = "--serve-threads";

/// The name of the thread relay.
const THREADS: &str = "blocking threads";

/// Connections that the forwarders' configurations allow.
const CONNECTIONS: u32 = 2_048;

/// One row of every table.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    kind: Kind,
    program: PathBuf,
    arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Direct,
    /// Pairs peers of the classic dialect and says in a file where it listens.
    Pairing,
    Haproxy {
        pipe_bytes: Option<u32>,
    },
    Nginx,
    Socat,
}

/// A candidate that is ready to relay.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) route: Route,
    /// `None` of the direct way.
    pub(crate) process: Option<ServerProcess>,
}

/// The conditions that all candidates share.
pub(crate) struct Conditions {
    /// Whether this is a network namespace of our own, in which listening on all addresses reaches
    /// nobody else.
    pub(crate) isolated: bool,
    /// Whether our sockets have to ask for Reno themselves.
    pub(crate) ask_for_reno: bool,
    /// For configurations and logs.
    pub(crate) folder: PathBuf,
}

impl Candidate {
    /// No relay, every xchg, and the rivals: those named, else those installed.
    pub(crate) fn all(arguments: &Arguments) -> Result<Vec<Self>> {
        let mut candidates = vec![Self::new("direct", Kind::Direct, PathBuf::new())];
        candidates.extend(Self::xchgs(arguments));
        for rival in [Rival::Threads, Rival::Haproxy, Rival::Nginx, Rival::Socat] {
            let (named, all) = match &arguments.against {
                Some(rivals) => (rivals.contains(&rival), false),
                None => (false, true),
            };
            let found = Self::rival(rival)?;
            if named && found.is_empty() {
                return Err(Failure::new(format!(
                    "{rival:?} is not installed; install it or leave it out of --against"
                )));
            }
            if named || all {
                candidates.extend(found);
            }
        }
        Ok(candidates)
    }

    fn new(name: impl Into<String>, kind: Kind, program: PathBuf) -> Self {
        Self { name: name.into(), kind, program, arguments: Vec::new() }
    }

    /// One for each `--server-args`, or one without arguments.
    fn xchgs(arguments: &Arguments) -> Vec<Self> {
        let default = || env!("CARGO_BIN_EXE_xchg-server").into();
        let program = arguments.server.clone().unwrap_or_else(default);
        let mut xchgs: Vec<Self> = arguments
            .server_args
            .iter()
            .map(|line| Self {
                arguments: line.split_whitespace().map(str::to_owned).collect(),
                ..Self::new(format!("xchg {line}").trim_end(), Kind::Pairing, program.clone())
            })
            .collect();
        if xchgs.is_empty() {
            xchgs.push(Self::new("xchg", Kind::Pairing, program));
        }
        xchgs
    }

    /// The rows of a rival; none if it is not installed.
    fn rival(rival: Rival) -> Result<Vec<Self>> {
        let installed = |name: &str, kinds: &[(&str, Kind)]| match find_program(name) {
            Some(program) => {
                kinds.iter().map(|(name, kind)| Self::new(*name, *kind, program.clone())).collect()
            }
            None => Vec::new(),
        };
        Ok(match rival {
            Rival::Threads => {
                let itself =
                    std::env::current_exe().during("cannot find this benchmark's own program")?;
                vec![Self::new(THREADS, Kind::Pairing, itself)]
            }
            Rival::Haproxy => installed(
                "haproxy",
                &[
                    ("haproxy 1 MiB pipes", Kind::Haproxy { pipe_bytes: Some(1 << 20) }),
                    ("haproxy", Kind::Haproxy { pipe_bytes: None }),
                ],
            ),
            Rival::Nginx => installed("nginx", &[("nginx stream", Kind::Nginx)]),
            Rival::Socat => installed("socat", &[("socat", Kind::Socat)]),
        })
    }

    /// Whether it can be asked for what only a pairing server does.
    pub(crate) fn pairs(&self) -> bool {
        self.kind == Kind::Pairing
    }

    /// Whether it can be asked for what only xchg does.
    pub(crate) fn is_xchg(&self) -> bool {
        self.pairs() && self.name != THREADS
    }

    /// The same, with a certificate that it makes itself in `folder`.
    pub(crate) fn offering_tls(&self, folder: &Path) -> Self {
        let mut offering = self.clone();
        offering.arguments.extend(["--tls-self-signed".into(), folder.display().to_string()]);
        offering
    }

    /// Starts it and sees a first byte through.
    pub(crate) fn start(&self, conditions: &Conditions) -> Result<Running> {
        let folder = tempfile::Builder::new()
            .tempdir_in(&conditions.folder)
            .during("cannot create a folder")?
            .keep();
        let starting = || format!("{} does not start", self.name);
        match self.kind {
            Kind::Direct => {
                let listener = conditions.listen().during("cannot listen")?;
                let route = Route::direct(listener, conditions.isolated, conditions.ask_for_reno);
                Ok(Running {
                    name: self.name.clone(),
                    route: route.during("cannot listen")?,
                    process: None,
                })
            }
            Kind::Pairing => self.start_pairing(conditions, &folder).during(starting()),
            _ => self.start_forwarder(conditions, &folder).during(starting()),
        }
    }

    fn start_pairing(&self, conditions: &Conditions, folder: &Path) -> Result<Running> {
        let port_file = folder.join("port");
        let listen = SocketAddrV4::new(conditions.host(), 0).to_string();
        let (listen, file) = (listen.as_str(), port_file.to_str().unwrap_or_default());
        let mut arguments: Vec<String> = if self.name == THREADS {
            [SERVE_THREADS, listen, file].map(str::to_owned).into()
        } else {
            ["--listen", listen, "--port-file", file].map(str::to_owned).into()
        };
        arguments.extend(self.arguments.iter().cloned());
        let mut process = ServerProcess::start(&self.name, &self.program, &arguments, folder)?;
        let address = wait_for(&mut process, "it has not written its port file", || {
            Ok(fs::read_to_string(&port_file)
                .ok()
                .and_then(|text| text.trim().parse::<SocketAddrV4>().ok()))
        })?;
        let route = Route::paired(address.port(), conditions.isolated, conditions.ask_for_reno);
        route.probe()?;
        Ok(Running { name: self.name.clone(), route, process: Some(process) })
    }

    fn start_forwarder(&self, conditions: &Conditions, folder: &Path) -> Result<Running> {
        let listener = conditions.listen().during("cannot listen")?;
        let backend = listener.local_addr().during("cannot listen")?.port();
        // Free a moment ago, and in a namespace of our own nobody else takes it.
        let free = conditions
            .listen()
            .and_then(|listener| listener.local_addr())
            .during("cannot find a free port")?;
        let entry = SocketAddrV4::new(conditions.host(), free.port());
        let arguments = self.forwarder_arguments(entry, backend, folder)?;
        let mut process = ServerProcess::start(&self.name, &self.program, &arguments, folder)?;
        let route =
            Route::forwarded(free.port(), listener, conditions.isolated, conditions.ask_for_reno);
        let route = route.during("cannot listen")?;
        wait_for(&mut process, "nobody listens on its port", || match route.connect() {
            Ok(_) => Ok(Some(())),
            Err(_) => Ok(None),
        })?;
        // The connection that showed it to be there has come through as well.
        route.take_arrival()?;
        route.probe()?;
        Ok(Running { name: self.name.clone(), route, process: Some(process) })
    }

    /// The command line of a forwarder from `entry` to our port `backend`, its configuration
    /// written to `folder`.
    fn forwarder_arguments(
        &self,
        entry: SocketAddrV4,
        backend: u16,
        folder: &Path,
    ) -> Result<Vec<String>> {
        let configuration = match self.kind {
            Kind::Haproxy { pipe_bytes } => haproxy_configuration(entry, backend, pipe_bytes),
            Kind::Nginx => nginx_configuration(entry, backend),
            _ => String::new(),
        };
        let file = folder.join("configuration");
        fs::write(&file, configuration).during(format_args!("cannot write {}", file.display()))?;
        let (file, folder) = (file.display().to_string(), folder.display().to_string());
        Ok(match self.kind {
            Kind::Haproxy { .. } => vec!["-db".into(), "-f".into(), file],
            Kind::Nginx => vec!["-p".into(), folder, "-c".into(), file],
            _ => vec![
                // The default of 8 KiB would cost it most of its speed.
                "-b65536".into(),
                format!(
                    "TCP-LISTEN:{},bind={},reuseaddr,fork,backlog=4096",
                    entry.port(),
                    entry.ip()
                ),
                format!("TCP:127.0.0.1:{backend}"),
            ],
        })
    }
}

impl Running {
    /// The server's process.
    ///
    /// # Errors
    /// There is none: this is the direct way.
    pub(crate) fn server(&self) -> Result<&ServerProcess> {
        self.process.as_ref().ok_or_else(|| Failure::new(format!("{} has no server", self.name)))
    }

    /// Ends the candidate.
    pub(crate) fn stop(self) -> Result<()> {
        self.process.map_or(Ok(()), ServerProcess::stop)
    }
}

impl Conditions {
    fn host(&self) -> Ipv4Addr {
        if self.isolated { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST }
    }

    fn listen(&self) -> io::Result<TcpListener> {
        listen(SocketAddrV4::new(self.host(), 0))
    }
}

/// Asks `ready` until it gives something, the server has ended, or patience has.
fn wait_for<T>(
    process: &mut ServerProcess,
    still: &str,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        process.check()?;
        match ready()? {
            Some(value) => return Ok(value),
            None if Instant::now() > deadline => {
                return Err(Failure::new(format!("{still} after {PATIENCE:?}")));
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn haproxy_configuration(entry: SocketAddrV4, backend: u16, pipe_bytes: Option<u32>) -> String {
    let pipes = pipe_bytes.map_or(String::new(), |bytes| format!("  tune.pipesize {bytes}\n"));
    format!(
        "global\n  maxconn {CONNECTIONS}\n{pipes}\
         defaults\n  mode tcp\n  option splice-auto\n  option splice-request\n  option splice-response\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n\
         listen relay\n  bind {entry}\n  server generator 127.0.0.1:{backend}\n"
    )
}

fn nginx_configuration(entry: SocketAddrV4, backend: u16) -> String {
    // Distributions build the stream module apart.
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    let load = if module.exists() {
        format!("load_module {};\n", module.display())
    } else {
        String::new()
    };
    format!(
        "{load}daemon off;\npid nginx.pid;\nerror_log stderr;\nworker_processes auto;\n\
         events {{ worker_connections {}; }}\n\
         stream {{ server {{ listen {entry} backlog=4096; proxy_pass 127.0.0.1:{backend}; }} }}\n",
        2 * CONNECTIONS
    )
}
