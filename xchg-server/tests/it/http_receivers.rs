//! One upload to several downloads, `?n=3`: who meets whom, what each gets, and what becomes of
//! those that are lost.

use std::net::SocketAddr;
use std::thread;

use crate::common::{InProcess, Peer, config, eventually, payload};
use crate::web::{Client, get, head, post_form, put, put_chunked};
use xchg_core::{Outcome, Side};
use xchg_server::Config;

/// A server whose three workers share the peers among them.
fn server() -> InProcess {
    InProcess::start(Config { workers: 3, ..config() })
}

/// An uploader that has sent `request` and hears that it waits for `receivers`.
fn uploader(address: SocketAddr, request: &[u8], receivers: usize) -> Client {
    let mut upload = Client::saying(address, request);
    assert_eq!(upload.head().status, 200);
    upload.hears(&format!("[INFO] Waiting for {receivers} receiver(s)..."));
    upload
}

/// A text of refusal, whose status is 400.
fn refusal(address: SocketAddr, request: &[u8]) -> String {
    let (head, text) = Client::saying(address, request).text();
    assert_eq!(head.status, 400, "{text}");
    text
}

#[test]
fn everybody_gets_every_byte_in_whatever_order_they_come() {
    let server = server();
    let body = payload(1, 300_000);
    for place in 0..=3 {
        for request in
            [put("key?n=3", &body), put_chunked("key?n=3", &body, 777), post_form("key?n=3", &body)]
        {
            let mut downloads = Vec::new();
            let mut upload = None;
            for turn in 0..=3 {
                let before = server.counts().waiting;
                if turn == place {
                    let mut client = Client::connect(server.address());
                    let (mut stream, request) = (client.stream(), request.clone());
                    thread::spawn(move || {
                        std::io::Write::write_all(&mut stream, &request).unwrap()
                    });
                    assert_eq!(client.head().status, 200);
                    client.hears("[INFO] Waiting for 3 receiver(s)...");
                    if place > 0 {
                        client
                            .hears(&format!("[INFO] {place} receiver(s) has/have been connected."));
                    }
                    upload = Some(client);
                } else {
                    downloads.push(Client::saying(server.address(), &get("key?n=3")));
                }
                if turn < 3 {
                    server.await_waiting(before + 1);
                }
            }
            let mut upload = upload.unwrap();
            (place..3).for_each(|_| upload.hears("[INFO] A receiver was connected."));
            upload.hears("[INFO] Start sending to 3 receiver(s)!");
            let readers: Vec<_> = downloads
                .into_iter()
                .map(|mut download| thread::spawn(move || download.download()))
                .collect();
            for reader in readers {
                assert!(reader.join().unwrap() == body, "place {place}");
            }
            upload.hears("[INFO] Sent successfully!");
            upload.is_received();
            assert_eq!(server.next_outcome(), (Outcome::Completed, 300_000));
        }
    }
    assert_eq!(server.counts().waiting, 0);
}

#[test]
fn the_slowest_sets_the_pace_and_nobody_misses_a_byte() {
    let server = server();
    let body = payload(2, 16 << 20);
    let mut slow = Client::narrow(server.address());
    slow.send(&get("key?n=3"));
    let quick: Vec<_> = (0..2).map(|_| Client::saying(server.address(), &get("key?n=3"))).collect();
    server.await_waiting(3);
    let mut upload = Client::connect(server.address());
    let (mut stream, request) = (upload.stream(), put("key?n=3", &body));
    let sending = thread::spawn(move || std::io::Write::write_all(&mut stream, &request));
    let quick: Vec<_> =
        quick.into_iter().map(|mut download| thread::spawn(move || download.download())).collect();
    let exchange = server.next_exchange();
    let head = slow.head();
    assert!(exchange.moved_from(Side::Upload) < 16 << 20, "it waits for the slow one");
    assert!(slow.body(&head).unwrap() == body);
    drop(slow);
    quick.into_iter().for_each(|download| assert!(download.join().unwrap() == body));
    sending.join().unwrap().unwrap();
    upload.head();
    upload.is_received();
}

#[test]
fn the_number_of_receivers_is_everybodys() {
    let server = server();
    let mut upload = uploader(server.address(), &put("key?n=2", b"both"), 2);
    for (request, expected, asked) in [
        (get("key"), 2, 1),
        (get("key?n=3"), 2, 3),
        (put("key?n=3", b""), 2, 3),
        (put("key", b""), 2, 1),
    ] {
        assert_eq!(
            refusal(server.address(), &request),
            format!("[ERROR] The number of receivers should be {expected} but {asked}.\n")
        );
    }
    assert_eq!(
        refusal(server.address(), &put("key?n=2", b"")),
        "[ERROR] Another sender has been connected on '/key'.\n"
    );
    // A peer of another dialect expects one counterpart, and is told so in its own.
    Peer::classic(server.address(), b'G', "key").let_go();
    let mut first = Client::saying(server.address(), &get("key?n=2"));
    upload.hears("[INFO] A receiver was connected.");
    let mut second = Client::saying(server.address(), &get("key?n=2"));
    assert_eq!((first.download(), second.download()), (b"both".to_vec(), b"both".to_vec()));
    drop((first, second));
    upload.hears("[INFO] A receiver was connected.");
    upload.hears("[INFO] Start sending to 2 receiver(s)!");
    upload.is_received();

    // Without a sender, too, and no more receivers than were named.
    let waiting: Vec<_> =
        (0..2).map(|_| Client::saying(server.address(), &get("key?n=2"))).collect();
    server.await_waiting(2);
    assert_eq!(
        refusal(server.address(), &get("key?n=2")),
        "[ERROR] The number of receivers has reached limits.\n"
    );
    assert_eq!(
        refusal(server.address(), &put("key", b"")),
        "[ERROR] The number of receivers should be 2 but 1.\n"
    );
    let mut upload = Client::saying(server.address(), &put("key?n=2", b"again"));
    waiting.into_iter().for_each(|mut download| assert_eq!(download.download(), b"again"));
    upload.head();
    upload.is_received();
}

#[test]
fn who_leaves_while_others_gather_frees_the_place() {
    let server = server();
    let upload = uploader(server.address(), &put("key?n=2", b"first"), 2);
    let download = Client::saying(server.address(), &get("key?n=2"));
    server.await_waiting(2);
    drop(download);
    server.await_waiting(1);
    drop(upload);
    server.await_waiting(0);
    // Nobody stands in the way of another number any more.
    let mut upload = uploader(server.address(), &put("key?n=3", b"second"), 3);
    let downloads: Vec<_> =
        (0..3).map(|_| Client::saying(server.address(), &get("key?n=3"))).collect();
    downloads.into_iter().for_each(|mut download| assert_eq!(download.download(), b"second"));
    upload.hears("[INFO] A receiver was connected.");
    upload.is_received();
}

/// Three receivers of an upload of `length` bytes, of which 4 have come, and the exchange runs.
fn running(server: &InProcess) -> (Client, Vec<(Client, crate::web::Head)>) {
    let request = head("PUT /key?n=3", "Content-Length: 8\r\n") + "part";
    let mut upload = uploader(server.address(), request.as_bytes(), 3);
    let mut downloads: Vec<_> =
        (0..3).map(|_| Client::saying(server.address(), &get("key?n=3"))).collect();
    let heads: Vec<_> = downloads.iter_mut().map(Client::head).collect();
    (0..3).for_each(|_| upload.hears("[INFO] A receiver was connected."));
    upload.hears("[INFO] Start sending to 3 receiver(s)!");
    let exchange = server.next_exchange();
    eventually("4 bytes have moved", || exchange.moved_from(Side::Upload) == 4);
    (upload, downloads.into_iter().zip(heads).collect())
}

#[test]
fn the_others_go_on_without_a_lost_receiver_and_the_sender_is_told() {
    let server = server();
    for resets in [false, true] {
        let (mut upload, mut downloads) = running(&server);
        let (lost, _) = downloads.remove(1);
        if resets {
            lost.reset()
        } else {
            drop(lost)
        }
        upload.hears("[ERROR] A receiver aborted.");
        upload.send(b"more");
        for (mut download, head) in downloads {
            assert_eq!(download.body(&head).unwrap(), b"partmore");
        }
        upload.hears("[INFO] Sent successfully!");
        upload.has_failed(
            "1 of 3 receivers was/were aborted halfway; the others received everything.",
        );
        assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Download), 8));
    }
}

#[test]
fn a_sender_whose_receivers_are_all_lost_is_cut() {
    let server = server();
    let (mut upload, downloads) = running(&server);
    drop(downloads);
    (0..3).for_each(|_| upload.hears("[ERROR] A receiver aborted."));
    upload.has_failed("All receiver(s) was/were aborted halfway.");
    upload.is_closed();
    assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Download), 4));
}

#[test]
fn a_lost_sender_is_a_cut_download_to_each() {
    let server = server();
    for resets in [false, true] {
        let (upload, downloads) = running(&server);
        if resets {
            upload.reset()
        } else {
            drop(upload)
        }
        for (mut download, head) in downloads {
            download.body(&head).expect_err("a part must not look like the whole");
        }
        assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Upload), 4));
    }
}

#[test]
fn it_can_be_cancelled_and_cut_and_stands_still_no_longer_than_any() {
    let server = server();
    let (mut upload, downloads) = running(&server);
    let [handle] = &server.exchanges()[..] else { panic!("one exchange runs") };
    handle.cancel();
    upload.has_failed("cancelled on the server");
    for (mut download, head) in downloads {
        download.body(&head).expect_err("a part must not look like the whole");
    }
    assert_eq!(server.next_outcome(), (Outcome::Cancelled, 4));

    let (mut upload, _downloads) = running(&server);
    server.cut();
    upload.has_failed("cancelled on the server");
    assert_eq!(server.next_outcome(), (Outcome::Cancelled, 4));

    let idle_timeout = std::time::Duration::from_millis(1);
    let server = InProcess::start(Config { idle_timeout, ..config() });
    let request = head("PUT /key?n=2", "Content-Length: 8\r\n") + "part";
    let _downloads: Vec<_> =
        (0..2).map(|_| Client::saying(server.address(), &get("key?n=2"))).collect();
    server.await_waiting(2);
    let mut upload = Client::saying(server.address(), request.as_bytes());
    upload.head();
    upload.has_failed("Nothing moved for too long");
    assert!(matches!(server.next_outcome(), (Outcome::TimedOut, _)));
}

#[test]
fn a_drain_lets_it_finish_and_lets_go_of_those_who_gather() {
    let server = server();
    let (mut upload, downloads) = running(&server);
    let mut gathering = Client::saying(server.address(), &get("other?n=2"));
    server.await_waiting(1);
    server.drain();
    assert_eq!(gathering.head().status, 503);
    upload.send(b"more");
    for (mut download, head) in downloads {
        assert_eq!(download.body(&head).unwrap(), b"partmore");
    }
    upload.is_received();
    assert_eq!(server.next_outcome(), (Outcome::Completed, 8));
}

#[test]
fn the_senders_connection_carries_the_next_request() {
    let server = server();
    let mut upload = Client::connect(server.address());
    for round in 0..3 {
        let body = payload(round, 1000);
        let downloads: Vec<_> =
            (0..2).map(|_| Client::saying(server.address(), &get("key?n=2"))).collect();
        server.await_waiting(2);
        upload.send(&put("key?n=2", &body));
        downloads.into_iter().for_each(|mut download| assert_eq!(download.download(), body));
        assert_eq!(upload.head().status, 200);
        upload.is_received();
    }
}

#[test]
fn a_receiver_that_stands_still_is_lost_and_the_others_go_on() {
    let idle_timeout = std::time::Duration::from_secs(3);
    let server = InProcess::start(Config { workers: 3, idle_timeout, ..config() });
    let body = payload(3, 16 << 20);
    let mut still = Client::narrow(server.address());
    still.send(&get("key?n=3"));
    let others: Vec<_> =
        (0..2).map(|_| Client::saying(server.address(), &get("key?n=3"))).collect();
    server.await_waiting(3);
    let mut upload = Client::connect(server.address());
    let (mut stream, request) = (upload.stream(), put("key?n=3", &body));
    thread::spawn(move || std::io::Write::write_all(&mut stream, &request).ok());
    let others: Vec<_> =
        others.into_iter().map(|mut download| thread::spawn(move || download.download())).collect();
    others.into_iter().for_each(|download| assert!(download.join().unwrap() == body));
    let head = still.head();
    still.body(&head).expect_err("a part must not look like the whole");
    assert_eq!(upload.head().status, 200);
    upload.has_failed("1 of 3 receivers was/were aborted halfway; the others received everything.");
    assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Download), 16 << 20));

    // One that takes everything and then holds on has received it like the others.
    let holds = Client::saying(server.address(), &get("key?n=2"));
    let mut leaves = Client::saying(server.address(), &get("key?n=2"));
    server.await_waiting(2);
    let mut upload = Client::saying(server.address(), &put("key?n=2", b"short"));
    assert_eq!(leaves.download(), b"short");
    drop(leaves);
    assert_eq!(upload.head().status, 200);
    upload.is_received();
    assert_eq!(server.next_outcome(), (Outcome::Completed, 5));
    drop(holds);
}

#[test]
fn much_arrives_whole_however_it_is_moved() {
    let body = payload(2, 6_000_001);
    for pipe_size in [0, 4 << 10, 1 << 20] {
        let server = InProcess::start(Config { workers: 2, pipe_size, ..config() });
        // Chunks that are spliced, and some that are not worth it.
        for request in [
            put("key?n=4", &body),
            put_chunked("key?n=4", &body, 400_000),
            put_chunked("key?n=4", &body, 50_000),
        ] {
            let address = server.address();
            let mut readers = Vec::new();
            for place in 0..4 {
                let client = if place == 0 { Client::narrow } else { Client::connect };
                let mut download = client(address);
                download.send(&get("key?n=4"));
                readers.push(thread::spawn(move || match place {
                    3 => {
                        // It leaves in the middle, with much of its share on the way.
                        let mut start = [0; 1_000_000];
                        std::io::Read::read_exact(&mut download.stream(), &mut start).unwrap();
                        None
                    }
                    _ => Some(download.download()),
                }));
                server.await_waiting(place + 1);
            }
            let mut upload = Client::connect(address);
            let mut stream = upload.stream();
            let sender =
                thread::spawn(move || std::io::Write::write_all(&mut stream, &request).unwrap());
            for got in readers.into_iter().filter_map(|reader| reader.join().unwrap()) {
                assert!(got == body, "pipes of {pipe_size} bytes");
            }
            sender.join().unwrap();
            assert_eq!(upload.head().status, 200);
            let (lines, whole) = upload.lines();
            assert!(!whole && lines.contains("[ERROR] "), "{lines}");
            assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Download), body.len() as u64));
        }
    }
}
