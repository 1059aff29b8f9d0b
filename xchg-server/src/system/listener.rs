//! Listening sockets, with the options that accepted connections inherit.
//!
//! Linux copies a listener's `TCP_NODELAY`, keepalive, `TCP_USER_TIMEOUT`, buffer sizes and
//! congestion control to what it accepts (`tcp(7)`, `socket(7)`), so that setting them once here
//! saves system calls on every connection.
//!
//! **A probe socket before SO_REUSEPORT.** Each worker has a listener of its own, and the kernel
//! spreads connections. But a second server of the same user would share the port in silence. So a
//! socket without the option is bound and closed first: it finds the port taken.
//!
//! **Two patiences in TCP_USER_TIMEOUT.** Listeners set two minutes, which finds dead peers. But
//! the kernel counts a closed window too, so that a downloader that merely pauses would look dead.
//! Once a sink is full, the engine raises its time to the exchange's own.
//!
//! **No TCP_DEFER_ACCEPT.** With it who connects is accepted together with its first bytes, which
//! saves a twentieth of the processor time of exchanges that come one at a time, and nothing with
//! 32 in flight. But who says nothing would then be in the kernel's queue of half-open connections,
//! where no limit of ours reaches it.

use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use xchg_core::relay;

use crate::engine::net::Accepted;
use crate::origin::Origin;
use crate::system::open_socket::OpenSocket;
use crate::{Config, Error, ListenAddress};

/// How long a silent connection stays unprobed, how often it is then probed, and how often in vain:
/// a dead peer that has nothing in flight is found after 60 + 3 x 20 s.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(20), 3);

/// How long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`): as long as keepalive takes, so
/// that both agree. An exchange's peers get more once they stop reading.
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// One listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    /// Its number among those of the configuration.
    index: u8,
    unlink: Option<PathBuf>,
}

/// Opens the listener of that number, once for each worker where the kernel can spread connections
/// over several sockets; or serves it from those of its address that are `open` already, and takes
/// them from there. Gives the address with the port that the system chose.
pub(crate) fn open(
    config: &Config,
    index: usize,
    open: &mut Vec<OpenSocket>,
) -> Result<(ListenAddress, Vec<Listener>), Error> {
    let listen = &config.listen[index].address;
    let passed: Vec<OpenSocket> = open.extract_if(.., |one| one.address == *listen).collect();
    let is_passed = !passed.is_empty();
    let opened = if is_passed {
        take_over(passed, config).map(|sockets| (listen.clone(), sockets))
    } else {
        open_sockets(listen, config)
    };
    let (address, sockets) = opened.map_err(|source| Error::Listen {
        listen: listen.clone(),
        advice: advice(listen, "--listen", &source),
        source,
    })?;
    let index = u8::try_from(index).expect("the configuration allows few listeners");
    let unlink = match &address {
        // Whoever has passed it has made its file, and still holds it.
        ListenAddress::Unix(path) => (!is_passed).then(|| path.clone()),
        ListenAddress::Tcp(_) => None,
    };
    let listener = |socket| Listener { socket, index, unlink: unlink.clone() };
    Ok((address, sockets.into_iter().map(listener).collect()))
}

/// Opens the admin address of that number. A unix socket there is for the user alone whose process
/// this is.
pub(crate) fn open_admin(
    config: &Config,
    index: usize,
) -> Result<(ListenAddress, Listener), Error> {
    /// Connections that the kernel holds until they are accepted: those who ask are few.
    const BACKLOG: i32 = 64;
    let listen = &config.admin[index];
    let open = || match listen {
        ListenAddress::Tcp(address) => {
            let socket = bind_tcp(*address, false)?;
            socket.listen(BACKLOG)?;
            Ok((ListenAddress::Tcp(local_address(&socket)?), None, socket))
        }
        ListenAddress::Unix(path) => {
            let socket = bind_unix(path)?;
            // Before it listens: until then nobody can connect.
            std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
            socket.listen(BACKLOG)?;
            Ok((listen.clone(), Some(path.clone()), socket))
        }
    };
    let (address, unlink, socket) = open().map_err(|source| Error::Listen {
        listen: listen.clone(),
        advice: advice(listen, "--admin", &source),
        source,
    })?;
    let index = u8::try_from(index).expect("the configuration allows few listeners");
    Ok((address, Listener { socket, index, unlink }))
}

/// Sees whether the kernel lets this process choose the congestion control that `config` names.
#[cfg(target_os = "linux")]
pub(crate) fn check_congestion(config: &Config) -> Result<(), Error> {
    let Some(name) = &config.congestion else { return Ok(()) };
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))
        .or_else(|_| Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)));
    let Err(error) = socket.and_then(|socket| socket.set_tcp_congestion(name.as_bytes())) else {
        return Ok(());
    };
    let listed = |file| {
        let path = format!("/proc/sys/net/ipv4/{file}");
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
        text.trim().to_owned()
    };
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "only root may choose `{name}` here; others may choose: {}",
            listed("tcp_allowed_congestion_control")
        ),
        _ if name.is_empty() => {
            format!(
                "it has no name; the kernel has: {}",
                listed("tcp_available_congestion_control")
            )
        }
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => format!(
            "the kernel has no `{name}`; it has: {}. Perhaps its module is to be loaded: modprobe tcp_{name}",
            listed("tcp_available_congestion_control")
        ),
        _ => format!("`{name}` cannot be chosen: {error}"),
    };
    Err(Error::Config { setting: "congestion", why })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn check_congestion(_: &Config) -> Result<(), Error> {
    Ok(())
}

fn open_sockets(
    listen: &ListenAddress,
    config: &Config,
) -> io::Result<(ListenAddress, Vec<Socket>)> {
    let address = match listen {
        ListenAddress::Unix(path) => return Ok((listen.clone(), vec![open_unix(path, config)?])),
        ListenAddress::Tcp(address) => *address,
    };
    let (address, sockets) = match open_tcp(address, config) {
        // A machine without IPv6: the default address means all of IPv4 then.
        Err(error)
            if *listen == ListenAddress::default()
                && error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            open_tcp((Ipv4Addr::UNSPECIFIED, address.port()).into(), config)?
        }
        opened => opened?,
    };
    Ok((ListenAddress::Tcp(address), sockets))
}

/// What to do about an address that the `option` names and cannot be had.
fn advice(listen: &ListenAddress, option: &str, error: &io::Error) -> String {
    let is_unscoped = matches!(listen, ListenAddress::Tcp(SocketAddr::V6(address))
        if address.ip().is_unicast_link_local() && address.scope_id() == 0);
    match error.kind() {
        _ if is_unscoped => {
            "an address of one link needs its interface, as in [fe80::1%eth0]:4980".to_owned()
        }
        io::ErrorKind::AddrInUse => format!(
            "is another server running there? stop it, or choose another address with {option}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address; choose one of its own with {option}")
        }
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE, others' folders their rights; \
             choose another with {option}"
        ),
        io::ErrorKind::NotFound => {
            format!("its folder does not exist; create it, or choose another path with {option}")
        }
        io::ErrorKind::AlreadyExists => {
            format!("remove what is there, or choose another path with {option}")
        }
        io::ErrorKind::InvalidInput => {
            format!("a socket's path cannot be as long; choose a shorter one with {option}")
        }
        _ => format!("choose another address with {option}"),
    }
}

fn open_tcp(address: SocketAddr, config: &Config) -> io::Result<(SocketAddr, Vec<Socket>)> {
    if config.workers == 1 || !cfg!(target_os = "linux") {
        let (address, listener) = listen_tcp(address, config, false)?;
        return Ok((address, vec![listener]));
    }
    if address.port() != 0 {
        // SO_REUSEPORT would let a second server of the same user share the port in silence: one
        // socket without it finds that out.
        bind_tcp(address, false)?.listen(1)?;
    }
    let (address, first) = listen_tcp(address, config, true)?;
    let others = (1..config.workers).map(|_| Ok(listen_tcp(address, config, true)?.1));
    let listeners = std::iter::once(Ok(first)).chain(others).collect::<io::Result<_>>()?;
    Ok((address, listeners))
}

fn bind_tcp(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of a former server in TIME_WAIT do not keep a new one from the port.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen_tcp(
    address: SocketAddr,
    config: &Config,
    shared: bool,
) -> io::Result<(SocketAddr, Socket)> {
    let socket = bind_tcp(address, shared)?;
    set_tcp_options(&socket, config)?;
    set_buffers(&socket, config)?;
    socket.listen(config.backlog)?;
    Ok((local_address(&socket)?, socket))
}

/// Readies sockets that are open already, so that every worker has one: where they are fewer,
/// several have the same, and whoever comes first takes the connection.
fn take_over(open: Vec<OpenSocket>, config: &Config) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for OpenSocket { socket, address } in open {
        socket.set_cloexec(true)?;
        socket.set_nonblocking(true)?;
        if let ListenAddress::Tcp(_) = address {
            set_tcp_options(&socket, config)?;
        }
        set_buffers(&socket, config)?;
        socket.listen(config.backlog)?;
        sockets.push(socket);
    }
    let passed = sockets.len();
    for worker in passed..config.workers {
        sockets.push(sockets[worker % passed].try_clone()?);
    }
    Ok(sockets)
}

fn set_tcp_options(socket: &Socket, config: &Config) -> io::Result<()> {
    let (idle, interval, retries) = KEEPALIVE;
    let keepalive =
        TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        if let Some(name) = &config.congestion {
            socket.set_tcp_congestion(name.as_bytes())?;
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = config;
    Ok(())
}

fn open_unix(path: &Path, config: &Config) -> io::Result<Socket> {
    let socket = bind_unix(path)?;
    set_buffers(&socket, config)?;
    socket.listen(config.backlog)?;
    Ok(socket)
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.bind(&address) {
        let file = std::fs::symlink_metadata(path);
        if file.is_ok_and(|file| !file.file_type().is_socket()) {
            let why = "there is a file of that name, which is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        // A socket that nobody listens behind is what a killed server left.
        let stale = error.kind() == io::ErrorKind::AddrInUse
            && Socket::new(Domain::UNIX, Type::STREAM, None)?
                .connect(&address)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if !stale {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    Ok(socket)
}

fn set_buffers(socket: &Socket, config: &Config) -> io::Result<()> {
    if let Some(bytes) = config.recv_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = config.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("a TCP socket has no TCP address"))
}

impl Listener {
    /// Accepts one connection, non-blocking.
    pub(crate) fn accept(&self) -> io::Result<Accepted<relay::Socket<OwnedFd>>> {
        #[cfg(target_os = "linux")]
        let (socket, address) = {
            use rustix::net::{SocketFlags, acceptfrom_with};
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (socket, address) = acceptfrom_with(&self.socket, flags)?;
            (socket, address.and_then(|address| SocketAddr::try_from(address).ok()))
        };
        #[cfg(not(target_os = "linux"))]
        let (socket, address) = {
            let (socket, address) = self.socket.accept()?;
            socket.set_nonblocking(true)?;
            (OwnedFd::from(socket), address.as_socket())
        };
        let origin = address.map_or(Origin::UNIX, |address| Origin::of(address.ip()));
        Ok(Accepted { transport: relay::Socket(socket), origin, listener: self.index })
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.unlink {
            // Its only harm is a stale file, which the next start removes.
            std::fs::remove_file(path).ok();
        }
    }
}
