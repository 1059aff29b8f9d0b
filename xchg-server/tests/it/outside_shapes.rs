//! What a client makes of a request's first line behind real proxies that keep their upstream
//! connections: nobody is answered by it.

use std::path::Path;

use crate::common::{InProcess, Peer, config, loopback};
use crate::outside_proxies::{Proxy, impatient, nginx, run_haproxy, run_nginx};
use crate::shapes::{METHODS, PLANTED, plant, request};
use xchg_server::Config;

/// A server that speaks everything to the proxy, too, and is asked by one connection only.
fn server() -> InProcess {
    let listen = vec![loopback(), format!("{},public", loopback()).parse().unwrap()];
    InProcess::start(Config { listen, ..config() })
}

fn answer(proxy: &Proxy, bytes: &[u8]) -> String {
    // A proxy that is told too much may close by a reset, behind its answer.
    let mut answer = Vec::new();
    let mut peer = Peer::saying(proxy.address, bytes);
    std::io::Read::read_to_end(&mut peer, &mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The next visitor's page, over whatever connection the proxy has kept.
fn assert_visited(proxy: &Proxy, after: &str) {
    let page = answer(proxy, &request("GET", "/"));
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<html"), "{after}: {page}");
    let version = answer(proxy, &request("GET", "/version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{after}: {version}");
}

/// Each method, as far as the proxy sends it on, is answered by a refusal; and nothing that waits
/// is taken for an answer.
fn check_methods(proxy: &Proxy, server: &InProcess) {
    let mut refused_here = 0;
    for method in METHODS {
        for target in ["/", "/ABCDEFG", "*", "http://localhost/ABCDEFG"] {
            let request = request(method, target);
            let planted = plant(server, &request);
            let answer = answer(proxy, &request);
            let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
            let is_refusal = status.is_some_and(|status| (400..600).contains(&status));
            assert!(is_refusal && !answer.contains("planted"), "{method} {target}: {answer}");
            refused_here += u32::from(answer.contains("Unsupported method"));
            assert_visited(proxy, method);
            assert_eq!((server.counts().waiting, server.counts().draining), (1, false), "{method}");
            drop(planted);
            server.await_waiting(0);
        }
    }
    assert!(refused_here > 50, "the proxy sent on only {refused_here} of the requests");
}

/// A body that is a whole response, where a hasty reader of the next request looks for a download.
fn check_planted_response(proxy: &Proxy, server: &InProcess) {
    let upload = format!(
        "PUT /ABCDEFG%20 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        PLANTED.len()
    );
    let uploader = Peer::saying(proxy.address, &[upload.as_bytes(), PLANTED].concat());
    server.await_waiting(1);
    for _ in 0..3 {
        let answer = answer(proxy, &request("GABCDEFG", "/"));
        assert!(answer.contains("405") && !answer.contains("planted"), "{answer}");
        assert_visited(proxy, "GABCDEFG");
    }
    assert_eq!(server.counts().waiting, 1);
    drop(uploader);
}

#[test]
#[ignore = "needs nginx"]
fn no_method_gets_past_nginx() {
    let server = server();
    let keeping = |sample: &str, folder: &Path| {
        nginx("http")(&sample.replace("keepalive 16", "keepalive 1"), folder)
    };
    let proxy = Proxy::start(&server, "nginx, with connections that are kept", keeping, run_nginx);
    check_methods(&proxy, &server);
    check_planted_response(&proxy, &server);
}

#[test]
#[ignore = "needs haproxy"]
fn no_method_gets_past_haproxy() {
    let server = server();
    let keeping = |sample: &str, _: &Path| impatient(sample);
    let proxy = Proxy::start(&server, "HAProxy, as an HTTP proxy", keeping, run_haproxy);
    check_methods(&proxy, &server);
    check_planted_response(&proxy, &server);
}
