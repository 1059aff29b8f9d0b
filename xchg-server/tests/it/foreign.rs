//! Web pages of other sites, in the browser of whoever has a server on their own machine.

use crate::common::{InProcess, Peer, config, loopback};
use crate::web::Client;
use xchg_core::Side;
use xchg_server::{Config, Listen};

const FOREIGN: &str = "https://evil.example";

/// A request with a Host and other fields; no connection is kept.
fn request(method: &str, path: &str, host: &str, fields: &str) -> Vec<u8> {
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{length}{fields}\r\n")
        .into_bytes()
}

fn status(server: &InProcess, request: &[u8]) -> (u16, String) {
    let mut client = Client::saying(server.address(), request);
    let text = String::from_utf8(client.rest().unwrap()).unwrap();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{text:?} has no status")), text)
}

/// What a request to a listener with `options` gets that wants nothing but a text.
fn serve(options: &str, allow: &[&str]) -> InProcess {
    let listen: Listen = format!("{}{options}", loopback()).parse().unwrap();
    let allow_origins = allow.iter().map(|origin| origin.parse().unwrap()).collect();
    InProcess::start(Config { listen: vec![listen], allow_origins, ..config() })
}

#[test]
fn a_server_on_this_machine_is_not_for_the_pages_of_others() {
    let server = serve("", &[]);
    let port = server.address().port();
    let own = format!("localhost:{port}");
    for (host, fields, expected) in [
        // Programs, and what somebody types.
        (&*own, "", 200),
        ("localhost", "", 200),
        ("notes.localhost", "", 200),
        ("127.0.0.1", "", 200),
        ("[::1]:80", "", 200),
        (&own, "Sec-Fetch-Site: none\r\n", 200),
        // The server's own page.
        (&own, "Sec-Fetch-Site: same-origin\r\n", 200),
        (&own, &format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n"), 200),
        // A name that was made to lead here.
        ("evil.example", "", 403),
        (&format!("evil.example:{port}"), "Sec-Fetch-Site: same-origin\r\n", 403),
        ("evil.example", "Origin: http://evil.example\r\n", 403),
        ("localhost.evil.example", "", 403),
        ("0.0.0.0", "", 403),
        ("192.168.1.2", "", 403),
        // Pages of elsewhere, also of other servers on this machine.
        (&own, &format!("Origin: {FOREIGN}\r\n"), 403),
        (&own, "Origin: null\r\n", 403),
        (&own, "Origin: http://localhost:1\r\n", 403),
        (&own, "Origin: http://localhost\r\n", 403),
        (&own, "Sec-Fetch-Site: cross-site\r\n", 403),
        (&own, "Sec-Fetch-Site: same-site\r\n", 403),
        (&own, &format!("Origin: http://{own}\r\nSec-Fetch-Site: same-site\r\n"), 403),
    ] {
        for (method, path) in [("GET", "/version"), ("HEAD", "/"), ("OPTIONS", "/key")] {
            let (status, text) = status(&server, &request(method, path, host, fields));
            assert_eq!(status, expected, "{method} for {host} with {fields:?}: {text}");
            assert!(status == 200 || !text.contains("Access-Control-"), "{text}");
        }
    }
}

#[test]
fn a_page_of_another_site_takes_and_leaves_nothing() {
    let server = serve("", &[]);
    let uploader = Peer::native(server.address(), Side::Upload, "key").waits();
    for host in ["evil.example", "localhost"] {
        for method in ["GET", "POST", "PUT", "FOO"] {
            let fields = format!("Origin: {FOREIGN}\r\n");
            let (status, text) = status(&server, &request(method, "/key", host, &fields));
            assert_eq!(status, 403, "{text}");
            let says_what_to_do = text.contains("localhost") || text.contains("--allow-origin");
            assert!(text.contains("[ERROR]") && says_what_to_do, "{text}");
        }
    }
    let body = b"POST /other HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(status(&server, body).0, 403);
    assert_eq!((server.counts().waiting, server.stats().refused), (1, 9));
    drop(uploader);
}

#[test]
fn sites_may_be_let_in() {
    const ALLOWS: &str = "Access-Control-Allow-Private-Network: true\r\n";
    let server = serve("", &["https://friend.example", "http://mine.test:8080"]);
    let asks = "Access-Control-Request-Private-Network: true\r\n";
    for fields in ["", "Origin: http://localhost\r\n"] {
        let (got, text) =
            status(&server, &request("OPTIONS", "/key", "localhost", &format!("{fields}{asks}")));
        assert!(got == 200 && !text.contains(ALLOWS), "{text}");
    }
    for (host, fields, expected) in [
        ("localhost", "Origin: https://friend.example\r\nSec-Fetch-Site: cross-site\r\n", 200),
        ("localhost", "Origin: http://friend.example\r\n", 403),
        ("localhost", "Origin: https://friend.example:444\r\n", 403),
        ("localhost", "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("localhost", "Sec-Fetch-Site: cross-site\r\n", 403),
        // Under the name of such a site it may be served itself.
        ("mine.test:8080", "", 200),
        ("mine.test:8080", "Origin: http://mine.test:8080\r\n", 200),
        ("mine.test", "", 403),
        ("evil.example", "Origin: https://friend.example\r\n", 403),
    ] {
        let (got, text) =
            status(&server, &request("OPTIONS", "/key", host, &format!("{fields}{asks}")));
        assert_eq!(got, expected, "{host} with {fields:?}: {text}");
        let is_let_in = text.contains(ALLOWS);
        assert_eq!(is_let_in, expected == 200 && fields.contains("Origin"), "{text}");
    }
}

#[test]
fn what_everybody_may_use_is_open_to_all_pages() {
    for (options, allow) in [(",public", &[][..]), ("", &["*"])] {
        let server = serve(options, allow);
        let asks = "Access-Control-Request-Private-Network: true\r\n";
        for host in ["localhost", "evil.example"] {
            let fields = format!("Origin: {FOREIGN}\r\nSec-Fetch-Site: cross-site\r\n{asks}");
            let (status, text) = status(&server, &request("OPTIONS", "/key", host, &fields));
            assert_eq!(status, 200, "{text}");
            for field in
                ["Access-Control-Allow-Origin: *", "Access-Control-Allow-Private-Network: true"]
            {
                assert!(text.contains(field), "{text}");
            }
        }
    }
}

#[test]
fn a_listener_of_all_addresses_is_public() {
    let listen = vec!["0.0.0.0:0".parse().unwrap()];
    let server = InProcess::start(Config { listen, ..config() });
    let address = ([127, 0, 0, 1], server.address().port()).into();
    let request =
        request("GET", "/version", "files.example.org", &format!("Origin: {FOREIGN}\r\n"));
    let text = Client::saying(address, &request).rest().unwrap();
    assert!(text.starts_with(b"HTTP/1.1 200 "), "{}", text.escape_ascii());
}
