//! Signals that are not meant to end the server do not.

use crate::common::{Peer, Process, eventually};
use rustix::process::Signal;
use xchg_core::Side;

#[test]
fn signals_that_mean_something_else_end_nothing() {
    let (process, address) = Process::start(&[]);
    let mut waits = Peer::native(address, Side::Download, "waits").waits();
    for signal in [Signal::USR1, Signal::USR2, Signal::HUP, Signal::HUP] {
        process.signal(signal);
    }
    eventually("the log says that nothing is read again", || {
        process.stderr().contains("the configuration is not read again")
    });
    drop(Peer::classic(address, b'P', "waits").send_all(b"whole"));
    waits.matched();
    assert_eq!(waits.whole(), b"whole");
    process.signal(Signal::TERM);
    assert_eq!(process.wait().status.code(), Some(0));
}

#[test]
fn an_interrupt_that_was_ignored_at_the_start_stays_ignored() {
    let mut command = Process::shell("trap '' INT");
    command.args(["--listen", "127.0.0.1:0"]);
    let (process, address) = Process::serve(command);
    process.signal(Signal::INT);
    // Obeyed one after another, so that the first would have been by now.
    process.signal(Signal::HUP);
    eventually("the signals have come", || process.stderr().contains("is not read again"));
    assert!(!Peer::status(address).draining);
    process.signal(Signal::TERM);
    assert_eq!(process.wait().status.code(), Some(0));
}
