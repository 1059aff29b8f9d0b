//! Relay benchmark: how fast the server relays, beside the same bytes sent directly and through
//! other relays.
//!
//! `cargo bench -p xchg-server --bench relay -- --help` says how to run it, BENCHMARKS.md what its
//! rows mean. Run without `--bench`, as `cargo test --benches` does, it only moves a few bytes to
//! show that it works.

#![expect(clippy::print_stderr, reason = "reporting is this program's job")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "peers with a clock")]

#[cfg(target_os = "linux")]
mod suite;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    suite::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the relay benchmark needs epoll, sendfile and /proc: run it on Linux");
}
