//! A server is exchanged for another in the same process, and nobody who waits notices.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{
    Authority, DEADLINE, InProcess, Peer, TlsStream, classic_greeting, config, eventually,
    loopback, offer, payload, tls,
};
use crate::web::{Client, get, head, put};
use xchg_core::wire::{CounterpartDialect, RefusalCode, Wait};
use xchg_core::{Limits, Outcome, Realm, Side};
use xchg_server::{Config, ListenAddress, LogAddresses, Server, Waiters};

/// A server with other settings at the same address, as those who wait at `old` go on with it.
fn exchanged(old: &InProcess, config: Config) -> InProcess {
    goes_on(old, old.release(), config)
}

fn goes_on(old: &InProcess, waiters: Waiters, config: Config) -> InProcess {
    let listen = old.addresses().iter().cloned().map(Into::into).collect();
    let next = Server::bind(Config { listen, ..config }).unwrap();
    InProcess::of(next.start_with(waiters).unwrap())
}

fn transit(address: SocketAddr, token: usize, side: char) -> Peer {
    let side = side.to_string().repeat(16);
    Peer::saying(address, format!("please relay {token:064} for side {side}\n").as_bytes())
}

fn sealed(address: SocketAddr, side: Side, key: &str) -> Peer {
    let mut offer = offer(side, key);
    offer.realm = Realm::Sealed;
    offer.wait = Wait::AtMost(Duration::from_secs(3600));
    Peer::offering(address, offer)
}

/// Peers of every dialect that wait, each with what makes it whole.
struct Crowd {
    uploads: Vec<Peer>,
    downloads: Vec<Peer>,
    natives: Vec<Peer>,
    sealed: Vec<Peer>,
    transits: Vec<Peer>,
    posts: Vec<Client>,
    gets: Vec<Client>,
    secured: Vec<TlsStream>,
}

const EACH: usize = 15;

impl Crowd {
    fn wait(address: SocketAddr, authority: &Authority) -> Self {
        let client = authority.client();
        let all =
            |kind: &'static str| (0..EACH).map(move |index| (index, format!("{kind}{index}")));
        let half = |key: &str| {
            let head = head(&format!("PUT /{key}"), "Content-Length: 10\r\n");
            [head.as_bytes(), b"early"].concat()
        };
        Self {
            uploads: all("cu")
                .map(|(_, key)| {
                    let greeting = classic_greeting(b'P', &key);
                    Peer::saying(address, &[&greeting[..], b"early"].concat())
                })
                .collect(),
            downloads: all("cd").map(|(_, key)| Peer::classic(address, b'G', &key)).collect(),
            natives: all("na")
                .map(|(_, key)| Peer::native(address, Side::Download, &key).waits())
                .collect(),
            sealed: all("se").map(|(_, key)| sealed(address, Side::Upload, &key).waits()).collect(),
            transits: all("tr").map(|(index, _)| transit(address, index, 'a')).collect(),
            posts: all("hu").map(|(_, key)| Client::waiting(address, &half(&key))).collect(),
            gets: all("hd").map(|(_, key)| Client::saying(address, &get(&key))).collect(),
            secured: all("ts")
                .map(|(_, key)| {
                    let mut stream = tls(address, &client);
                    stream.write_all(&half(&key)).unwrap();
                    let mut told = Vec::new();
                    while !told.ends_with(b"receiver(s)...\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        told.push(byte[0]);
                    }
                    stream
                })
                .collect(),
        }
    }

    /// Each is paired, and gets or gives all of it.
    fn are_served(self, address: SocketAddr) {
        let key = |kind: &str, index: usize| format!("{kind}{index}");
        for (index, upload) in self.uploads.into_iter().enumerate() {
            let download = Peer::classic(address, b'G', &key("cu", index));
            drop(upload.send_all(b" late"));
            assert_eq!(download.whole(), b"early late");
        }
        for (index, download) in self.downloads.into_iter().enumerate() {
            let file = payload(index as u64, 1_000);
            drop(Peer::classic(address, b'P', &key("cd", index)).send_all(&file));
            assert_eq!(download.whole(), file);
        }
        for (index, mut download) in self.natives.into_iter().enumerate() {
            let mut upload = Peer::native(address, Side::Upload, &key("na", index));
            assert_eq!(upload.matched(), (CounterpartDialect::Native, None));
            assert_eq!(download.matched(), (CounterpartDialect::Native, None));
            drop(upload.send_all(b"native"));
            assert_eq!(download.whole(), b"native");
        }
        for (index, mut upload) in self.sealed.into_iter().enumerate() {
            let mut download = sealed(address, Side::Download, &key("se", index));
            download.matched();
            upload.matched();
            download.send(b"hello");
            assert_eq!(upload.read(5), b"hello");
        }
        for (index, mut first) in self.transits.into_iter().enumerate() {
            let mut second = transit(address, index, 'b').send_all(b"glued");
            assert_eq!((first.read(3), second.read(3)), (b"ok\n".to_vec(), b"ok\n".to_vec()));
            assert_eq!(first.whole(), b"glued");
        }
        for (index, mut upload) in self.posts.into_iter().enumerate() {
            let mut download = Client::saying(address, &get(&key("hu", index)));
            upload.send(b" late");
            assert_eq!(download.download(), b"early late");
            drop(download);
            upload.is_received();
        }
        for (index, mut download) in self.gets.into_iter().enumerate() {
            Client::saying(address, &put(&key("hd", index), b"for a page")).hears_of_waiting();
            assert_eq!(download.download(), b"for a page");
            // The connection goes on, too.
            download.send(&get("help"));
            assert_eq!(download.head().status, 200);
        }
        for (index, mut upload) in self.secured.into_iter().enumerate() {
            let mut download = Client::saying(address, &get(&key("ts", index)));
            upload.write_all(b" late").unwrap();
            assert_eq!(download.download(), b"early late");
            drop(download);
            let mut told = vec![0; 4096];
            let mut len = 0;
            while !String::from_utf8_lossy(&told[..len]).contains("received successfully") {
                len += upload.read(&mut told[len..]).unwrap();
            }
        }
    }
}

#[test]
fn peers_of_every_dialect_wait_on_at_another_server() {
    for (before, after) in [(3, 1), (1, 4)] {
        let authority = Authority::new();
        let limits = Limits { waiting_per_origin: Some(1_000), ..Limits::default() };
        let with = |workers| {
            let limited = Config { workers, limits, ..config() };
            authority.certify(Config { max_connections_per_source: Some(1_000), ..limited })
        };
        let old = InProcess::start(with(before));
        let address = old.address();
        let mut running = Peer::native(address, Side::Upload, "runs").waits();
        let mut receiving = Peer::native(address, Side::Download, "runs");
        receiving.matched();
        running.matched();
        let crowd = Crowd::wait(address, &authority);
        old.await_waiting(8 * EACH as u64);

        let new = exchanged(&old, with(after));
        assert_eq!((old.counts().waiting, new.counts().waiting), (0, 8 * EACH as u64));
        assert_eq!((old.stats().connections, new.stats().connections), (2, 8 * EACH as u64));
        crowd.are_served(address);
        assert_eq!(new.counts().waiting, 0);

        // What runs ends where it has begun.
        assert_eq!(old.counts().exchanging, 1);
        drop(running.send_all(b"to the end"));
        assert_eq!(receiving.whole(), b"to the end");
        assert_eq!(old.join_timeout(DEADLINE).expect("it has drained").cut, 0);
    }
}

#[test]
fn those_under_one_key_keep_their_order() {
    let old = InProcess::start(Config { workers: 3, ..config() });
    let address = old.address();
    let mut uploads = Vec::new();
    for index in 0..20 {
        uploads.push(Peer::classic(address, b'P', "line").send_all(&[index]));
        old.await_waiting(u64::from(index) + 1);
    }
    let new = exchanged(&exchanged(&old, config()), Config { workers: 5, ..config() });
    // Who comes now stands behind them.
    let last = Peer::classic(address, b'P', "line").send_all(&[20]);
    new.await_waiting(21);
    for index in 0..=20 {
        assert_eq!(Peer::classic(address, b'G', "line").whole(), [index]);
    }
    drop((uploads, last));
}

#[test]
fn several_receivers_gather_across_an_exchange_of_servers() {
    let old = InProcess::start(Config { workers: 3, ..config() });
    let address = old.address();
    let request = head("PUT /key?n=3", "Content-Length: 5\r\n");
    let _upload = Client::saying(address, &[request.as_bytes(), b"early"].concat());
    let mut downloads = vec![Client::saying(address, &get("key?n=3"))];
    old.await_waiting(2);
    let new = exchanged(&old, config());
    downloads.push(Client::saying(address, &get("key?n=3")));
    new.await_waiting(3);
    let last = exchanged(&new, Config { workers: 4, ..config() });
    downloads.push(Client::saying(address, &get("key?n=3")));
    for download in &mut downloads {
        assert_eq!(download.download(), b"early");
    }
    drop(downloads);
    assert_eq!(last.next_outcome(), (Outcome::Completed, 5));
}

#[test]
fn heartbeats_and_deadlines_go_on() {
    let often = Config { heartbeat: Duration::from_millis(1), ..config() };
    let old = InProcess::start(often.clone());
    let mut beats = Peer::native(old.address(), Side::Download, "beats").waits();
    let mut brief = offer(Side::Download, "brief");
    brief.wait = Wait::AtMost(Duration::from_secs(1));
    let brief = Peer::offering(old.address(), brief).waits();
    let hour = Config { heartbeat: Duration::from_secs(3600), ..config() };
    let silent = exchanged(&old, hour);
    let _new = exchanged(&silent, often);
    for _ in 0..20 {
        assert_eq!(beats.answer(), xchg_core::wire::Answer::Heartbeat);
    }
    assert_eq!(brief.refused(), RefusalCode::TimedOut);
}

/// Browsers send an upload again whose exchange has failed, and meet the next server then.
#[test]
fn an_upload_that_fails_at_the_old_server_is_not_taken_again_by_the_next() {
    let old = InProcess::default();
    let fields = "Content-Length: 1000000\r\nIdempotency-Key: \"one\"\r\n";
    let request = head("PUT /key", fields);
    let mut upload = Client::waiting(old.address(), request.as_bytes());
    let download = Client::saying(old.address(), &get("key"));
    old.await_counts("it runs", |counts| counts.exchanging == 1);
    let new = exchanged(&old, config());
    download.reset();
    upload.has_failed("A receiver aborted.");
    let (head, _) = Client::saying(new.address(), request.as_bytes()).text();
    assert_eq!(head.status, 409);
}

#[test]
fn who_leaves_meanwhile_is_gone() {
    let old = InProcess::default();
    let leaves: Vec<_> =
        (0..10).map(|n| Peer::classic(old.address(), b'G', &format!("{n}"))).collect();
    old.await_waiting(10);
    let waiters = old.release();
    leaves.into_iter().for_each(Peer::reset);
    goes_on(&old, waiters, config()).await_waiting(0);
}

#[test]
fn who_is_let_go_of_at_the_start_is_logged_as_the_next_server_is_told_to() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let old = InProcess::default();
    let _first = Peer::native(old.address(), Side::Download, "hidden").waits();
    let waiter = Peer::native(old.address(), Side::Download, "hidden").waits();
    let limits = Limits { waiting: 1, ..Limits::default() };
    let hides = Config { limits, log_addresses: LogAddresses::None, ..config() };
    let _next = tracing::subscriber::with_default(subscriber, || exchanged(&old, hides));
    assert_eq!(waiter.refused(), RefusalCode::Busy);
    let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("peer=hidden") && !said.contains("127.0.0.1"), "{said}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn whom_the_next_server_has_no_room_or_address_for_is_told_so() {
    let old = InProcess::default();
    let limits = Limits { waiting: 1, ..Limits::default() };
    let mut first = Peer::native(old.address(), Side::Download, "first").waits();
    let second = Peer::native(old.address(), Side::Download, "first").waits();
    let small = exchanged(&old, Config { limits, ..config() });
    assert_eq!(second.refused(), RefusalCode::Busy);
    let mut upload = Peer::native(small.address(), Side::Upload, "first");
    upload.matched();
    first.matched();

    let waits = Peer::native(small.address(), Side::Download, "elsewhere").waits();
    // Another port serves as well, if the same holds there.
    let next = Server::bind(config()).unwrap();
    let moved = InProcess::of(next.start_with(small.release()).unwrap());
    moved.await_waiting(1);
    let listen = vec!["127.0.0.1:0,public".parse().unwrap()];
    let next = Server::bind(Config { listen, ..config() }).unwrap();
    let other = next.start_with(moved.release()).unwrap();
    assert_eq!(waits.refused(), RefusalCode::Draining);
    eventually("it is gone", || other.stats().connections == 0);
    other.cut();
}

#[test]
fn nobody_is_released_twice_and_waiters_that_nobody_takes_are_reset() {
    let server = InProcess::default();
    assert!(server.release().is_empty());
    let server = InProcess::default();
    let peer = Peer::classic(server.address(), b'G', "key");
    server.await_waiting(1);
    let waiters: Waiters = server.release();
    assert_eq!((waiters.len(), server.release().len()), (1, 0));
    assert_eq!(format!("{waiters:?}"), "Waiters { len: 1, .. }");
    server.drain();
    assert!(server.join_timeout(DEADLINE).is_some(), "nothing keeps it");
    drop(waiters);
    peer.let_go();
}

#[test]
fn peers_of_a_unix_socket_go_on_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let at = || vec![loopback(), ListenAddress::Unix(path.clone()).into()];
    let old = InProcess::start(Config { listen: at(), ..config() });
    let mut peer = std::os::unix::net::UnixStream::connect(&path).unwrap();
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    peer.write_all(&classic_greeting(b'G', "key")).unwrap();
    old.await_waiting(1);
    let waiters = old.release();
    let next = Server::bind(Config { listen: at(), ..config() }).unwrap();
    let new = InProcess::of(next.start_with(waiters).unwrap());
    drop(Peer::classic(new.address(), b'P', "key").send_all(b"file"));
    let mut file = Vec::new();
    peer.read_to_end(&mut file).unwrap();
    assert_eq!(file, b"file");
}
