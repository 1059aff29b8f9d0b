//! A code as a QR code of text, for a phone to read from the screen.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use xchg_client::Code;

/// What a QR code is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QrStyle {
    /// A terminal, which is told to use black and white, whatever its own colours are.
    Terminal,
    /// Anything that shows text; right where letters are brighter than their ground.
    Text,
}

/// Pure white on pure black, from the part of the palette that no theme changes.
const WHITE_ON_BLACK: &str = "\x1b[38;5;231;48;5;16m";

/// Back to the terminal's own colours.
const RESET: &str = "\x1b[0m";

/// `code` as a QR code, with the quiet zone of four modules that readers need: up to 19 lines of up
/// to 37 columns, drawn in half blocks, each ended by a line feed.
pub(crate) fn draw(code: &Code, style: QrStyle) -> String {
    let qr = QrCode::new(code.to_string()).expect("32 bytes fit into a QR code");
    // Half blocks are drawn where a sheet of paper would be white.
    let image = qr
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    let lines = image.lines().map(|line| match style {
        QrStyle::Terminal => format!("{WHITE_ON_BLACK}{line}{RESET}\n"),
        QrStyle::Text => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use rqrr::PreparedImage;

    use super::*;

    /// Columns of the quiet zone (ISO/IEC 18004, section 6.3.8).
    const QUIET: usize = 4;

    /// What each cell of `text` shows above and below: whether it is white, on a black ground.
    fn modules(text: &str) -> Vec<Vec<bool>> {
        let rows = text.lines().flat_map(|line| {
            [['█', '▀'], ['█', '▄']].map(|white| line.chars().map(|c| white.contains(&c)).collect())
        });
        rows.collect()
    }

    /// Reads what a phone would read.
    fn read(modules: &[Vec<bool>]) -> String {
        /// Pixels of a module.
        const SCALE: usize = 4;
        let (width, height) = (modules[0].len() * SCALE, modules.len() * SCALE);
        let mut image = PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            if modules[y / SCALE][x / SCALE] { 255 } else { 0 }
        });
        let [grid] = &image.detect_grids()[..] else { panic!("there is one QR code") };
        grid.decode().unwrap().1
    }

    #[test]
    fn a_reader_of_qr_codes_reads_the_code() {
        // The shortest words, and the longest.
        for text in
            ["12342-fabric-lemon-orbit", "10010-act-zoo-act", "99990-abstract-universe-consider"]
        {
            let code = Code::parse(text).unwrap();
            assert_eq!(read(&modules(&draw(&code, QrStyle::Text))), text);
        }
    }

    #[test]
    fn it_fits_a_terminal_of_24_lines_with_its_quiet_zone() {
        let code = Code::parse("99990-abstract-universe-consider").unwrap();
        let modules = modules(&draw(&code, QrStyle::Text));
        let (lines, columns) = (modules.len() / 2, modules[0].len());
        assert_eq!((lines, columns), (19, 37), "as the doc says");
        for (y, row) in modules[..columns].iter().enumerate() {
            for (x, white) in row.iter().enumerate() {
                let inside = QUIET..columns - QUIET;
                assert!(*white || inside.contains(&x) && inside.contains(&y), "{x} {y}");
            }
        }
    }

    #[test]
    fn a_terminal_gets_the_same_in_black_and_white() {
        let code = Code::parse("12342-fabric-lemon-orbit").unwrap();
        let (text, terminal) = (draw(&code, QrStyle::Text), draw(&code, QrStyle::Terminal));
        let coloured = terminal.lines().map(|line| {
            line.strip_prefix(WHITE_ON_BLACK).unwrap().strip_suffix(RESET).unwrap().to_owned()
                + "\n"
        });
        assert_eq!(coloured.collect::<String>(), text);
        assert!(text.lines().all(|line| line.chars().all(|c| " ▀▄█".contains(c))));
    }
}
