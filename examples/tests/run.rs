//! Runs each example and compares what it prints. `cargo test` builds them beside this test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo puts examples: `target/PROFILE/examples`, this test being in `target/PROFILE/deps`.
fn path_of(example: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    let profile = this.ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
    profile.join("examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX))
}

/// Runs an example to its end and gives what it printed.
fn output(example: &str) -> String {
    let path = path_of(example);
    let output = Command::new(&path).output().unwrap_or_else(|error| {
        panic!("{}: {error}; build it: cargo build --examples", path.display())
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "", "{example}");
    assert!(output.status.success(), "{example}: {}", output.status);
    String::from_utf8(output.stdout).expect("examples print text")
}

fn assert_prints(example: &str, expected: &str) {
    assert_eq!(output(example), expected, "{example}");
}

/// For examples whose threads print in an order of their own: each of `beginnings` begins a line,
/// and no line is left over.
fn assert_prints_lines(example: &str, beginnings: &[&str]) {
    let output = output(example);
    let mut lines: Vec<&str> = output.lines().collect();
    for beginning in beginnings {
        let line = lines.iter().position(|line| line.starts_with(beginning));
        lines.remove(line.unwrap_or_else(|| panic!("{example}: no `{beginning}` in\n{output}")));
    }
    assert!(lines.is_empty(), "{example}: unexpected {lines:?} in\n{output}");
}

#[test]
fn embed_in_memory() {
    assert_prints(
        "embed_in_memory",
        "download: waits for its counterpart\n\
         upload: paired at once, exchange 1 begins\n\
         downloader answers: thanks for 4000000 bytes\n\
         outcome: completed, 4000000 bytes\n\
         events: 2\n",
    );
}

#[test]
fn embed_unix_socket() {
    assert_prints(
        "embed_unix_socket",
        "downloader: has 3000000 bytes\n\
         uploader: the server is shutting down; try again later, or elsewhere\n\
         server: 1 exchange completed, 3000000 bytes\n",
    );
}

#[test]
fn matchmaking() {
    assert_prints(
        "matchmaking",
        "chess: a player waits, 1 in all\n\
         chess: a player waits, 2 in all\n\
         go: a player waits, 3 in all\n\
         chess: Ada plays Grace\n\
         chess: Ada's laptop may stop waiting\n\
         poker: a player waits, 2 in all\n\
         Blaise leaves\n\
         nothing to do for 39 s\n\
         Shusaku found nobody in 30 s\n\
         latin: teacher teaches student\n",
    );
}

#[test]
fn embed_server() {
    assert_prints_lines(
        "embed_server",
        &[
            "downloaded: all is well",
            "1: started, Key(",
            "1: completed, 12 bytes",
            "its downloader sees: connection reset",
            "2: cancelled, 0 bytes",
            "completed 1, failed 1, 12 bytes",
            "the server has ended",
        ],
    );
}

#[test]
fn four_clients() {
    assert_prints_lines(
        "four_clients",
        &[
            "the server listens on 127.0.0.1:",
            "A waits",
            "B waits",
            "C waits",
            "A exchanges",
            "D exchanges",
            "A is done: 1688895 bytes",
            "D is done: 1688895 bytes",
            "D has all that A has: 1688895 bytes",
            "the server is told to terminate while 2 wait",
            "B is told: the server refuses (draining)",
            "C is told: the server refuses (draining)",
            "the server has ended",
        ],
    );
}

#[test]
fn upload_from_your_app() {
    let steps: Vec<String> = (1..=10).map(|step| format!("{:>3} %", 10 * step)).collect();
    let mut lines: Vec<&str> = steps.iter().map(String::as_str).collect();
    lines.extend([
        "the counterpart has confirmed all 10485760 bytes",
        "cancelled",
        "the counterpart says: lost the uploader after ",
    ]);
    assert_prints_lines("upload_from_your_app", &lines);
}

#[test]
fn sealed_transfer() {
    assert_prints(
        "sealed_transfer",
        "offered: album\n\
         offered: album/1.jpg\n\
         offered: album/2.jpg\n\
         here: interrupted\n\
         there: the other side cancelled; can be resumed: true\n\
         there: all 20500000 bytes have arrived and are on the disk\n\
         here: less than that was sent again: true\n\
         the picture is the same: true\n",
    );
}
