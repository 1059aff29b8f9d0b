//! Certificates of the server, which change, and of clients, which are shown.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rcgen::{CertificateParams, DistinguishedName, DnType};
use rustls::ClientConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use xchg_server::{Config, Server};

use super::{World, finish, listening};
use crate::common::{
    Authority, InProcess, Peer, Process, TlsStream, classic_greeting, eventually, payload, tls,
};

#[test]
fn only_who_shows_a_certificate_is_served_where_one_is_wanted() {
    let authority = Authority::new();
    let params = CertificateParams::new(["somebody".to_owned()]).unwrap();
    authority.issue(params, "client.pem", "client-key.pem");
    let config = Config {
        client_ca: Some(authority.path("root.pem")),
        ..authority.certify(listening("tls=required"))
    };
    let server = InProcess::start(config);
    for (identity, is_served) in [(None, false), (Some(("client.pem", "client-key.pem")), true)] {
        let mut stream = tls(server.address(), &authority.client_showing(identity));
        let asked = stream.write_all(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answered = asked.and_then(|()| stream.read_to_string(&mut String::new()));
        assert_eq!(answered.is_ok(), is_served);
    }
}

/// The lines of the log with that message.
fn lines(process: &Process, message: &str) -> Vec<Value> {
    let text = process.stderr();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

#[test]
fn the_log_calls_peers_what_their_certificates_do() {
    let authority = Authority::new();
    let client = |name: &str| {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        authority.issue(params, "client.pem", "client-key.pem");
        authority.client_showing(Some(("client.pem", "client-key.pem")))
    };
    let (anna, ben) = (client("anna"), client("ben\n\"upload_certificate\":\"anna\",\u{202e}"));
    let path = |name: &str| authority.path(name).display().to_string();
    let (root, certificate, key) = (path("root.pem"), path("cert.pem"), path("key.pem"));
    let args = ["--client-ca", &root, "--tls-cert", &certificate, "--tls-key", &key];
    let (process, address) = Process::start(&[&args, &["--log-format", "json"][..]].concat());
    let saying = |client: &Arc<ClientConfig>, bytes: &[u8]| {
        let mut stream = tls(address, client);
        stream.write_all(bytes).unwrap();
        stream
    };
    let rest = |mut stream: TlsStream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        heard
    };
    let shown_ben = "ben\\n\\u{22}upload_certificate\\u{22}:\\u{22}anna\\u{22}\\u{2c}\\u{202e}";

    // The second time the session is resumed.
    for count in 1..=2 {
        let mut upload = saying(&anna, &classic_greeting(b'P', "key"));
        upload.write_all(b"payload").unwrap();
        finish(&mut upload);
        assert_eq!(Peer::classic(address, b'G', "key").whole(), b"payload");
        assert_eq!(rest(upload), b"");
        eventually("it is logged", || lines(&process, "ended").len() == count);
        let line = lines(&process, "ended").remove(count - 1);
        assert_eq!(line["upload_certificate"], "anna", "{line}");
        assert_eq!(line.get("download_certificate"), None, "{line}");
    }

    let get = b"GET /two?n=2 HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let (one, other) = (saying(&anna, get), saying(&ben, get));
    let put = b"PUT /two?n=2 HTTP/1.0\r\nHost: localhost\r\nContent-Length: 7\r\n\r\npayload";
    let upload = saying(&ben, put);
    assert!([one, other].map(rest).iter().all(|heard| heard.ends_with(b"payload")));
    rest(upload);
    eventually("it is logged", || lines(&process, "ended").len() == 3);
    let line = lines(&process, "ended").remove(2);
    assert_eq!(line["upload_certificate"], shown_ben, "{line}");
    let both = line["download_certificate"].as_str().unwrap();
    assert!([format!("anna,{shown_ben}"), format!("{shown_ben},anna")].contains(&both.into()));

    rest(saying(&anna, b"BREW / HTTP/1.0\r\nHost: localhost\r\n\r\n"));
    eventually("it is logged", || !lines(&process, "refused").is_empty());
    assert_eq!(lines(&process, "refused")[0]["certificate"], "anna");
}

#[test]
fn who_has_not_the_key_of_a_certificate_is_not_called_by_it() {
    let authority = Authority::new();
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "anna");
    authority.issue(params, "client.pem", "client-key.pem");
    let path = |name: &str| authority.path(name).display().to_string();
    let (root, certificate, key) = (path("root.pem"), path("cert.pem"), path("key.pem"));
    let args = ["--client-ca", &root, "--tls-cert", &certificate, "--tls-key", &key];
    let (process, address) = Process::start(&[&args, &["--log-format", "json"][..]].concat());
    // Certificates are no secret: everybody may have anna's, and sign with a key of his own.
    let shown = CertificateDer::from_pem_file(authority.path("client.pem")).unwrap();
    let own = PrivateKeyDer::from_pem_file(authority.path("key.pem")).unwrap();
    let own = rustls::crypto::ring::sign::any_ecdsa_type(&own).unwrap();
    let mut liar = (*authority.client()).clone();
    let identity = SingleCertAndKey::from(CertifiedKey::new(vec![shown], own));
    liar.client_auth_cert_resolver = Arc::new(identity);
    let mut stream = tls(address, &Arc::new(liar));
    let asked = stream.write_all(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(asked.and_then(|()| stream.read_to_end(&mut Vec::new())).is_err());
    eventually("it is logged", || !lines(&process, "refused").is_empty());
    assert_eq!(lines(&process, "refused")[0]["text"], "its handshake has failed");
    assert!(!process.stderr().contains("anna"), "{}", process.stderr());
}

#[test]
fn people_read_the_same_in_the_log() {
    let authority = Authority::new();
    let mut params = CertificateParams::new(["build.example.org".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    authority.issue(params, "client.pem", "client-key.pem");
    let path = |name: &str| authority.path(name).display().to_string();
    let (root, certificate, key) = (path("root.pem"), path("cert.pem"), path("key.pem"));
    let args = ["--client-ca", &root, "--tls-cert", &certificate, "--tls-key", &key];
    let (process, address) = Process::start(&args);
    let client = authority.client_showing(Some(("client.pem", "client-key.pem")));
    let mut download = tls(address, &client);
    download.write_all(&classic_greeting(b'G', "key")).unwrap();
    drop(Peer::classic(address, b'P', "key").send_all(b"payload"));
    download.read_to_end(&mut Vec::new()).unwrap();
    let named = " download_certificate=\"build.example.org\" ";
    eventually("it is logged", || process.stderr().contains(named));
}

/// The certificate that newcomers are shown.
fn shown(world: &World) -> Vec<u8> {
    let mut fresh = (*world.client).clone();
    fresh.resumption = rustls::client::Resumption::disabled();
    let mut stream = tls(world.address(), &Arc::new(fresh));
    stream.write_all(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// What happens to a server meanwhile: an exchange each 5 milliseconds, or as soon after that as
/// this machine can.
struct Load {
    begun: AtomicU64,
    ended: AtomicU64,
    /// Ends it, once nobody is left who could send.
    stops: Receiver<()>,
    /// The certificates that downloaders have been shown.
    shown: Mutex<BTreeSet<Vec<u8>>>,
}

impl Load {
    const PACE: Duration = Duration::from_millis(5);

    fn run(&self, world: &World, started: Instant) {
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let due = started + Self::PACE * u32::try_from(number).unwrap();
            if self.stops.recv_deadline(due) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            let (key, sent) = (format!("{number}"), payload(number, 2000));
            let mut upload = world.saying(&classic_greeting(b'P', &key));
            upload.write_all(&sent).unwrap();
            finish(&mut upload);
            let mut heard = Vec::new();
            let mut download = world.saying(&classic_greeting(b'G', &key));
            download.read_to_end(&mut heard).unwrap();
            assert!(heard == sent, "{number}: {} bytes", heard.len());
            let certificate = download.conn.peer_certificates().unwrap()[0].to_vec();
            self.shown.lock().unwrap().insert(certificate);
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for a hundred more exchanges.
    fn goes_on(&self) {
        let before = self.ended.load(Ordering::Relaxed);
        eventually("it goes on", || self.ended.load(Ordering::Relaxed) >= before + 100);
    }
}

#[test]
fn certificates_are_replaced_under_load_without_a_failure() {
    let world = World::default();
    let (running, stops) = crossbeam_channel::bounded(0);
    let load =
        Load { begun: AtomicU64::new(0), ended: AtomicU64::new(0), stops, shown: Mutex::default() };
    let started = Instant::now();
    let mut certificates = vec![shown(&world)];
    thread::scope(|scope| {
        // Dropped whatever becomes of the test, which waits for the load's threads.
        let _running = running;
        (0..8).for_each(|_| drop(scope.spawn(|| load.run(&world, started))));
        for reloads in 1..=3 {
            load.goes_on();
            world.authority.renew();
            eventually("it is taken", || world.server.stats().tls_reloads == reloads);
            certificates.push(shown(&world));
        }
        load.goes_on();
        // A broken one changes nothing, and is told once it has stayed.
        std::fs::write(world.authority.path("cert.pem"), "nonsense").unwrap();
        eventually("the failure is counted", || world.server.stats().tls_reload_failures == 1);
        assert!(world.server.stats().tls_is_outdated);
        assert_eq!(shown(&world), certificates[3]);
        load.goes_on();
        world.authority.renew();
        eventually("it is taken", || world.server.stats().tls_reloads == 4);
        certificates.push(shown(&world));
        load.goes_on();
    });
    // Newcomers have seen each of them, and nothing else.
    let stats = world.server.stats();
    assert_eq!((stats.tls_reloads, stats.tls_reload_failures), (4, 1));
    assert!(stats.tls_expires.is_some() && !stats.tls_is_outdated);
    let all: BTreeSet<_> = certificates.into_iter().collect();
    assert!(all.len() == 5 && *load.shown.lock().unwrap() == all);
    let ended = load.ended.load(Ordering::Relaxed);
    world.server.await_counts("all have ended", |counts| counts.completed == ended);
    assert_eq!((world.server.counts().failed, stats.tls_handshake_failures), (0, 0));
    println!("{:.0} exchanges a second", ended as f64 / started.elapsed().as_secs_f64());
}

#[test]
fn what_needs_a_certificate_says_so() {
    let config = Config { client_ca: Some("ca.pem".into()), ..listening("tls=required") };
    let problems: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("listen: `127.0.0.1:0,tls=required`: "), "{problems:?}");
    assert!(problems[1].starts_with("client-ca: it needs a certificate"), "{problems:?}");
    assert!(problems.iter().all(|problem| problem.contains("--tls-cert")), "{problems:?}");
    assert!(Server::bind(config).is_err());
    let authority = Authority::new();
    let nowhere = authority.certify(listening("tls=off"));
    assert!(nowhere.problems()[0].to_string().contains("no address takes TLS"));
}
