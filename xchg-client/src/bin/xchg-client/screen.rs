//! Content that goes to a terminal as it is: text only, as curl has it.

use std::fs::File;
use std::io::{self, Write};

const BINARY: &str = "it is binary, and would garble the terminal; \
    name a file with -o, or pipe it into a program that can show it";

/// A terminal that takes text. What could move its cursor, change its title or type on the person's
/// behalf is an error.
#[derive(Debug)]
pub(crate) struct Screen<W = File> {
    terminal: W,
    /// The last byte of what was written: a control character may be cut in two.
    last: u8,
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(terminal: W) -> Self {
        Self { terminal, last: 0 }
    }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut last = self.last;
        for &byte in bytes {
            if is_control(last, byte) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, BINARY));
            }
            last = byte;
        }
        let written = self.terminal.write(bytes)?;
        self.last = bytes[..written].last().copied().unwrap_or(self.last);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.terminal.flush()
    }
}

/// Whether `byte` is a control character other than those that lay out text, or ends one behind
/// `last`: U+0080 to U+009F are `c2` and a second byte in UTF-8.
fn is_control(last: u8, byte: u8) -> bool {
    let layout = matches!(byte, b'\t' | b'\n' | b'\r');
    (byte.is_ascii_control() && !layout) || (last == 0xc2 && (0x80..0xa0).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_and_binary_is_refused_before_any_of_it() {
        for (bytes, is_shown) in [
            (&b"two\r\n\tlines\n"[..], true),
            ("Gr\u{fc}\u{df}e \u{4f60}\u{597d} \u{a0}".as_bytes(), true),
            (b"", true),
            (b"\x7fELF", false),
            (b"a\0b", false),
            (b"\x1b]0;title\x07", false),
            (b"back\x08space", false),
            ("\u{9b}31m".as_bytes(), false),
        ] {
            let mut shown = Vec::new();
            assert_eq!(Screen::new(&mut shown).write_all(bytes).is_ok(), is_shown, "{bytes:?}");
            assert_eq!(shown, if is_shown { bytes } else { b"" }, "{bytes:?}");
            // Byte by byte, only what comes before is shown.
            let mut shown = Vec::new();
            let mut screen = Screen::new(&mut shown);
            let whole = bytes.chunks(1).try_for_each(|byte| screen.write_all(byte));
            assert_eq!(whole.is_ok(), is_shown, "{bytes:?}");
        }
    }
}
