//! Who is kept from the admin listener, and what becomes of those who misuse it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use xchg_core::Side;
use xchg_core::wire::Token;
use xchg_server::{Config, Error, Server};

use super::{Page, ask, ask_unix, ask_with, connect, metrics, request, serve, start, unix};
use crate::common::{InProcess, Peer, Process, config, eventually, loopback};

#[test]
fn whoever_does_not_bear_the_token_is_refused_and_counted() {
    let token = Some(Token::parse(b"s3cret").unwrap());
    let (_server, admin) = serve(Config { token, ..config() });
    let bear = |token: &str| format!("Authorization: {token}\r\n");
    for (fields, method, path) in [
        ("".to_owned(), "GET", "/metrics"),
        ("".to_owned(), "GET", "/healthz"),
        ("".to_owned(), "POST", "/drain"),
        (bear("Bearer"), "GET", "/metrics"),
        (bear("Bearer "), "GET", "/metrics"),
        (bear("Bearer s3cre"), "POST", "/drain"),
        (bear("Bearer s3cret0"), "GET", "/exchanges"),
        (bear("Bearer S3cret"), "GET", "/metrics"),
        // `anna:s3cret`: the password of a browser's, which any page could have it send.
        (bear("Basic YW5uYTpzM2NyZXQ="), "POST", "/drain"),
        (bear("s3cret"), "GET", "/metrics"),
    ] {
        let page = ask_with(admin, method, path, &fields);
        assert_eq!(page.status, 401, "{fields:?} {page:?}");
        assert!(page.head.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{page:?}");
    }
    let mut metrics = None;
    for fields in [bear("Bearer s3cret"), bear("bearer  s3cret ")] {
        let page = ask_with(admin, "GET", "/metrics", &fields);
        metrics = Some(page.metrics());
    }
    let metrics = metrics.unwrap();
    assert_eq!(metrics["xchg_admin_requests_total{status=\"401\"}"], 10.0);
    assert_eq!(metrics["xchg_draining"], 0.0);
}

#[test]
fn web_pages_are_kept_out_on_this_machine_whatever_is_allowed_to_peers() {
    let allow_origins = vec!["*".parse().unwrap()];
    let (_server, admin) = serve(Config { allow_origins, ..config() });
    for (host, fields) in [
        ("localhost", "Origin: https://evil.example\r\n"),
        ("localhost", "Origin: null\r\n"),
        ("localhost", "Sec-Fetch-Site: cross-site\r\n"),
        ("localhost", "Sec-Fetch-Site: same-site\r\n"),
        ("evil.example", ""),
        ("192.168.1.2", ""),
    ] {
        let request = format!("POST /drain HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        let page = Page::of(connect(admin), request.as_bytes());
        assert_eq!(page.status, 403, "{host} {fields}");
        assert!(!page.head.contains("Access-Control-Allow-Origin"), "{page:?}");
    }
    let metrics = metrics(admin);
    assert_eq!(metrics["xchg_admin_requests_total{status=\"403\"}"], 6.0);
    assert_eq!(metrics["xchg_draining"], 0.0);
}

#[test]
fn a_unix_socket_is_for_its_user_alone_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin");
    let token = Some(Token::parse(b"s3cret").unwrap());
    for _ in 0..2 {
        let admin = vec![unix(&path)];
        let server = InProcess::start(Config { admin, token: token.clone(), ..config() });
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // The rights of the file say it all: no token is asked for.
        assert_eq!(ask_unix(&path, "GET", "/healthz").body, "ok\n");
        server.drain();
        server.join();
        assert!(!path.exists());
        // What a killed server leaves is taken over.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    }
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let admin = vec![address.parse().unwrap()];
        let mistaken = Config { admin: admin.clone(), ..config() };
        match Server::bind(mistaken) {
            Err(Error::Config { setting: "admin", why }) => {
                assert!(why.contains(address) && why.contains("XCHG_TOKEN"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        let mut command = Process::command();
        command.args(["--listen", "127.0.0.1:0", "--admin", address, "--check-config"]);
        let exit = Process::run(command);
        assert_eq!(exit.status.code(), Some(2));
        assert!(exit.stderr.contains(&format!("admin: others reach {address}")), "{exit:?}");
    }
    let token = Some(Token::parse(b"s3cret").unwrap());
    let admin = vec!["0.0.0.0:0".parse().unwrap()];
    drop(Server::bind(Config { admin, token, ..config() }).unwrap());
}

#[test]
fn an_address_that_is_taken_keeps_the_server_from_starting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = |extra: &[&str]| {
        let mut command = Process::command();
        command.args(["--listen", "127.0.0.1:0", "--admin", &address]).args(extra);
        Process::run(command)
    };
    let exit = run(&[]);
    assert_eq!(exit.status.code(), Some(2), "{exit:?}");
    for part in [&*address, "another server", "--admin"] {
        assert!(exit.stderr.contains(part), "{exit:?}");
    }
    let exit = run(&["--check-config"]);
    assert!(exit.stderr.contains(&format!("{address} is in use")), "{exit:?}");
}

#[test]
fn a_process_says_where_its_admin_listener_is() {
    let (process, _) = Process::start(&["--admin", "127.0.0.1:0", "--log-format", "json"]);
    eventually("the line is written", || process.stderr().contains("\"listening\""));
    let said = process.stderr();
    let line = said.lines().find(|line| line.contains("\"listening\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let admin = line["admin"].as_str().unwrap().parse().unwrap();
    assert_eq!(ask(admin, "GET", "/healthz").body, "ok\n");
    // Nor does a sandbox keep it from its own figures.
    let metrics = metrics(admin);
    assert!(metrics["process_open_fds"] > 5.0, "{metrics:?}");
    assert!(metrics["process_resident_memory_bytes"] > 1e6, "{metrics:?}");
}

#[test]
fn who_does_something_at_the_admin_listener_and_who_may_not_is_logged() {
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]);
    command.args(["--log-addresses", "truncated"]).env("XCHG_TOKEN", "s3cret");
    let (process, _) = Process::serve(command);
    let line = |part: &str| -> serde_json::Value {
        let mut found = None;
        eventually(part, || {
            let said = process.stderr();
            found = said.lines().find(|line| line.contains(part)).map(str::to_owned);
            found.is_some()
        });
        serde_json::from_str(&found.unwrap()).unwrap()
    };
    let admin = line("\"listening\"")["admin"].as_str().unwrap().parse().unwrap();
    assert_eq!(ask(admin, "POST", "/drain").status, 401);
    let refused = line("turned away at the admin listener");
    assert_eq!((&refused["peer"], &refused["level"]), (&"127.0.0.0/24".into(), &"WARN".into()));
    let bearer = "Authorization: Bearer s3cret\r\n";
    assert_eq!(ask_with(admin, "POST", "/drain", bearer).status, 202);
    assert_eq!(line("asked to drain the server")["peer"], "127.0.0.0/24");
    assert_eq!(process.wait().status.code(), Some(0));
}

#[test]
fn whoever_guesses_at_the_token_too_often_has_to_wait() {
    let token = Some(Token::parse(b"s3cret").unwrap());
    let (_server, admin) = serve(Config { token, ..config() });
    let ask = |token: &str| {
        let bearer = format!("Authorization: Bearer {token}\r\n");
        ask_with(admin, "GET", "/healthz", &bearer).status
    };
    assert_eq!(ask("s3cret"), 200);
    let wrong: Vec<_> = (0..12).map(|guess| ask(&guess.to_string())).collect();
    assert_eq!(wrong, [401; 12]);
    assert_eq!(ask("s3cret"), 401, "else nothing would bound the guesses");
}

#[test]
fn whoever_hangs_or_sends_garbage_holds_up_nobody() {
    let (server, admin) = start();
    let mut hanging: Vec<_> = (0..100).map(|_| connect(admin)).collect();
    for (index, connection) in hanging.iter_mut().enumerate() {
        // Those that had to make room for others are closed.
        let half = &request("GET", "/metrics", "")[..index % 30];
        connection.write_all(half).ok();
    }
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"GET /metrics\n\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"please relay",
        b"Gkey\0\0\0\0\0",
        &[b'x'; 100_000],
        &[0; 100_000],
    ] {
        let mut connection = connect(admin);
        // A reset is an answer, too: so much is not read to its end.
        connection.write_all(garbage).ok();
        connection.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).ok();
        assert!(
            answer.is_empty()
                || answer.starts_with(b"HTTP/1.1 4")
                || answer.starts_with(b"HTTP/1.1 5")
        );
    }
    // One that asks for much and reads nothing.
    let mut lazy = connect(admin);
    lazy.write_all(&request("GET", "/exchanges", "")).unwrap();
    for key in ["one", "two", "three"] {
        assert_eq!(ask(admin, "GET", "/healthz").status, 200);
        let mut downloader = Peer::native(server.address(), Side::Download, key).waits();
        drop(Peer::classic(server.address(), b'P', key).send_all(b"whole"));
        downloader.matched();
        assert_eq!(downloader.whole(), b"whole");
    }
    assert!(metrics(admin)["xchg_admin_requests_total{status=\"400\"}"] >= 2.0);
}

#[test]
fn one_who_says_nothing_is_closed_after_a_while() {
    let (_server, admin) = start();
    let mut silent = connect(admin);
    let mut slow = connect(admin);
    slow.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    for connection in [&mut silent, &mut slow] {
        // Each read has a deadline, which is later.
        assert_eq!(connection.read(&mut [0; 1]).ok(), Some(0));
    }
}

#[test]
fn several_addresses_may_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin");
    let admin = vec![loopback().address, unix(&path), loopback().address];
    let server = InProcess::start(Config { admin, ..config() });
    for index in [0, 2] {
        let address = crate::common::tcp(&server.admin_addresses()[index]);
        assert_eq!(ask(address, "GET", "/readyz").status, 200);
    }
    assert_eq!(ask_unix(&path, "GET", "/readyz").status, 200);
}
