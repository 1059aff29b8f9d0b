//! Three servers behind real HAProxy, which chooses by the key: the configuration of
//! docs/several-servers.md.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use xchg_core::wire::Offer;
use xchg_core::{Key, Realm, Side};
use xchg_server::Config;

use crate::common::{InProcess, Peer, config, eventually, payload};
use crate::outside_proxies::{free_address, run_haproxy};

const DOCS: &str = include_str!("../../../docs/several-servers.md");

/// Three servers, and the proxy before them.
struct Cluster {
    servers: Vec<InProcess>,
    haproxy: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.haproxy.kill().ok();
        self.haproxy.wait().ok();
    }
}

impl Cluster {
    fn start() -> Self {
        let proxied = || Config { listen: vec!["127.0.0.1:0,proxy".parse().unwrap()], ..config() };
        let servers: Vec<InProcess> = (0..3).map(|_| InProcess::start(proxied())).collect();
        let (_, rest) = DOCS.split_once("```haproxy\n").unwrap();
        let mut sample = rest.split_once("```").unwrap().0.to_owned();
        let address = free_address();
        sample = sample.replace("PROXY", &address.port().to_string());
        for (name, server) in ["FIRST", "SECOND", "THIRD"].iter().zip(&servers) {
            sample = sample.replace(name, &server.address().port().to_string());
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, sample).unwrap();
        let haproxy =
            run_haproxy(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let cluster = Self { servers, haproxy, address, _folder: folder };
        eventually("the proxy listens", || std::net::TcpStream::connect(address).is_ok());
        cluster
    }

    fn counts(&self, of: impl Fn(&xchg_core::Counts) -> u64) -> u64 {
        self.servers.iter().map(|server| of(&server.counts())).sum()
    }

    /// Has both do their part, the first as soon as it comes, the second once that waits. Gives
    /// what the downloader got.
    fn meet(
        &self,
        uploads_first: bool,
        up: impl FnOnce() + Send,
        down: impl FnOnce() -> Vec<u8> + Send,
    ) -> Vec<u8> {
        let waits = || eventually("the first waits", || self.counts(|counts| counts.waiting) == 1);
        thread::scope(|scope| {
            if uploads_first {
                let up = scope.spawn(up);
                waits();
                let got = down();
                up.join().unwrap();
                got
            } else {
                let down = scope.spawn(down);
                waits();
                up();
                down.join().unwrap()
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Native,
    Classic,
    Curl,
}

fn curl(url: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut curl = Command::new("curl")
        .args(["-sSf", "--max-time", "60"])
        .args(args)
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = curl.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut stdin, input));
        let output = curl.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    })
}

impl Speaks {
    /// `in_url` is the key as a URL has it.
    fn upload(self, address: SocketAddr, key: &str, in_url: &str, file: &[u8]) {
        match self {
            Self::Native => {
                let mut peer = Peer::native(address, Side::Upload, key);
                peer.matched();
                peer.send_all(file).rest().unwrap();
            }
            Self::Classic => drop(Peer::classic(address, b'P', key).send_all(file)),
            Self::Curl => drop(curl(&format!("http://{address}/{in_url}"), &["-T", "-"], file)),
        }
    }

    fn download(self, address: SocketAddr, key: &str, in_url: &str) -> Vec<u8> {
        match self {
            Self::Native => {
                let mut peer = Peer::native(address, Side::Download, key);
                peer.matched();
                peer.whole()
            }
            Self::Classic => Peer::classic(address, b'G', key).whole(),
            Self::Curl => curl(&format!("http://{address}/{in_url}"), &[], b""),
        }
    }
}

#[test]
#[ignore = "needs curl and haproxy"]
fn peers_of_a_key_meet_at_one_of_three_servers_whatever_they_speak() {
    let cluster = Cluster::start();
    let address = cluster.address;
    let all = [Speaks::Native, Speaks::Classic, Speaks::Curl];
    let mut exchanges = 0;
    for (number, (up, down)) in all.iter().flat_map(|up| all.map(|down| (*up, down))).enumerate() {
        for (key, in_url) in [("plain", "plain"), ("a b", "a%20b"), ("é+%", "%C3%A9+%25")] {
            for uploads_first in [true, false] {
                exchanges += 1;
                let (key, in_url) = (format!("{key}{number}"), format!("{in_url}{number}"));
                let file = payload(exchanges, 300_000);
                let got = cluster.meet(
                    uploads_first,
                    || up.upload(address, &key, &in_url, &file),
                    || down.download(address, &key, &in_url),
                );
                assert!(got == file, "{up:?} to {down:?}, {key:?}, {uploads_first}");
            }
        }
    }
    eventually("all have ended", || cluster.counts(|counts| counts.completed) == exchanges);
    for server in &cluster.servers {
        assert!(server.counts().completed > 0, "each has its share");
    }
}

#[test]
#[ignore = "needs haproxy"]
fn sealed_and_transit_peers_meet_there_too() {
    let cluster = Cluster::start();
    let address = cluster.address;
    for number in 0..12 {
        let file = payload(number, 100_000);
        let offer = |side| {
            let key = Key::parse(payload(1000 + number, 32).as_slice()).unwrap();
            Peer::offering(address, Offer::new(Realm::Sealed, side, key))
        };
        let got = cluster.meet(
            number % 2 == 0,
            || {
                let mut peer = offer(Side::Upload);
                peer.matched();
                peer.send_all(&file).rest().unwrap();
            },
            || {
                let mut peer = offer(Side::Download);
                peer.matched();
                peer.whole()
            },
        );
        assert!(got == file, "sealed, {number}");

        let token: String = payload(number, 32).iter().map(|byte| format!("{byte:02x}")).collect();
        let asks = |side: &str| {
            let mut peer =
                Peer::saying(address, format!("please relay {token} for side {side}\n").as_bytes());
            assert_eq!(peer.read(3), b"ok\n");
            peer
        };
        let got = cluster.meet(
            number % 2 == 0,
            || drop(asks("0123456789abcdef").send_all(&file)),
            || asks("fedcba9876543210").whole(),
        );
        assert!(got == file, "transit, {number}");
    }
}
