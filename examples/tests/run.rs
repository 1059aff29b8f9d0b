//! Runs each example and compares what it prints. `cargo test` builds them beside this test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo puts examples: `target/PROFILE/examples`, this test being in `target/PROFILE/deps`.
fn path_of(example: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    let profile = this.ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
    profile.join("examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX))
}

fn assert_prints(example: &str, expected: &str) {
    let path = path_of(example);
    let output = Command::new(&path).output().unwrap_or_else(|error| {
        panic!("{}: {error}; build it: cargo build --examples", path.display())
    });
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((stdout.as_ref(), stderr.as_ref()), (expected, ""), "{example}");
    assert!(output.status.success(), "{example}: {}", output.status);
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
