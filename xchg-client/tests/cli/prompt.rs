//! Questions at a terminal: a pseudo-terminal, which the program gets as its own from `setsid` (util-linux).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tempfile::tempdir;

use crate::server::{Server, nowhere, receipt};
use crate::support::{DEADLINE, command};

/// A program at its own terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    /// Runs `program` with its arguments, folder and environment.
    fn run(program: &Command) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args());
        command.env("TERM", "xterm").current_dir(program.get_current_dir().unwrap());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let stream = || slave.try_clone().unwrap();
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        let (sender, screen) = mpsc::channel();
        let mut output = File::from(OwnedFd::try_clone(&master).unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It fails when the program has ended.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                drop(sender.send(buffer[..count].to_vec()));
            }
        });
        Terminal { child, keyboard: master.into(), screen, shown: String::new() }
    }

    /// Waits until `part` is on the screen, behind whatever was waited for before.
    #[track_caller]
    fn wait_for(&mut self, part: &str) {
        loop {
            if let Some(at) = self.shown.find(part) {
                self.shown.drain(..at + part.len());
                return;
            }
            let Ok(bytes) = self.screen.recv_timeout(DEADLINE) else {
                panic!("no `{part}` in {:?}", self.shown);
            };
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Waits until the terminal does not show any more what is typed.
    #[track_caller]
    fn wait_for_silence(&self) {
        let deadline = Instant::now() + DEADLINE;
        while tcgetattr(&self.keyboard).unwrap().local_modes.contains(LocalModes::ECHO) {
            assert!(Instant::now() < deadline, "it goes on to show what is typed");
            thread::yield_now();
        }
    }

    /// The one process that the shell at the terminal has started.
    fn child_of_shell(&self) -> rustix::process::Pid {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        rustix::process::Pid::from_raw(children.trim().parse().unwrap()).unwrap()
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the program's end, and gives its exit code and what it has shown since `wait_for`.
    fn finish(mut self) -> (Option<i32>, String) {
        loop {
            match self.screen.recv_timeout(DEADLINE) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {:?}", self.shown),
            }
        }
        let code = self.child.wait().unwrap().code();
        (code, std::mem::take(&mut self.shown))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

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
fn an_offer_is_shown_and_may_be_declined() {
    use crate::rendezvous::Rendezvous;
    for (answer, code) in [("maybe", 5), ("y", 0), ("", 0)] {
        let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
        std::fs::write(here.path().join("stocks.txt"), "seven").unwrap();
        let server = Rendezvous::start();
        let upload = server.run(here.path(), &["upload", "stocks.txt"]);
        let arguments = ["download", "stocks.txt", "--server", &server.address];
        let mut terminal = Terminal::run(&command(there.path(), &arguments));
        terminal.wait_for("offered: 1 file, 5 B in all");
        terminal.wait_for("Accept? [Y/n]");
        terminal.press(&format!("{answer}\r"));
        if answer == "maybe" {
            terminal.wait_for("answer y or n");
            terminal.wait_for("Accept? [Y/n]");
            terminal.press("n\r");
        }
        assert_eq!(terminal.finish().0, Some(code));
        upload.finish().expect(code, if code == 0 { "has it" } else { "the person there said no" });
        assert_eq!(there.path().join("stocks.txt").exists(), code == 0);
    }
}

#[test]
fn leaving_the_question_about_an_offer_is_an_interruption_there_and_a_no_here() {
    use crate::rendezvous::Rendezvous;
    let folder = tempdir().unwrap();
    let server = Rendezvous::start();
    let upload = server.run(folder.path(), &["upload", "--text", "hello", "--key", "note"]);
    let arguments = ["download", "note", "--quiet", "--server", &server.address];
    let mut terminal = Terminal::run(&command(folder.path(), &arguments));
    // Also who wants to hear of nothing must know what the question is about.
    terminal.wait_for("offered: a text, 5 B");
    terminal.wait_for("Accept? [Y/n]");
    terminal.press("\x03");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(130), "{shown}");
    upload.finish().expect(5, "the person there said no");
}

#[test]
fn a_text_cannot_do_anything_to_the_terminal() {
    use crate::rendezvous::Rendezvous;
    let folder = tempdir().unwrap();
    let server = Rendezvous::start();
    let text = "two\nlines, \u{1b}[31mred\u{7}";
    let upload = server.run(folder.path(), &["upload", "--text", text, "--key", "note"]);
    let arguments = ["download", "note", "--yes", "--server", &server.address];
    let (code, shown) = Terminal::run(&command(folder.path(), &arguments)).finish();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("two\r\nlines, \\u{1b}[31mred\\u{7}"), "{shown}");
    assert!(!shown.contains("\u{1b}[31m") && !shown.contains('\u{7}'), "{shown}");
    upload.finish().expect(0, "");
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
        let arguments = ["download", "--plain", "--server", &server.address];
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
