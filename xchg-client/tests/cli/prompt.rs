//! Questions at a terminal, and how they can be left.

use std::path::Path;
use std::process::Command;

use tempfile::tempdir;

use crate::server::{Server, nowhere, receipt};
use crate::support::command;
use crate::terminal::Terminal;

#[test]
fn a_download_without_a_key_asks_for_it() {
    let folder = tempdir().unwrap();
    let server = Server::run(|mut peer| {
        assert_eq!(peer.offer().key.as_bytes(), b"12342-fabric-lemon-orbit");
        peer.match_native();
        peer.send_payload(b"seven");
        assert_eq!(peer.read(9), receipt(0, 5));
    });
    let mut terminal = Terminal::run(&command(
        folder.path(),
        &["download", "--plain", "--server", &server.address],
    ));
    terminal.wait_for("key: ");
    terminal.press("\r");
    terminal.wait_for("key is 0 bytes long; use 1 to 255");
    terminal.wait_for("key: ");
    terminal.press("12342-fabr\tlen\x08m\tor\tb\t\r");
    terminal.wait_for("it is in 12342-fabric-lemon-orbit");
    assert_eq!(terminal.finish().0, Some(0));
    server.finish();
}

#[test]
fn a_secret_is_asked_for_on_both_sides() {
    use crate::rendezvous::Rendezvous;
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    std::fs::write(here.path().join("f"), "seven").unwrap();
    let server = Rendezvous::start();
    let upload = ["upload", "f", "--ask-secret", "--server", &server.address];
    let download = ["download", "f:", "--yes", "--server", &server.address];
    let mut peers = [(here.path(), &upload), (there.path(), &download)]
        .map(|(folder, arguments)| Terminal::run(&command(folder, arguments)));
    for peer in &mut peers {
        peer.wait_for("Secret: ");
        peer.wait_for_silence();
        peer.press("swordfish\r");
    }
    for peer in peers {
        let (code, shown) = peer.finish();
        assert_eq!(code, Some(0), "{shown}");
        assert!(!shown.contains("sword"), "{shown}");
    }
}

#[test]
fn a_secret_is_not_shown_while_it_is_typed() {
    let arguments = ["download", "k:", "-o", "-", "--server", &nowhere()];
    let mut terminal = Terminal::run(&command(Path::new("."), &arguments));
    terminal.wait_for("Secret: ");
    terminal.wait_for_silence();
    terminal.press("sword\x7fdfish\r");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("\r\nxchg-client: cannot reach"), "{shown}");
    assert!(!shown.contains("sw"), "{shown}");
}

/// What asks, and what it asks.
const PROMPTS: [(&[&str], &str); 3] = [
    (&["download"], "key: "),
    (&["download", "k:"], "Secret: "),
    (&["download", "note"], "Accept? [Y/n]"),
];

/// Runs `shell`, a script in which `ASK` stands for a program that asks, at a terminal of its own.
fn at_prompt(ask: &[&str], shell: &str, term: Option<&str>, test: impl FnOnce(Terminal)) {
    use crate::rendezvous::Rendezvous;
    let folder = tempdir().unwrap();
    let server = Rendezvous::start();
    let upload = server.run(folder.path(), &["upload", "--text", "hello", "--key", "note"]);
    let asks = command(folder.path(), &[ask, &["--server", &server.address]].concat());
    let words = [asks.get_program()].into_iter().chain(asks.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let mut program = Command::new("bash");
    program.args(["-c", &shell.replace("ASK", &words.join(" "))]).current_dir(folder.path());
    match term {
        Some(term) => program.env("TERM", term),
        None => program.env_remove("TERM"),
    };
    test(Terminal::run(&program));
    drop(upload);
}

/// Checks what `stty -a` says of a terminal that somebody can go on to work at.
#[track_caller]
fn assert_usual(modes: &str) {
    assert!(modes.contains("eol = <undef>"), "{modes}");
    let words: Vec<_> = modes.split_whitespace().collect();
    for mode in ["isig", "icanon", "echo"] {
        assert!(words.contains(&mode), "no {mode} in {modes}");
    }
}

#[test]
fn leaving_any_question_is_an_interruption() {
    for (ask, question) in PROMPTS {
        for term in [Some("xterm"), Some("dumb"), None] {
            for key in ["\x03", "\x04"] {
                at_prompt(ask, "ASK; echo ended $?; stty -a", term, |mut terminal| {
                    terminal.wait_for(question);
                    terminal.press(key);
                    terminal.wait_for("\nxchg-client: interrupted");
                    terminal.wait_for("ended 130");
                    let (_, modes) = terminal.finish();
                    assert_usual(&modes);
                });
            }
        }
    }
}

#[test]
fn any_question_can_be_left_for_a_while() {
    for (ask, question) in PROMPTS {
        for term in [Some("xterm"), Some("dumb")] {
            let shell = "set -m; ASK; echo stopped $?; fg >/dev/null; echo ended $?";
            at_prompt(ask, shell, term, |mut terminal| {
                terminal.wait_for(question);
                terminal.press("\x1a");
                // 128 and the number of SIGTSTP.
                terminal.wait_for("stopped 148");
                terminal.wait_for(question);
                terminal.press("\x03");
                terminal.wait_for("ended 130");
            });
        }
    }
}

#[test]
fn a_program_that_is_told_to_end_at_a_question_leaves_the_terminal_as_it_was() {
    for (ask, question) in PROMPTS {
        at_prompt(ask, "ASK; stty -a", Some("xterm"), |mut terminal| {
            terminal.wait_for(question);
            let pid = terminal.child_of_shell();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            let (_, modes) = terminal.finish();
            assert_usual(&modes);
        });
    }
}

#[test]
fn a_terminal_without_a_cursor_is_one_to_ask_at() {
    for term in ["dumb", ""] {
        let server = Server::run(|mut peer| {
            assert_eq!(peer.offer().key.as_bytes(), b"k");
            peer.refuse(xchg_core::wire::RefusalCode::Busy, "full");
        });
        let arguments = ["download", "--plain", "--no-retry", "--server", &server.address];
        let mut program = command(Path::new("."), &arguments);
        let mut terminal = Terminal::run(program.env("TERM", term));
        terminal.wait_for("key: ");
        terminal.press("\r");
        terminal.wait_for("key is 0 bytes long; use 1 to 255");
        terminal.wait_for("key: ");
        terminal.press("jj\x7f\x7fk\r");
        assert_eq!(terminal.finish().0, Some(3), "{term}");
        server.finish();
    }
}

#[test]
fn what_was_typed_before_a_question_is_no_answer() {
    at_prompt(&["download", "note"], "ASK; echo ended $?", Some("xterm"), |mut terminal| {
        // Sooner than the program can ask.
        terminal.press("n\r\r");
        terminal.wait_for("Accept? [Y/n]");
        terminal.press("maybe\r");
        terminal.wait_for("answer y or n");
        terminal.wait_for("Accept? [Y/n]");
        terminal.press("y\r");
        terminal.wait_for("ended 0");
    });
}
