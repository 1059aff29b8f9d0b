//! `health` and `top` in TLS: at the peers' port, and at an admin listener behind a proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use xchg_server::Config;

use super::start;
use crate::common::{Authority, Exit, InProcess, Process, config};

fn run(args: &[&str]) -> Exit {
    let mut command = Process::command();
    command.args(args);
    Process::run(command)
}

fn assert_well(args: &[&str]) {
    let exit = run(args);
    assert_eq!(exit.status.code(), Some(0), "{args:?}: {exit:?}");
    assert_eq!(exit.stderr, "");
}

fn assert_fails(args: &[&str], parts: &[&str]) {
    let exit = run(args);
    assert_eq!(exit.status.code(), Some(1), "{args:?}: {exit:?}");
    assert!(parts.iter().all(|part| exit.stderr.contains(part)), "{parts:?}: {exit:?}");
    assert_eq!(exit.stderr.lines().count(), 1, "{exit:?}");
}

fn path(authority: &Authority, name: &str) -> String {
    authority.path(name).display().to_string()
}

fn certificate(authority: &Authority) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(authority.path("cert.pem")).unwrap()
}

/// A server that is for TLS only, and where that is.
fn serve(authority: &Authority, more: Config) -> (InProcess, String) {
    let listen = vec!["127.0.0.1:0,tls=required".parse().unwrap()];
    let server = InProcess::start(authority.certify(Config { listen, ..more }));
    let url = format!("https://localhost:{}", server.address().port());
    (server, url)
}

#[test]
fn health_asks_a_port_that_is_for_tls_only() {
    let authority = Authority::new();
    let (server, url) = serve(&authority, config());
    let (root, own) = (path(&authority, "root.pem"), path(&authority, "cert.pem"));
    let hash = Sha256::digest(certificate(&authority));
    let pin: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    let with_colons = pin.join(":");
    let pin = with_colons.replace(':', "").to_lowercase();
    assert_well(&["health", &url, "--ca", &root]);
    assert_well(&["health", &format!("{url}/healthz"), "--ca", &own]);
    assert_well(&["health", &url, "--pin", &pin]);
    assert_well(&["health", &url, "--pin", &with_colons]);
    let by_address = url.replace("localhost", "127.0.0.1");
    assert_well(&["health", &by_address, "--ca", &root]);

    assert_fails(&["health", &url], &["cannot be asked", "--ca", "--pin"]);
    assert_fails(&["health", &url, "--pin", &"0".repeat(64)], &["not the one of --pin"]);
    let bare = url.replace("https", "http");
    assert_fails(&["health", &bare], &["answers 426", "https"]);
    server.drain();
}

#[test]
fn health_says_what_is_wrong_with_a_certificate() {
    let authority = Authority::new();
    let root = path(&authority, "root.pem");
    let issue = |name: &str, until: i32| {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        authority.issue(params, "cert.pem", "key.pem");
    };
    issue("example.org", 2100);
    let (_server, url) = serve(&authority, config());
    assert_fails(&["health", &url, "--ca", &root], &["not for localhost", "--ca"]);
    // Whatever it is for, it is the one that is to be seen.
    assert_well(&["health", &url, "--ca", &path(&authority, "cert.pem")]);
    issue("localhost", 2002);
    let (_server, url) = serve(&authority, config());
    assert_fails(&["health", &url, "--ca", &root], &["has expired"]);
}

#[test]
fn health_shows_a_certificate_where_one_is_wanted() {
    let authority = Authority::new();
    let root = path(&authority, "root.pem");
    let params = CertificateParams::new(["health".to_owned()]).unwrap();
    authority.issue(params, "client.pem", "client-key.pem");
    let both = ["client.pem", "client-key.pem"]
        .map(|name| std::fs::read_to_string(authority.path(name)).unwrap());
    std::fs::write(authority.path("both.pem"), both.concat()).unwrap();
    let client_ca = Some(authority.path("root.pem"));
    let (_server, url) = serve(&authority, Config { client_ca, ..config() });
    assert_fails(&["health", &url, "--ca", &root], &["--cert"]);
    assert_well(&["health", &url, "--ca", &root, "--cert", &path(&authority, "both.pem")]);
    let alone = path(&authority, "client.pem");
    assert_fails(&["health", &url, "--ca", &root, "--cert", &alone], &["--cert", "no private key"]);
}

#[test]
fn health_says_why_there_is_no_tls() {
    let authority = Authority::new();
    let root = path(&authority, "root.pem");
    let server = InProcess::default();
    let url = format!("https://localhost:{}", server.address().port());
    assert_fails(&["health", &url, "--ca", &root], &["no TLS is spoken there", "http://"]);
    // One who takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    assert_fails(&["health", &url, "--ca", &root], &["no answer in 5 seconds"]);
    assert_fails(&["health", &url, "--ca", "/none"], &["--ca /none: No such file"]);
    let key = path(&authority, "key.pem");
    assert_fails(&["top", &url, "--ca", &key], &["--ca ", "no certificate"]);
    for wrong in ["", "abc", &"g".repeat(64), &"0".repeat(66)] {
        let exit = run(&["health", &url, "--pin", wrong]);
        assert_eq!(exit.status.code(), Some(2), "{exit:?}");
        assert!(exit.stderr.contains("64 hexadecimal digits"), "{exit:?}");
    }
}

/// A proxy that ends TLS before `admin`; gives where it is.
fn proxy(authority: &Authority, admin: SocketAddr) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_file(authority.path("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate(authority)], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut client = StreamOwned::new(connection, client.unwrap());
            let (mut asked, mut byte) = (Vec::new(), [0]);
            while !asked.ends_with(b"\r\n\r\n") {
                client.read_exact(&mut byte).unwrap();
                asked.extend(byte);
            }
            let mut server = TcpStream::connect(admin).unwrap();
            server.write_all(&asked).unwrap();
            std::io::copy(&mut server, &mut client).unwrap();
            client.conn.send_close_notify();
            client.flush().unwrap();
        }
    });
    address
}

#[test]
fn top_shows_a_server_behind_a_proxy_with_tls() {
    let authority = Authority::new();
    let (_server, admin) = start();
    let url = format!("https://{}", proxy(&authority, admin));
    let exit = run(&["top", &url, "--once", "--ca", &path(&authority, "root.pem")]);
    assert_eq!(exit.status.code(), Some(0), "{exit:?}");
    assert!(exit.stdout[0].starts_with("xchg-server "), "{exit:?}");
}
