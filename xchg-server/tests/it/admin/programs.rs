//! The commands that look at a server: `health` and `top`.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use xchg_core::Side;
use xchg_core::wire::Token;
use xchg_server::Config;

use super::{serve, start, unix};
use crate::common::{DEADLINE, Exit, InProcess, Peer, Process, config, eventually};

fn run_with(args: &[&str], variables: &[(&str, &str)]) -> Exit {
    let mut command = Process::command();
    command.args(args).envs(variables.iter().copied());
    Process::run(command)
}

fn run(args: &[&str]) -> Exit {
    run_with(args, &[])
}

#[test]
fn health_says_how_a_server_is_at_its_port_and_at_its_admin_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin");
    let admin = vec!["127.0.0.1:0".parse().unwrap(), unix(&path)];
    let server = InProcess::start(Config { admin, ..config() });
    let tcp = crate::common::tcp(&server.admin_addresses()[0]).to_string();
    let (peers, path) = (server.address().to_string(), format!("unix:{}", path.display()));
    let places = [
        (format!("http://{peers}"), "ok"),
        (format!("http://{peers}/healthz"), "ok"),
        (peers.clone(), "ok"),
        (tcp.clone(), "ok"),
        (format!("http://{tcp}/readyz"), "ready"),
        (path.clone(), "ok"),
    ];
    for (place, word) in &places {
        let exit = run(&["health", place]);
        assert_eq!(exit.status.code(), Some(0), "{exit:?}");
        assert_eq!(exit.stdout, [format!("{place} answers 200: {word}")]);
        assert_eq!(exit.stderr, "");
    }

    let _runs = (
        Peer::native(server.address(), Side::Upload, "runs").waits(),
        Peer::native(server.address(), Side::Download, "runs"),
    );
    server.next_exchange();
    server.drain();
    eventually("it drains", || server.counts().draining);
    let exit = run(&["health", &format!("http://{tcp}/readyz")]);
    assert_eq!(exit.status.code(), Some(1));
    let said = format!("xchg-server: http://{tcp}/readyz answers 503: draining\n");
    assert_eq!((exit.stdout.len(), exit.stderr), (0, said));
    assert!(run(&["health", &path]).status.success(), "it lives");
}

#[test]
fn health_says_why_a_server_cannot_be_asked() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let exit = run(&["health", &nobody]);
    assert_eq!(exit.status.code(), Some(1), "{exit:?}");
    assert!(exit.stderr.contains(&format!("{nobody} cannot be asked: Connection refused")));
    let exit = run(&["health", "unix:/nowhere/admin"]);
    assert_eq!(exit.status.code(), Some(1));
    assert!(exit.stderr.contains("unix:/nowhere/admin cannot be asked: No such file"), "{exit:?}");
    // One who takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let exit = run(&["health", &silent.local_addr().unwrap().to_string()]);
    assert_eq!(exit.status.code(), Some(1));
    assert!(exit.stderr.contains("no answer in 5 seconds"), "{exit:?}");
    for mistaken in ["https://", "localhost", "unix:", "http://"] {
        let exit = run(&["health", mistaken]);
        assert_eq!(exit.status.code(), Some(2), "{exit:?}");
        assert!(exit.stderr.contains("<URL>"), "{exit:?}");
    }
}

#[test]
fn the_token_opens_the_admin_listener_to_both() {
    let token = Some(Token::parse(b"s3cret").unwrap());
    let (_server, admin) = serve(Config { token, ..config() });
    let admin = admin.to_string();
    for command in ["health", "top"] {
        for token in [&[][..], &[("XCHG_TOKEN", "wrong")]] {
            let exit = run_with(&[command, &admin], token);
            assert_eq!(exit.status.code(), Some(1), "{exit:?}");
            assert!(exit.stderr.contains("answers 401"), "{exit:?}");
        }
        let exit = run_with(&[command, &admin], &[("XCHG_TOKEN", "s3cret")]);
        assert_eq!(exit.status.code(), Some(0), "{exit:?}");
        assert!(run(&[command, &admin, "--token", "s3cret"]).status.success());
    }
}

#[test]
fn a_server_that_is_configured_wrong_can_be_looked_at_and_flags_of_the_server_cannot_be_mixed_in() {
    let (_server, admin) = start();
    let admin = admin.to_string();
    let mistaken = [("XCHG_CONFIG", "/nowhere"), ("XCHG_WORKERS", "many"), ("XCHG_ADMIN", "x")];
    let listening = [("XCHG_LISTEN", "127.0.0.1:1"), ("XCHG_LOG_LEVEL", "debug")];
    for variables in [&mistaken[..], &listening] {
        let exit = run_with(&["health", &admin], variables);
        assert_eq!(exit.status.code(), Some(0), "{exit:?}");
    }
    let exit = run(&["--workers", "1", "health", &admin]);
    assert_eq!(exit.status.code(), Some(2), "{exit:?}");
    assert!(exit.stderr.contains("cannot be used with"), "{exit:?}");
}

#[test]
fn top_prints_one_table_where_nobody_watches() {
    let (server, admin) = start();
    let mut downloader = Peer::native(server.address(), Side::Download, "listed").waits();
    let mut uploader = Peer::classic(server.address(), b'P', "listed");
    uploader.send(&[0; 2048]);
    downloader.matched();
    downloader.read(2048);
    let _waits = Peer::native(server.address(), Side::Download, "waits").waits();
    let mut lines = Vec::new();
    eventually("what was moved is told", || {
        let exit = run(&["top", "--once", &admin.to_string()]);
        assert_eq!((exit.status.code(), &*exit.stderr), (Some(0), ""), "{exit:?}");
        lines = exit.stdout;
        lines[2].contains("2.00 KiB moved")
    });
    let title = format!("xchg-server {}, up ", env!("CARGO_PKG_VERSION"));
    assert!(lines[0].starts_with(&title) && lines[0].ends_with(": well"), "{lines:?}");
    let peers = "1 exchanging, 1 waiting (plain 1, sealed 0, transit 0); 3 of ";
    assert!(lines[1].starts_with(peers), "{lines:?}");
    assert!(lines[2].starts_with("0 completed, 0 failed, 0 refused; "), "{lines:?}");
    assert_eq!(lines.len(), 6, "{lines:?}");
    let row: Vec<_> = lines[5].split_whitespace().collect();
    assert_eq!((row[0], &row[2..7]), ("1", &["plain", "classic", "native", "2.00", "KiB"][..]));
    let exit = run(&["top", &format!("http://{}", server.address())]);
    assert_eq!(exit.status.code(), Some(1), "the peers' port is none: {exit:?}");
}

/// Runs `top` in a terminal until the keys are pressed, and gives what the terminal was sent.
fn in_a_terminal(admin: SocketAddr, keys: &[u8], shown: impl Fn(&str) -> bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let typescript = folder.path().join("typescript");
    let binary = env!("CARGO_BIN_EXE_xchg-server");
    // What the terminal is set to afterwards must be what it was.
    let line =
        format!("stty rows 20 cols 100; stty -g; {binary} top {admin}; echo status=$?; stty -g");
    let mut script = Command::new("script")
        .args(["-qfc", &line])
        .arg(&typescript)
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let said =
        || String::from_utf8_lossy(&std::fs::read(&typescript).unwrap_or_default()).into_owned();
    let began = std::time::Instant::now();
    while !shown(&said()) {
        assert!(began.elapsed() < DEADLINE, "{}", said());
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    script.stdin.as_mut().unwrap().write_all(keys).unwrap();
    eventually("it ends", || script.try_wait().unwrap().is_some());
    said()
}

#[test]
#[ignore = "needs script, of Debian's bsdutils"]
fn top_follows_a_server_in_a_terminal_and_gives_it_back() {
    for key in [b"q", b"\x03"] {
        let (server, admin) = start();
        let waits = std::cell::RefCell::new(Vec::new());
        let said = in_a_terminal(admin, key, |said| {
            if said.contains("0 waiting") && waits.borrow().is_empty() {
                // It comes into sight by itself.
                waits.borrow_mut().push(Peer::native(server.address(), Side::Upload, "a").waits());
            }
            said.contains("1 waiting (plain 1")
        });
        let (before, after) =
            (said.find("\x1b[?1049h\x1b[?25l"), said.find("\x1b[?25h\x1b[?1049l"));
        assert!(before.is_some() && before < after, "{said:?}");
        assert!(said.contains("status=0"), "{said:?}");
        // As `stty -g` writes it: numbers between colons.
        let settings: Vec<&str> =
            said.lines().map(str::trim).filter(|line| line.matches(':').count() > 10).collect();
        assert_eq!(settings.len(), 2, "{said:?}");
        assert_eq!(settings[0], settings[1], "the terminal is as it was");
    }
}
