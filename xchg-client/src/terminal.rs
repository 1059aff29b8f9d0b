//! Makes other people's words fit to be shown on a terminal.

/// `text` on one line, with every character escaped that could move the cursor, hide text or
/// reverse its order.
///
/// These are control characters, line and paragraph separators, and Unicode's bidirectional and
/// invisible format characters
/// (<https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>,
/// <https://trojansource.codes>). Escaping twice changes nothing.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_deceptive(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether `c` shows as something else than itself.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_is_escaped_and_the_rest_is_kept() {
        for (text, shown) in [
            ("plain ünïcode 日本 🦀", "plain ünïcode 日本 🦀"),
            ("two\nlines\r\tand a tab", "two\\nlines\\r\\tand a tab"),
            ("\u{1b}[2Jcleared\u{7}", "\\u{1b}[2Jcleared\\u{7}"),
            ("c1 \u{9b}31m", "c1 \\u{9b}31m"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("\u{2066}a\u{2069}\u{200f}", "\\u{2066}a\\u{2069}\\u{200f}"),
            ("line\u{2028}sep", "line\\u{2028}sep"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
        ] {
            assert_eq!(escape(text), shown);
            assert_eq!(escape(&escape(text)), shown, "once is enough");
        }
    }
}
