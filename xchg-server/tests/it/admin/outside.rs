//! What other programs say of the admin listener, and of a server with a stuck worker.

use std::io::Write;
use std::process::{Command, Stdio};

use xchg_core::Side;

use super::{ask, metrics, start};
use crate::common::{Brake, Peer, Process, eventually};

#[test]
#[ignore = "needs promtool, of Debian's package prometheus"]
fn promtool_finds_no_fault_with_the_metrics() {
    let (server, admin) = start();
    let mut downloader = Peer::native(server.address(), Side::Download, "key").waits();
    drop(Peer::classic(server.address(), b'P', "key").send_all(b"whole"));
    downloader.matched();
    assert_eq!(downloader.whole(), b"whole");
    server.next_outcome();
    let page = ask(admin, "GET", "/metrics").body;
    assert!(page.contains("xchg_exchanges_total{"), "{page}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "");
    assert!(said.status.success());
}

#[test]
#[ignore = "needs strace, and the right to trace"]
fn a_worker_that_does_not_turn_makes_the_server_unhealthy_until_it_does() {
    let args = ["--admin", "127.0.0.1:0", "--log-format", "json", "--workers", "2"];
    let (process, _) = Process::start(&args);
    let line = |part: &str| -> Option<serde_json::Value> {
        let said = process.stderr();
        said.lines()
            .find(|line| line.contains(part))
            .map(|line| serde_json::from_str(line).unwrap())
    };
    eventually("the log says that it listens", || line("\"listening\"").is_some());
    eventually("it says where", || line("\"listening\"").is_some());
    let admin = line("\"listening\"").unwrap()["admin"].as_str().unwrap().parse().unwrap();
    assert_eq!(ask(admin, "GET", "/healthz").status, 200);
    let brake = Brake::on(&process, "xchg-worker-1");
    eventually("it is unhealthy", || ask(admin, "GET", "/healthz").status == 503);
    let page = ask(admin, "GET", "/healthz");
    assert_eq!(page.body, "worker 1 has not turned for 5 seconds\n");
    let counted = metrics(admin);
    assert_eq!(counted["xchg_worker_stuck{worker=\"0\"}"], 0.0);
    assert_eq!(counted["xchg_worker_stuck{worker=\"1\"}"], 1.0);
    eventually("it is logged", || line("does not turn any more").is_some());
    drop(brake);
    eventually("it is well again", || ask(admin, "GET", "/healthz").status == 200);
    eventually("that is logged, too", || line("turns again").is_some());
}
