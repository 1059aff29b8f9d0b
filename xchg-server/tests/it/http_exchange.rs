//! Whole exchanges with http peers: every framing, every order, every dialect on the other side.

use std::io;
use std::net::SocketAddr;
use std::thread;

use crate::common::{InProcess, Peer, Random, payload};
use crate::web::{Client, get, head, post_form, put, put_chunked};
use xchg_core::wire::CounterpartDialect;
use xchg_core::{Outcome, Side};

/// How a peer uploads.
#[derive(Debug, Clone, Copy)]
enum Uploads {
    Length,
    Chunked,
    Form,
    Http10,
    Classic,
    Native,
    NativeWithLength,
}

/// How a peer downloads.
#[derive(Debug, Clone, Copy)]
enum Downloads {
    Http,
    Http10,
    Classic,
    Native,
}

const UPLOADS: [Uploads; 7] = [
    Uploads::Length,
    Uploads::Chunked,
    Uploads::Form,
    Uploads::Http10,
    Uploads::Classic,
    Uploads::Native,
    Uploads::NativeWithLength,
];
const DOWNLOADS: [Downloads; 4] =
    [Downloads::Http, Downloads::Http10, Downloads::Classic, Downloads::Native];

impl Uploads {
    fn is_http(self) -> bool {
        matches!(self, Self::Length | Self::Chunked | Self::Form | Self::Http10)
    }

    fn tells_length(self) -> bool {
        matches!(self, Self::Length | Self::Http10 | Self::NativeWithLength)
    }

    /// Uploads `payload`, and sees to it that the server says that it arrived.
    fn run(self, address: SocketAddr, key: &str, payload: &[u8]) {
        let native = |length| {
            let mut offer = crate::common::offer(Side::Upload, key);
            offer.length = length;
            let mut peer = Peer::offering(address, offer);
            assert_eq!(peer.matched(), (CounterpartDialect::Http, None));
            peer = peer.send_all(payload);
            assert_eq!(peer.rest().unwrap(), b"", "a clean close");
        };
        match self {
            Self::Length => Client::saying(address, &put(key, payload)).uploaded(),
            Self::Chunked => Client::saying(address, &put_chunked(key, payload, 7000)).uploaded(),
            Self::Form => Client::saying(address, &post_form(key, payload)).uploaded(),
            Self::Http10 => {
                let length = payload.len();
                let head = format!("PUT /{key} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
                let request = [head.as_bytes(), payload].concat();
                let (head, text) = Client::saying(address, &request).text();
                assert_eq!(head.status, 200);
                assert!(text.ends_with("received successfully.\n"), "{text}");
            }
            Self::Classic => {
                drop(Peer::classic(address, b'P', key).send_all(payload));
            }
            Self::Native => native(None),
            Self::NativeWithLength => native(Some(payload.len() as u64)),
        }
    }
}

impl Downloads {
    fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http10)
    }

    /// Sends the request, and gives the connection.
    fn begin(self, address: SocketAddr, key: &str) -> Peer {
        match self {
            Self::Http => Peer::saying(address, &get(key)),
            Self::Http10 => {
                Peer::saying(address, format!("GET /{key} HTTP/1.0\r\n\r\n").as_bytes())
            }
            Self::Classic => Peer::classic(address, b'G', key),
            Self::Native => Peer::native(address, Side::Download, key),
        }
    }

    /// The payload that arrives. `length` is what the server should have announced.
    fn finish(self, mut peer: Peer, length: Option<u64>) -> io::Result<Vec<u8>> {
        if self.is_http() {
            let mut client = Client::of(peer);
            let head = client.head();
            assert_eq!(head.status, 200, "{}", head.text);
            let announced = head.field("content-length").map(|length| length.parse().unwrap());
            assert_eq!(announced, length, "{}", head.text);
            return client.body(&head);
        }
        if matches!(self, Self::Native) {
            assert_eq!(peer.matched(), (CounterpartDialect::Http, length));
        }
        peer.rest()
    }
}

/// Exchanges `payload` once, with either coming first.
fn exchange(server: &InProcess, ways: (Uploads, Downloads), payload: &[u8], upload_first: bool) {
    let (uploads, downloads) = ways;
    let address = server.address();
    let length = uploads.tells_length().then_some(payload.len() as u64);
    let bytes = thread::scope(|scope| {
        let upload = move || uploads.run(address, "key", payload);
        let (download, uploader) = if upload_first {
            let uploader = scope.spawn(upload);
            server.await_waiting(1);
            (downloads.begin(address, "key"), uploader)
        } else {
            let download = downloads.begin(address, "key");
            server.await_waiting(1);
            (download, scope.spawn(upload))
        };
        let bytes = downloads.finish(download, length).unwrap();
        uploader.join().unwrap();
        bytes
    });
    assert!(bytes == payload, "{ways:?}: {} of {} bytes", bytes.len(), payload.len());
    assert_eq!(server.next_outcome(), (Outcome::Completed, payload.len() as u64));
}

/// Every way of uploading with every way of downloading, where one of them at least is http.
fn all_ways() -> impl Iterator<Item = (Uploads, Downloads)> + Clone {
    UPLOADS
        .into_iter()
        .flat_map(|uploads| DOWNLOADS.map(|downloads| (uploads, downloads)))
        .filter(|(uploads, downloads)| uploads.is_http() || downloads.is_http())
}

#[test]
fn every_byte_arrives_whatever_the_two_speak_and_whoever_is_first() {
    let server = InProcess::default();
    for (seed, ways) in all_ways().enumerate() {
        for len in [0, 1, 1000, 300_000] {
            let payload = payload(seed as u64, len);
            exchange(&server, ways, &payload, true);
            exchange(&server, ways, &payload, false);
        }
    }
}

#[test]
fn megabytes_arrive_spliced_and_copied() {
    let server = InProcess::default();
    let payload = payload(1, 64 << 20);
    for ways in [
        (Uploads::Length, Downloads::Http),
        (Uploads::Length, Downloads::Classic),
        (Uploads::NativeWithLength, Downloads::Http10),
        (Uploads::Chunked, Downloads::Http),
        (Uploads::Form, Downloads::Native),
    ] {
        exchange(&server, ways, &payload, true);
    }
}

#[test]
fn large_chunks_are_framed_anew() {
    let server = InProcess::default();
    let payload = payload(2, 20 << 20);
    for size in [65_536, 1 << 20, 9 << 20] {
        let request = put_chunked("key", &payload, size);
        thread::scope(|scope| {
            scope.spawn(|| Client::saying(server.address(), &request).uploaded());
            let bytes = Client::saying(server.address(), &get("key")).download();
            assert!(bytes == payload, "chunks of {size}: {} bytes", bytes.len());
        });
        assert_eq!(server.next_outcome().0, Outcome::Completed);
    }
}

/// Its small buffer cuts the server's writes at every place there is, chunks' heads included.
#[test]
fn a_narrow_reader_gets_every_chunk_whole() {
    let server = InProcess::default();
    let payload = payload(3, 6 << 20);
    for request in [put_chunked("key", &payload, 50_000), post_form("key", &payload)] {
        thread::scope(|scope| {
            scope.spawn(|| Client::saying(server.address(), &request).uploaded());
            let mut client = Client::narrow(server.address());
            client.send(&get("key"));
            assert!(client.download() == payload);
        });
        assert_eq!(server.next_outcome().0, Outcome::Completed);
    }
}

/// The downloader's page can say that something comes before anything does.
#[test]
fn a_head_does_not_wait_for_the_payload() {
    let server = InProcess::default();
    let mut upload = Client::waiting(
        server.address(),
        head("PUT /key", "Transfer-Encoding: chunked\r\nContent-Type: text/plain\r\n").as_bytes(),
    );
    let mut download = Client::saying(server.address(), &get("key"));
    let head = download.head();
    assert_eq!(head.field("content-type"), Some("text/plain"));
    upload.hears("[INFO] A receiver was connected.");
    upload.hears("[INFO] Start sending to 1 receiver(s)!");
    upload.send(b"5\r\nhello\r\n");
    assert_eq!(download.chunk().unwrap().unwrap(), b"hello");
    upload.send(b"0\r\n\r\n");
    assert_eq!(download.chunk().unwrap(), None);
    upload.hears("[INFO] Sent successfully!");
    drop(download);
    upload.is_received();
}

#[test]
fn a_form_tells_the_downloader_what_its_file_is() {
    let server = InProcess::default();
    let mut upload = Client::waiting(server.address(), &post_form("key", b"content"));
    let mut download = Client::saying(server.address(), &get("key"));
    let head = download.head();
    assert_eq!(head.field("content-type"), Some("application/octet-stream"));
    let disposition = head.field("content-disposition").unwrap();
    assert!(disposition.contains("filename=\"a.bin\""), "{disposition}");
    assert_eq!(download.body(&head).unwrap(), b"content");
    drop(download);
    upload.is_received();
}

#[test]
fn what_is_said_of_the_payload_reaches_the_downloader() {
    let server = InProcess::default();
    let fields = "Content-Length: 2\r\nContent-Type: text/html\r\n\
                  Content-Disposition: inline; filename=x.html\r\nX-Piping: 7\r\n";
    let request = head("PUT /key", fields) + "hi";
    let mut upload = Client::waiting(server.address(), request.as_bytes());
    let mut download = Client::saying(server.address(), &get("key"));
    let head = download.head();
    assert_eq!(head.field("content-length"), Some("2"));
    assert_eq!(head.field("content-type"), Some("text/plain"), "a page does not run here");
    assert_eq!(head.field("x-piping"), Some("7"));
    assert_eq!(head.field("content-security-policy"), Some("sandbox; default-src 'none'"));
    assert_eq!(download.body(&head).unwrap(), b"hi");
    drop(download);
    upload.is_received();
}

#[test]
fn an_uploader_that_asks_before_it_sends_is_told_to_go_on() {
    let server = InProcess::default();
    let request = head("PUT /key", "Content-Length: 4\r\nExpect: 100-continue\r\n");
    let mut upload = Client::saying(server.address(), request.as_bytes());
    assert_eq!(upload.any_head().status, 100);
    upload.hears_of_waiting();
    let download = Client::saying(server.address(), &get("key"));
    upload.hears("[INFO] A receiver was connected.");
    upload.send(b"body");
    assert_eq!({ download }.download(), b"body");
    upload.is_received();
}

#[test]
fn paths_are_keys_percent_decoded() {
    let server = InProcess::default();
    let mut upload = Client::waiting(server.address(), &put("a%20b/%C3%BC?n=1", b"x"));
    let mut download = Peer::native(server.address(), Side::Download, "a b/\u{fc}");
    assert_eq!(download.matched(), (CounterpartDialect::Http, Some(1)));
    assert_eq!(download.rest().unwrap(), b"x");
    drop(download);
    upload.is_received();
}

/// Over both workers, in both orders, with sizes that are copied and sizes that are spliced.
#[test]
fn hundreds_of_exchanges_of_all_dialects_run_at_once() {
    let server = InProcess::default();
    let address = server.address();
    let mut random = Random(11);
    let pairs: Vec<_> = all_ways()
        .cycle()
        .take(200)
        .enumerate()
        .map(|(n, ways)| {
            let len = [0, 10, 5_000, 70_000, 1 << 20][usize::try_from(random.below(5)).unwrap()];
            (format!("k{n}"), ways, payload(n as u64, len), random.below(2) == 0)
        })
        .collect();
    thread::scope(|scope| {
        for (key, (uploads, downloads), payload, upload_first) in &pairs {
            let upload = move || uploads.run(address, key, payload);
            let download = move || {
                let length = uploads.tells_length().then_some(payload.len() as u64);
                let bytes = downloads.finish(downloads.begin(address, key), length).unwrap();
                assert!(bytes == *payload, "{uploads:?} to {downloads:?}");
            };
            match upload_first {
                true => drop((scope.spawn(upload), scope.spawn(download))),
                false => drop((scope.spawn(download), scope.spawn(upload))),
            }
        }
        for n in 0..GLUED {
            for side in ['a', 'b'] {
                scope.spawn(move || glue(address, n, side));
            }
        }
    });
    let sum: u64 = pairs.iter().map(|(.., payload, _)| payload.len() as u64).sum();
    let glued = GLUED * 2 * GLUED_BYTES as u64;
    server.await_counts("all of them are whole", |counts| {
        (counts.completed, counts.failed, counts.bytes) == (200 + GLUED, 0, sum + glued)
    });
}

/// Pairs of transit peers among them, and the bytes that each sends.
const GLUED: u64 = 20;
const GLUED_BYTES: usize = 100_000;

/// One of two transit peers that send each other bytes of their own.
fn glue(address: SocketAddr, n: u64, side: char) {
    let label = side.to_string().repeat(16);
    let mut peer =
        Peer::saying(address, format!("please relay {n:064x} for side {label}\n").as_bytes());
    assert_eq!(peer.read(3), b"ok\n");
    let of = |side: char| payload(n * 1000 + u64::from(side), GLUED_BYTES);
    let other = if side == 'a' { 'b' } else { 'a' };
    let mut sender = Peer::of(peer.stream());
    thread::scope(|scope| {
        scope.spawn(move || {
            sender.send(&of(side));
            sender.half_close();
        });
        assert!(peer.rest().unwrap() == of(other), "{side} of {n}");
    });
}

#[test]
fn one_connection_carries_many_downloads() {
    let server = InProcess::default();
    let mut download = Client::connect(server.address());
    for (key, body) in [("one", &b"first"[..]), ("two", b""), ("three", &payload(5, 3_000_000))] {
        // The second half of a pipelined pair waits until the first has been answered.
        download.send(&get(key));
        let mut upload = Client::saying(server.address(), &put(key, body));
        assert!(download.download() == body);
        upload.uploaded();
        assert_eq!(server.next_outcome(), (Outcome::Completed, body.len() as u64));
    }
    download.send(&[get("four"), get("five")].concat());
    let mut classic = Peer::classic(server.address(), b'P', "four").send_all(b"classic");
    assert_eq!(download.download(), b"classic");
    assert_eq!(classic.rest().unwrap(), b"", "a classic uploader is let go");
    let mut native = Peer::native(server.address(), Side::Upload, "five");
    native.matched();
    let mut native = native.send_all(b"native");
    assert_eq!(download.download(), b"native");
    assert_eq!(native.rest().unwrap(), b"");
}
