//! Addresses to listen on, and what makes up the configuration.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::common::{
    DEADLINE, Exit, InProcess, Peer, Process, classic_greeting, config, loopback, payload, tcp,
};
use rustix::process::Signal;
use xchg_core::{Outcome, Side};
use xchg_server::{Config, Dialect, Error, Listen, ListenAddress, Server};

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Checks that a file gets from a peer at one address to a peer at another.
fn exchange(upload: SocketAddr, download: SocketAddr) {
    let downloader = Peer::classic(download, b'G', "between");
    drop(Peer::classic(upload, b'P', "between").send_all(b"addresses"));
    assert_eq!(downloader.whole(), b"addresses");
}

fn unix(path: &Path) -> Listen {
    ListenAddress::Unix(path.to_owned()).into()
}

/// A classic peer at a unix socket.
fn at_unix(path: &Path, command: u8, key: &str) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&classic_greeting(command, key)).unwrap();
    stream
}

fn whole(mut stream: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn one_address_serves_both_families() {
    if !has_ipv6() {
        return println!("skipped: this machine has no IPv6");
    }
    for workers in [1, 2] {
        let listen = vec!["[::]:0".parse().unwrap()];
        let server = InProcess::start(Config { listen, workers, ..config() });
        let port = server.address().port();
        exchange(([127, 0, 0, 1], port).into(), (Ipv6Addr::LOCALHOST, port).into());
        exchange((Ipv6Addr::LOCALHOST, port).into(), ([127, 0, 0, 1], port).into());
    }
}

#[test]
fn peers_of_several_addresses_meet() {
    for workers in [1, 2, 4] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let other = "127.0.0.2:0".parse().unwrap();
        let listen = vec![loopback(), other, unix(&path)];
        let server = InProcess::start(Config { listen, workers, ..config() });
        let [first, second] = [0, 1].map(|index| tcp(&server.addresses()[index]));
        assert_eq!((first.ip().to_string(), second.ip().to_string()).1, "127.0.0.2");
        exchange(first, second);
        exchange(second, first);
        let downloader = at_unix(&path, b'G', "unix");
        drop(Peer::classic(first, b'P', "unix").send_all(b"to unix"));
        assert_eq!(whole(downloader), b"to unix");
    }
}

#[test]
fn each_address_may_have_dialects_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = format!("unix:{},dialects=native", path.display());
    let listen = ["127.0.0.1:0", "127.0.0.1:0,dialects=http+native", &socket];
    let listen = listen.map(|listen| listen.parse().unwrap()).to_vec();
    let dialects = vec![Dialect::Classic];
    for workers in [1, 2, 3] {
        let listen = listen.clone();
        let server =
            InProcess::start(Config { listen, dialects: dialects.clone(), workers, ..config() });
        let [classic, web] = [0, 1].map(|index| tcp(&server.addresses()[index]));
        let request = b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let said = |address| String::from_utf8(Peer::saying(address, request).whole()).unwrap();
        assert!(said(classic).contains("It speaks: classic.\n"), "{}", said(classic));
        assert!(said(web).starts_with("HTTP/1.1 200 "), "{}", said(web));
        let mut native = UnixStream::connect(&path).unwrap();
        native.set_read_timeout(Some(DEADLINE)).unwrap();
        native.write_all(request).unwrap();
        assert!(String::from_utf8(whole(native)).unwrap().contains("It speaks: native.\n"));

        // They meet all the same.
        let downloader = Peer::classic(classic, b'G', "between");
        let mut uploader = Peer::native(web, Side::Upload, "between");
        uploader.matched();
        uploader.send_with_end(b"addresses");
        assert_eq!(downloader.whole(), b"addresses");
        assert_lost_or_told(web);
        server.drain();
        server.join();
    }
}

/// A classic peer is not served where classic is not spoken.
fn assert_lost_or_told(address: SocketAddr) {
    let told = Peer::classic(address, b'G', "between").rest().unwrap_or_default();
    assert!(told.is_empty() || told.starts_with(b"This is an xchg server."), "{told:?}");
}

#[test]
fn an_interface_may_be_named() {
    if !has_ipv6() {
        return println!("skipped: this machine has no IPv6");
    }
    let listen = vec!["[::1%lo]:0".parse().unwrap()];
    let server = InProcess::start(Config { listen, ..config() });
    exchange(server.address(), (Ipv6Addr::LOCALHOST, server.address().port()).into());
    let mut command = Process::command();
    command.args(["--check-config", "--listen", "[fe80::1%nowhere7]:4980"]);
    fails(&Process::run(command), &["--listen", "no network interface `nowhere7`"]);
    // Without its interface such an address is nobody's.
    let mut command = Process::command();
    command.args(["--listen", "[fe80::1]:0"]);
    fails(&Process::run(command), &["needs its interface", "%eth0"]);
}

#[test]
fn a_unix_socket_carries_much_and_goes_with_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let server = InProcess::start(Config { listen: vec![unix(&path)], ..config() });
    assert_eq!(server.addresses()[0], unix(&path).address);
    let file = payload(1, 5_000_000);
    let downloader = at_unix(&path, b'G', "much");
    let mut uploader = at_unix(&path, b'P', "much");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            uploader.write_all(&file).unwrap();
            drop(uploader);
        });
        assert!(whole(downloader) == file);
    });
    assert_eq!(server.next_outcome(), (Outcome::Completed, 5_000_000));
    server.drain();
    server.join();
    assert!(!path.exists(), "a drained server leaves no socket file behind");
}

#[test]
fn an_uploader_at_a_unix_socket_may_close_before_its_downloader_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let server = InProcess::start(Config { listen: vec![unix(&path)], ..config() });
    let file = payload(2, 50_000);
    let mut uploader = at_unix(&path, b'P', "left");
    uploader.write_all(&file).unwrap();
    drop(uploader);
    server.await_waiting(1);
    assert!(whole(at_unix(&path, b'G', "left")) == file);
    assert_eq!(server.next_outcome(), (Outcome::Completed, 50_000));
}

#[test]
fn a_waiting_downloader_at_a_unix_socket_that_closes_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let server = InProcess::start(Config { listen: vec![unix(&path)], ..config() });
    let downloader = at_unix(&path, b'G', "left");
    server.await_waiting(1);
    drop(downloader);
    server.await_waiting(0);
}

#[test]
fn a_socket_file_that_nobody_listens_behind_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    // A process that another test starts right now holds it too, until it executes its program.
    crate::common::eventually("nobody listens", || UnixStream::connect(&path).is_err());
    let server = InProcess::start(Config { listen: vec![unix(&path)], ..config() });
    let downloader = at_unix(&path, b'G', "stale");
    drop(at_unix(&path, b'P', "stale"));
    assert_eq!(whole(downloader), b"");
    drop(server);
}

#[test]
fn a_socket_file_that_somebody_listens_behind_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _first = InProcess::start(Config { listen: vec![unix(&path)], ..config() });
    let error = Server::bind(Config { listen: vec![unix(&path)], ..config() }).unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error:?}");
    let downloader = at_unix(&path, b'G', "live");
    drop(at_unix(&path, b'P', "live"));
    assert_eq!(whole(downloader), b"");
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, "precious").unwrap();
    let error = Server::bind(Config { listen: vec![unix(&path)], ..config() }).unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_way_out() {
    for workers in [1, 2] {
        for other in [1, 2] {
            let server = InProcess::start(Config { workers, ..config() });
            let listen = vec![server.addresses()[0].clone().into()];
            let error = Server::bind(Config { listen, workers: other, ..config() }).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&server.address().to_string()), "{text}");
            assert!(text.contains("--listen"), "{text}");
        }
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Process::command();
    command.args(["--listen", &taken.local_addr().unwrap().to_string()]);
    let exit = Process::run(command);
    fails(&exit, &["--listen", "another server", "in use"]);
}

#[test]
fn the_addresses_are_told_on_stdout_and_in_the_port_file() {
    let folder = tempfile::tempdir().unwrap();
    let port_file = folder.path().join("ports");
    let socket = format!("unix:{}", folder.path().join("socket").display());
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0", "--listen", &socket]);
    command.arg("--port-file").arg(&port_file);
    let mut process = Process::spawn(command);
    let lines = [process.line(), process.line(), process.line()];
    assert_eq!(lines[2], socket);
    let [first, second] = [0, 1].map(|index| lines[index].parse().unwrap());
    exchange(first, second);
    assert_eq!(std::fs::read_to_string(&port_file).unwrap(), lines.join("\n") + "\n");
    process.signal(Signal::TERM);
    let exit = process.wait();
    assert_eq!((exit.status.code(), exit.stdout.len()), (Some(0), 0));
}

/// Expects that the command line or the configuration was refused, with all of these in the
/// message.
fn fails(exit: &Exit, parts: &[&str]) {
    assert_eq!(exit.status.code(), Some(2), "{exit:?}");
    assert!(exit.stdout.is_empty(), "{exit:?}");
    for part in parts {
        assert!(exit.stderr.contains(part), "{part:?} is not in {:?}", exit.stderr);
    }
}

/// Runs `--check-config` on a file with `text`.
fn check_config(text: &str) -> Exit {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("xchg.toml");
    std::fs::write(&path, text).unwrap();
    let mut command = Process::command();
    command.arg("--check-config").arg("--config").arg(&path);
    Process::run(command)
}

#[test]
fn a_config_file_may_set_everything() {
    let exit = check_config(
        r#"
        listen = ["127.0.0.1:0,dialects=http+native,public", "unix:/tmp/socket", "[::1]:4980"]
        allow_origin = ["https://example.org", "http://localhost:3000"]
        workers = 3
        recv_buffer = "256K"
        send_buffer = 262144
        max_waiting = 10
        max_waiting_per_key = 5
        max_waiting_per_source = 2
        max_connections = 100
        wait_timeout = 3600
        idle_timeout = 0.5
        drain_timeout = "2.5"
        terminate = "token"
        token = "secret"
        congestion = "reno"
        pipe_size = "1M"
        log_keys = true
        "#,
    );
    assert_eq!(exit.status.code(), Some(0), "{exit:?}");
    assert_eq!(exit.stdout, ["the configuration is fine"]);
}

#[test]
fn every_mistake_of_file_and_environment_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("xchg.toml");
    std::fs::write(&path, "workers = 0\nlisten_on = \"x\"\nmax_waiting = \"many\"\n").unwrap();
    let mut command = Process::command();
    command
        .arg("--config")
        .arg(&path)
        .env("XCHG_IDLE_TIMEOUT", "soon")
        .env("XCHG_TERMINATE", "all");
    let exit = Process::run(command);
    fails(
        &exit,
        &[
            "5 mistakes in the configuration:",
            "xchg.toml line 2: there is no setting `listen_on`; did you mean `listen`?",
            "xchg.toml line 3: max_waiting = \"many\": write a number, such as 100000",
            "XCHG_IDLE_TIMEOUT = \"soon\": write a number of seconds, such as 30 or 0.5",
            "XCHG_TERMINATE = \"all\": use one of loopback, token, any, never",
            "workers: 0 cannot be had: use 1 to 1024",
        ],
    );
    assert_eq!(exit.stderr.lines().count(), 6, "{}", exit.stderr);
}

#[test]
fn help_is_there_whatever_the_environment_says() {
    let mut command = Process::command();
    command.arg("--help").env("XCHG_WORKERS", "two");
    assert_eq!(Process::run(command).status.code(), Some(0));
}

#[test]
fn a_check_tries_the_addresses_and_the_congestion_control() {
    let exit = check_config("listen = [\"192.0.2.1:80\", \"127.0.0.1:0\", \"unix:/none/s\"]\n");
    fails(&exit, &["2 mistakes", "cannot listen on 192.0.2.1:80", "cannot listen on unix:/none/s"]);
    let exit = check_config("listen = \"127.0.0.1:0\"\ncongestion = \"none\"\n");
    let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    fails(&exit, &["congestion", "`none`", known.unwrap().trim()]);
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0", "--congestion", "none"]);
    fails(&Process::run(command), &["congestion", "`none`"]);
}

#[test]
fn a_check_beside_a_running_server_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", folder.path().join("socket").display());
    let (_server, address) = Process::start(&["--listen", &unix]);
    let exit = check_config(&format!("listen = [\"{address}\", \"{unix}\"]\n"));
    assert_eq!(exit.status.code(), Some(0), "{exit:?}");
    for listen in [address.to_string(), unix] {
        assert!(exit.stderr.contains(&format!("{listen} is in use")), "{exit:?}");
    }
    assert!(folder.path().join("socket").exists(), "it is the running server's");
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (text, part) in [
        ("workers = 0", "workers"),
        ("max_connections = 1", "max-connections"),
        ("max_waiting = 0", "max-waiting"),
        ("terminate = \"token\"", "token"),
        ("token = \"\"", "token"),
        ("idle_timeout = 0", "idle"),
        ("listen = []", "listen"),
        ("listen = \"[::]:1,dialect=http\"", "dialects=NAME+NAME"),
        ("listen = \"[::]:1,[::]:2\"", "repeat --listen"),
        ("allow_origin = \"example.org\"", "https://example.org"),
    ] {
        fails(&check_config(text), &[part]);
    }
    let mut command = Process::command();
    command.args(["--config", "/nowhere/xchg.toml"]);
    fails(&Process::run(command), &["/nowhere/xchg.toml"]);
    let mut command = Process::command();
    command.args(["--idle-timeout", "soon"]);
    fails(&Process::run(command), &["--idle-timeout", "soon"]);
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("xchg.toml");
    std::fs::write(&path, "listen = [\"127.0.0.2:0\"]\n").unwrap();
    for (env, flag, expected) in [
        (None, None, "127.0.0.2:"),
        (Some("127.0.0.3:0"), None, "127.0.0.3:"),
        (Some("127.0.0.3:0"), Some("127.0.0.4:0"), "127.0.0.4:"),
        (None, Some("127.0.0.4:0"), "127.0.0.4:"),
    ] {
        let mut command = Process::command();
        command.env("XCHG_CONFIG", &path);
        if let Some(listen) = env {
            command.env("XCHG_LISTEN", listen);
        }
        if let Some(listen) = flag {
            command.args(["--listen", listen]);
        }
        let line = Process::spawn(command).line();
        assert!(line.starts_with(expected), "{line} is not {expected}, with {env:?}, {flag:?}");
    }
}

#[test]
fn the_environment_may_name_several_listeners() {
    let mut command = Process::command();
    command.env("XCHG_LISTEN", "127.0.0.1:0,dialects=http,public;127.0.0.2:0");
    let mut process = Process::spawn(command);
    let lines = [process.line(), process.line()];
    assert!(lines[0].starts_with("127.0.0.1:") && lines[1].starts_with("127.0.0.2:"), "{lines:?}");
    for (listen, part) in [
        ("127.0.0.1:0,127.0.0.2:0", "put `;` between"),
        ("127.0.0.1:0,dialects=http,native", "dialects=NAME+NAME"),
    ] {
        let mut command = Process::command();
        command.env("XCHG_LISTEN", listen);
        fails(&Process::run(command), &["XCHG_LISTEN", part]);
    }
}

#[test]
fn the_token_is_not_shown_in_the_help() {
    let mut command = Process::command();
    command.env("XCHG_TOKEN", "hush").arg("--help");
    let exit = Process::run(command);
    assert_eq!(exit.status.code(), Some(0));
    let help = exit.stdout.join("\n");
    assert!(help.contains("XCHG_TOKEN") && !help.contains("hush"), "{help}");
}

/// What a server logs about an exchange under the key `swordfsh`, and about its end.
fn logs(args: &[&str]) -> String {
    let (process, address) = Process::start(args);
    exchange_under(address, "swordfsh");
    process.signal(Signal::TERM);
    let exit = process.wait();
    assert_eq!(exit.status.code(), Some(0), "{}", exit.stderr);
    exit.stderr
}

fn exchange_under(address: SocketAddr, key: &str) {
    let downloader = Peer::classic(address, b'G', key);
    drop(Peer::classic(address, b'P', key).send_all(b"fish"));
    assert_eq!(downloader.whole(), b"fish");
}

#[test]
fn json_logs_are_json() {
    let stderr = logs(&["--log-format", "json", "--log-level", "debug"]);
    let messages: Vec<String> = stderr
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["message"].as_str().unwrap().to_owned()
        })
        .collect();
    for expected in ["listening", "matched", "ended", "drained"] {
        assert!(messages.iter().any(|message| message == expected), "{expected} in {messages:?}");
    }
}

#[test]
fn keys_are_logged_only_if_asked_for() {
    for format in ["text", "json"] {
        let args = ["--log-level", "debug", "--log-format", format];
        let hidden = logs(&args);
        assert!(hidden.contains("matched") && !hidden.contains("swordfsh"), "{hidden}");
        let shown = logs(&[&args[..], &["--log-keys"]].concat());
        assert!(shown.contains("swordfsh"), "{shown}");
    }
}

#[test]
fn nothing_is_logged_when_logging_is_off() {
    assert_eq!(logs(&["--log-level", "off"]), "");
}
