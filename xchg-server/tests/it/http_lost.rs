//! Exchanges with http peers that fail: who is told, how, and that no cut payload is taken for a
//! whole one.

use std::net::Shutdown;
use std::time::Duration;

use crate::common::{InProcess, Peer, assert_lost, config, offer, payload};
use crate::web::{Client, get, head, post_form, put, put_chunked};
use xchg_core::{Outcome, Side};
use xchg_server::Config;

/// The beginning of an upload of known length, which goes on for long.
fn long_put(key: &str) -> Vec<u8> {
    (head(&format!("PUT /{key}"), "Content-Length: 1000000\r\n") + "part").into_bytes()
}

/// The beginning of an upload whose length is not known.
fn chunked_put(key: &str) -> Vec<u8> {
    (head(&format!("PUT /{key}"), "Transfer-Encoding: chunked\r\n") + "4\r\npart\r\n").into_bytes()
}

/// Exchanges that have moved 4 bytes, by how the downloader's response is framed.
fn running(server: &InProcess, request: &[u8]) -> (Client, Client, crate::web::Head) {
    let mut upload = Client::waiting(server.address(), request);
    let mut download = Client::saying(server.address(), &get("key"));
    let head = download.head();
    upload.hears("[INFO] A receiver was connected.");
    upload.hears("[INFO] Start sending to 1 receiver(s)!");
    let handle = server.next_exchange();
    crate::common::eventually("4 bytes have moved", || handle.moved_from(Side::Upload) == 4);
    (upload, download, head)
}

#[test]
fn a_cut_upload_is_a_cut_download_in_every_framing() {
    let server = InProcess::default();
    for request in [long_put("key"), chunked_put("key")] {
        for resets in [false, true] {
            let (upload, mut download, head) = running(&server, &request);
            if resets {
                upload.reset()
            } else {
                drop(upload)
            }
            download.body(&head).expect_err("a part must not look like the whole");
            assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Upload), 4));
        }
    }
}

#[test]
fn a_cut_upload_resets_downloaders_that_know_no_length() {
    let server = InProcess::default();
    for old in [true, false] {
        let upload = Client::waiting(server.address(), &chunked_put("key"));
        let mut download = if old {
            Peer::saying(server.address(), b"GET /key HTTP/1.0\r\n\r\n")
        } else {
            Peer::classic(server.address(), b'G', "key")
        };
        let handle = server.next_exchange();
        crate::common::eventually("4 bytes have moved", || handle.moved_from(Side::Upload) == 4);
        drop(upload);
        assert_lost(download.rest());
        assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Upload), 4));
    }
}

#[test]
fn a_cut_chunk_length_and_a_missing_last_chunk_are_cuts() {
    let server = InProcess::default();
    for cut in ["", "4", "4\r\n", "4\r\npar", "4\r\npart", "0\r\n", "0\r\nTrailer: x\r\n"] {
        let (mut upload, mut download, head) = running(&server, &chunked_put("key"));
        upload.send(cut.as_bytes());
        drop(upload);
        download.body(&head).expect_err("a part must not look like the whole");
        assert!(matches!(server.next_outcome(), (Outcome::Lost(Side::Upload), _)), "{cut:?}");
    }
}

#[test]
fn an_uploader_is_told_at_once_that_its_receiver_is_lost() {
    let server = InProcess::default();
    for request in [long_put("key"), chunked_put("key")] {
        for resets in [false, true] {
            // The uploader sends nothing more: a failing write would not find it out.
            let (mut upload, download, _) = running(&server, &request);
            if resets {
                download.reset()
            } else {
                drop(download)
            }
            upload.has_failed("A receiver aborted.");
            upload.is_closed();
            assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Download), 4));
        }
    }
}

#[test]
fn an_uploader_in_full_flow_is_told_of_its_lost_receiver() {
    let server = InProcess::default();
    let body = vec![7; 16 << 20];
    for request in [put("key", &body), put_chunked("key", &body, 50_000), post_form("key", &body)] {
        let mut download = Client::narrow(server.address());
        download.send(&get("key"));
        server.await_waiting(1);
        let mut upload = Client::connect(server.address());
        let mut sender = upload.stream();
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &request));
        let head = download.head();
        assert_eq!(head.status, 200);
        drop(download);
        upload.hears_of_waiting();
        upload.has_failed("A receiver aborted.");
        assert!(matches!(server.next_outcome(), (Outcome::Lost(Side::Download), _)));
        upload.stream().shutdown(Shutdown::Both).unwrap();
        sending.join().unwrap().expect_err("the rest of the upload was not taken");
    }
}

/// Twice, for many clients look at no status.
#[test]
fn an_old_uploader_is_told_by_the_status_and_a_cut() {
    let server = InProcess::default();
    let request = b"PUT /key HTTP/1.0\r\nContent-Length: 1000000\r\n\r\npart";
    let mut upload = Client::saying(server.address(), request);
    server.await_waiting(1);
    let mut download = Client::saying(server.address(), &get("key"));
    assert_eq!(download.head().status, 200);
    drop(download);
    let text = upload.cut_text(502);
    assert!(text.contains("[ERROR] A receiver aborted."), "{text}");
}

/// Its end crosses with bytes that it never takes: that is not the end of one who has it all.
#[test]
fn a_receiver_that_leaves_with_bytes_on_their_way_has_not_received_them() {
    let server = InProcess::default();
    // More than its buffer holds, less than the server's.
    let body = payload(1, 300_000);
    for is_native in [false, true] {
        server.await_waiting(0);
        let mut download = Client::narrow(server.address());
        download.send(&get("key"));
        server.await_waiting(1);
        let mut native = Peer::native(server.address(), Side::Upload, "key2");
        let mut upload = Client::connect(server.address());
        if is_native {
            native = Peer::native(server.address(), Side::Upload, "key").send_all(&body);
        } else {
            upload.send(&put("key", &body));
        }
        let handle = server.next_exchange();
        crate::common::eventually("all has been sent", || {
            handle.moved_from(Side::Upload) == body.len() as u64
        });
        download.half_close();
        if is_native {
            native.matched();
            download.reset();
            assert_lost(native.rest());
        } else {
            upload.hears_of_waiting();
            upload.hears("[INFO] 1 receiver(s) has/have been connected.");
            upload.hears("[INFO] Start sending to 1 receiver(s)!");
            upload.hears("[INFO] Sent successfully!");
            download.reset();
            upload.has_failed("A receiver aborted.");
        }
        assert!(matches!(server.next_outcome(), (Outcome::Lost(Side::Download), _)));
    }
}

#[test]
fn a_receiver_that_resets_before_the_end_has_come_is_lost() {
    let server = InProcess::default();
    let mut upload = Client::waiting(server.address(), &put_chunked("key", b"all", 3)[..]);
    let mut download = Client::saying(server.address(), &get("key"));
    download.head();
    upload.is_received();
    // It has everything: what it does afterwards makes no difference.
    download.reset();
    assert_eq!(server.next_outcome(), (Outcome::Completed, 3));

    let (mut upload, mut download, _) = running(&server, &chunked_put("key"));
    assert_eq!(download.chunk().unwrap(), Some(b"part".to_vec()));
    download.reset();
    upload.has_failed("A receiver aborted.");
    assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Download), 4));
}

#[test]
fn a_native_uploader_keeps_to_the_length_that_it_announced() {
    let server = InProcess::default();
    for (sent, arrives) in [(&b"12345"[..], false), (b"12345678901", true), (b"", false)] {
        let mut announced = offer(Side::Upload, "key");
        announced.length = Some(10);
        let mut download = Client::saying(server.address(), &get("key"));
        server.await_waiting(1);
        let mut upload = Peer::offering(server.address(), announced);
        upload.matched();
        upload.send(sent);
        // It may have been cut off already for what was too much.
        upload.stream().shutdown(Shutdown::Write).ok();
        let head = download.head();
        assert_eq!(head.field("content-length"), Some("10"));
        // What is too much can be noticed only when the downloader has it all already.
        assert_eq!(download.body(&head).is_ok(), arrives);
        assert_lost(upload.rest());
        let bytes = sent.len().min(10) as u64;
        assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Upload), bytes));
    }
}

#[test]
fn a_body_that_cannot_be_read_fails_for_both() {
    let server = InProcess::default();
    for (bad, words) in [
        ("xyz\r\n", "a chunk begins with no valid length"),
        ("-1\r\n", "a chunk begins with no valid length"),
        ("1\r\nab", "does not end with CR LF"),
        ("ffffffffffffffff\r\n", "a chunk begins with no valid length"),
        ("4\npart", "a chunk begins with no valid length"),
    ] {
        let (mut upload, mut download, head) = running(&server, &chunked_put("key"));
        // What follows must not be taken for a request.
        upload
            .send_some(format!("{bad}GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        upload.has_failed(words);
        upload.is_closed();
        download.body(&head).expect_err("a part must not look like the whole");
        assert!(matches!(server.next_outcome(), (Outcome::Lost(Side::Upload), _)), "{bad:?}");
    }
}

#[test]
fn a_form_without_a_file_is_a_failure_that_the_downloader_can_read() {
    let server = InProcess::default();
    let fields = "Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: 8\r\n";
    let request = head("POST /key", fields) + "nonsense";
    let mut upload = Client::waiting(server.address(), request.as_bytes());
    let mut download = Client::saying(server.address(), &get("key"));
    let (head, text) = download.text();
    assert_eq!(head.status, 502);
    assert!(text.contains("[ERROR] The sender was lost"), "{text}");
    upload.has_failed("no whole file");
}

#[test]
fn a_form_that_is_cut_is_a_cut_download() {
    let server = InProcess::default();
    let form = post_form("key", &payload(2, 10_000));
    let mut upload = Client::waiting(server.address(), &form[..5_000]);
    let mut download = Client::saying(server.address(), &get("key"));
    let head = download.head();
    upload.hears("[INFO] A receiver was connected.");
    drop(upload);
    download.body(&head).expect_err("a part must not look like the whole");
    assert!(matches!(server.next_outcome(), (Outcome::Lost(Side::Upload), _)));
}

#[test]
fn who_has_sent_everything_may_leave_before_it_has_arrived() {
    let server = InProcess::default();
    let mut download = Client::saying(server.address(), &get("key"));
    server.await_waiting(1);
    let upload = Client::saying(server.address(), &put("key", b"all of it"));
    upload.half_close();
    assert_eq!(download.download(), b"all of it");
    drop(download);
    assert_eq!(server.next_outcome(), (Outcome::Completed, 9));
}

#[test]
fn a_cancelled_exchange_is_told_to_the_uploader_and_cut_for_the_downloader() {
    let server = InProcess::default();
    let (mut upload, mut download, head) = running(&server, &long_put("key"));
    server.exchanges()[0].cancel();
    upload.has_failed("cancelled");
    upload.is_closed();
    download.body(&head).expect_err("a part must not look like the whole");
    assert_eq!(server.next_outcome(), (Outcome::Cancelled, 4));
}

#[test]
fn an_exchange_that_stands_still_is_ended_for_both() {
    let idle_timeout = Duration::from_millis(50);
    let server = InProcess::start(Config { idle_timeout, ..config() });
    let mut upload = Client::waiting(server.address(), &long_put("key"));
    let mut download = Client::saying(server.address(), &get("key"));
    upload.has_failed("Nothing moved");
    let head = download.head();
    download.body(&head).expect_err("a part must not look like the whole");
    assert_eq!(server.next_outcome(), (Outcome::TimedOut, 4));
}

#[test]
fn an_uploader_is_not_told_that_a_receiver_has_it_all_who_takes_no_more() {
    let idle_timeout = Duration::from_millis(500);
    let server = InProcess::start(Config { idle_timeout, ..config() });
    let mut download = Client::narrow(server.address());
    download.send(&get("key"));
    server.await_waiting(1);
    // More than its buffer holds, and little enough that the server can send it all.
    let mut upload = Client::saying(server.address(), &put("key", &payload(1, 100_000)));
    assert_eq!(upload.head().status, 200);
    upload.has_failed("Nothing moved");
    assert_eq!(server.next_outcome(), (Outcome::TimedOut, 100_000));
    drop(download);
}

#[test]
fn a_drain_lets_an_exchange_finish_and_a_cut_ends_it() {
    let server = InProcess::default();
    let (mut upload, mut download, head) = running(&server, &chunked_put("key"));
    server.drain();
    upload.send(b"4\r\nmore\r\n0\r\n\r\n");
    assert_eq!(download.body(&head).unwrap(), b"partmore");
    drop(download);
    upload.is_received();
    assert_eq!(server.join().cut, 0);

    let server = InProcess::default();
    let (mut upload, mut download, head) = running(&server, &chunked_put("key"));
    server.cut();
    upload.has_failed("cancelled");
    download.body(&head).expect_err("a part must not look like the whole");
    assert_eq!(server.join().cut, 1);
}

#[test]
fn an_upload_that_has_failed_is_not_taken_a_second_time() {
    let server = InProcess::default();
    let named = |name: &str| {
        let fields = format!("Content-Length: 1000000\r\nIdempotency-Key: \"{name}\"\r\n");
        (head("POST /key", &fields) + "part").into_bytes()
    };
    let (mut upload, download, _) = running(&server, &named("one"));
    drop(download);
    upload.has_failed("A receiver aborted.");

    // As browsers do it, unasked.
    let (head, text) = Client::saying(server.address(), &named("one")).text();
    assert_eq!(head.status, 409, "{text}");
    assert!(text.contains("The receiver or a connection was lost, or"), "{text}");
    server.await_waiting(0);
    // As a person does it.
    Client::waiting(server.address(), &named("two"));
}
