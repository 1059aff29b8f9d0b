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
use xchg_client::prompt::Question;

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
fn leaving_a_question_is_an_interruption() {
    for key in ["\x03", "\x04"] {
        let arguments = ["download", "--plain", "--server", &nowhere()];
        let mut terminal = Terminal::run(&command(Path::new("."), &arguments));
        terminal.wait_for("key: ");
        terminal.press(key);
        let (code, shown) = terminal.finish();
        assert_eq!(code, Some(130), "{shown}");
    }
}

#[test]
fn a_terminal_that_cannot_edit_is_none_for_a_key() {
    let mut program = command(Path::new("."), &["download", "--plain", "--server", &nowhere()]);
    let (code, shown) = Terminal::run(program.env("TERM", "dumb")).finish();
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("no terminal to ask at; name it"), "{shown}");
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
            // Ctrl-U deletes what was typed.
            terminal.press("\x15n\r");
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

/// Says that this process is the program at the terminal, of the test with the same name.
const ASKED: &str = "XCHG_TEST_ASKED";

#[test]
fn a_secret_is_not_shown_while_it_is_typed() {
    if std::env::var_os(ASKED).is_some() {
        let secret = Question { text: "Secret: ", otherwise: "" }.ask_secret().unwrap();
        println!("it has {} bytes", secret.len());
        return;
    }
    let mut program = Command::new(std::env::current_exe().unwrap());
    let name = "prompt::a_secret_is_not_shown_while_it_is_typed";
    program.args(["--exact", name, "--nocapture"]).env(ASKED, "1").current_dir(".");
    let mut terminal = Terminal::run(&program);
    terminal.wait_for("Secret: ");
    terminal.wait_for_silence();
    terminal.press("sword\x7fdfish\r");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("it has 9 bytes"), "{shown}");
    assert!(!shown.contains("sw"), "{shown}");
}
