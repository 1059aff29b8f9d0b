//! The terminal while it is shown: taken, drawn on, and given back as it was.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Another screen, without a cursor; and back to what was there.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A terminal in use. Dropped, it is as it was.
#[derive(Debug)]
pub(super) struct Terminal {
    /// How its keys were read, if standard input is a terminal.
    before: Option<Termios>,
    /// Set by a signal that ends the program.
    is_ended: Arc<AtomicBool>,
}

/// What was pressed, as far as it means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
}

impl Terminal {
    /// Takes it.
    ///
    /// # Errors
    /// If it cannot be written to, or signals cannot be caught.
    pub(super) fn take() -> io::Result<Self> {
        let is_ended = Arc::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&is_ended))?;
        }
        let stdin = io::stdin();
        let before = if stdin.is_terminal() { tcgetattr(&stdin).ok() } else { None };
        // From here on a failure gives it back.
        let terminal = Self { before, is_ended };
        if let Some(before) = &terminal.before {
            let mut keys = before.clone();
            // Each key at once and unseen; also those that would stop the program with the
            // terminal as it is.
            keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
            tcsetattr(&stdin, OptionalActions::Now, &keys)?;
        }
        write(ENTER)?;
        Ok(terminal)
    }

    /// Its rows and columns.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
                (size.ws_row.into(), size.ws_col.into())
            }
            _ => (24, 80),
        }
    }

    /// Shows these lines, as far as they fit into so many columns.
    pub(super) fn show(&mut self, lines: &[String], columns: usize) -> io::Result<()> {
        let mut screen = "\x1b[H".to_owned();
        for (index, line) in lines.iter().enumerate() {
            // Not behind the last: it would scroll.
            screen += if index > 0 { "\r\n" } else { "" };
            screen.extend(line.chars().take(columns));
            screen += "\x1b[K";
        }
        screen += "\x1b[J";
        write(&screen)
    }

    /// Waits until `by`, or for a key or signal that means something.
    pub(super) fn wait(&mut self, by: Instant) -> io::Result<Option<Key>> {
        let stdin = io::stdin();
        loop {
            if self.is_ended.load(Ordering::Relaxed) {
                return Ok(Some(Key::Quit));
            }
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut keyboard = [PollFd::new(&stdin, PollFlags::IN)];
            // Without a keyboard there are signals.
            let watched = if self.before.is_some() { &mut keyboard[..] } else { &mut [] };
            match poll(watched, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let mut keys = [0; 64];
            let read = rustix::io::read(&stdin, &mut keys)?;
            /// Ctrl-C and Ctrl-D, which the terminal makes nothing of now.
            const CONTROLS: [u8; 2] = [3, 4];
            let quits = |key: &u8| b"qQ".contains(key) || CONTROLS.contains(key);
            // An end is that of the terminal.
            if read == 0 || keys[..read].iter().any(quits) {
                return Ok(Some(Key::Quit));
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nobody is left to be told if this fails.
        write(LEAVE).ok();
        if let Some(before) = &self.before {
            tcsetattr(io::stdin(), OptionalActions::Now, before).ok();
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
