//! Codes such as `12342-fabric-lemon-orbit`: a number to meet under and three words as the secret,
//! made to be read aloud.
//!
//! # The secret
//! The words are the secret of an end-to-end encrypted transfer. Whoever knows the number, and the
//! server, who sees it, has one guess an offer: a wrong one ends the exchange, and both people are
//! told. That guess is right once in 1111³ times, about 1.4 * 10⁹ (30 bits). 1111 of the list's
//! 2048 words are drawn: those of which no slip of the finger makes another.
//!
//! # The number
//! It has five digits and is a multiple of 11, so that no single wrong, missing, additional or
//! swapped digit makes another number (as in ISBN-10). A code that is mistyped by a single slip is
//! therefore refused where it is typed: nobody waits in vain under a number that nobody has, and no
//! stranger's offer is spent.
//!
//! 8181 numbers remain. Where n other codes wait at a server, a new one meets one of them with
//! probability n/8181: 0.1 % for 10, 1.2 % for 100. Should two pairs draw the same number at once,
//! strangers may be matched. Their words differ, so nothing is transferred, all are told, and a new
//! code helps. More digits would be harder to say; drawing the number from the words would tell the
//! server about them.

#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::io;

use ring::error::Unspecified;
use ring::rand::{self, SystemRandom};
use xchg_core::Key;

use crate::session::Secret;
use crate::terminal::escape;
pub use words::completions;

/// How many words a code has.
const WORD_COUNT: usize = 3;

/// Shows people what a code looks like.
const EXAMPLE: &str = "12342-fabric-lemon-orbit";

/// Every number of a code is a multiple of this.
const STEP: u32 = 11;

/// How many digits a number has.
const NUMBER_DIGITS: usize = 5;

/// The least number of five digits that is one, in steps.
const LEAST_STEPS: u32 = 10_000_u32.div_ceil(STEP);

/// The greatest one, in steps.
const MOST_STEPS: u32 = 99_999 / STEP;

/// A number to meet under and three words as the secret.
///
/// `Display` shows all of it, for the person to pass on; `Debug` hides the words.
///
/// ```
/// use xchg_client::Code;
///
/// // Whatever way a person types it, the code is the same.
/// let code = Code::parse("12342 FABR lemon orbit")?;
/// assert_eq!(code.to_string(), "12342-fabric-lemon-orbit");
/// assert_eq!(code.key().as_bytes(), b"code 12342");
/// // A slip of the finger makes no other code.
/// assert!(Code::parse("12343-fabric-lemon-orbit").is_err());
/// # Ok::<_, xchg_client::InvalidCode>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    number: u32,
    words: [&'static str; WORD_COUNT],
}

/// Why a text is no code. `Display` shows the part that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCode {
    /// The text has not the parts of a code.
    #[error("a code is a number and three words, such as {EXAMPLE}")]
    Shape,
    /// The number is none that a code can have.
    #[error(
        "`{}` is the number of no code, for a slip of the finger; look at its five digits again",
        escape(text)
    )]
    Number {
        /// What was given.
        text: String,
    },
    /// One of the words is none of the list.
    #[error("`{}` is no word of the list; {}", escape(text), advice(text))]
    Word {
        /// What was given.
        text: String,
    },
}

impl Code {
    /// A new code, drawn from the system's cryptographically secure random numbers.
    ///
    /// # Errors
    /// If the system has none.
    pub fn random() -> io::Result<Self> {
        let system = SystemRandom::new();
        let random = || rand::generate(&system).map(|bytes| u32::from_be_bytes(bytes.expose()));
        draw(random).map_err(|Unspecified| io::Error::other("the system gives no random numbers"))
    }

    /// The code that a person typed: in upper or lower case, with any dashes, underscores or
    /// blanks, in quotes or a sentence, and of each word as many letters as identify it; four
    /// always do.
    ///
    /// Nothing is guessed: a text that one slip of the finger has made of a code that was drawn,
    /// typed in full, is that code or none.
    ///
    /// # Errors
    /// If it is no code; the error says which part is wrong, and what may have been meant.
    pub fn parse(text: &str) -> Result<Self, InvalidCode> {
        let [number, words @ ..] = parts(text).ok_or(InvalidCode::Shape)?;
        let number =
            parse_number(number).ok_or_else(|| InvalidCode::Number { text: number.to_owned() })?;
        let [first, second, third] = words.map(parse_word);
        Ok(Self { number, words: [first?, second?, third?] })
    }

    /// Whether `text` is meant as a code, right or mistyped: a number and three parts of letters.
    /// Keys that look like this are better refused than taken for keys, because nobody would ever
    /// come.
    pub fn resembles(text: &str) -> bool {
        parts(text).is_some_and(|[number, words @ ..]| {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && words.iter().all(|word| word.chars().all(char::is_alphabetic))
        })
    }

    /// The key under which its two peers meet: `code 12342`. The number alone would also be the key
    /// of whoever chose it as such.
    pub fn key(&self) -> Key {
        let text = format!("code {}", self.number);
        Key::parse(text.as_bytes()).expect("10 bytes are within 1 to 255")
    }

    /// The number alone, which is no secret.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The secret that they share: the words in full and in lower case, with dashes between them.
    pub fn secret(&self) -> Secret {
        Secret::new(&self.phrase())
    }

    fn phrase(&self) -> String {
        self.words.join("-")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.phrase())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}-..)", self.number)
    }
}

/// Whether `c` stands between the parts of a code. Some keyboards and messengers make longer dashes
/// of short ones.
fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '-' | '_' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}')
        || matches!(c, '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' | '\u{ff3f}')
}

/// Whether `c` is what a sentence puts around a code, or behind one of its words.
fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        '.' | ','
            | ';'
            | '!'
            | '?'
            | '\''
            | '"'
            | '`'
            | '\u{b4}'
            | '*'
            | '('
            | ')'
            | '['
            | ']'
            | '<'
            | '>'
    ) || matches!(
        c,
        '\u{ab}' | '\u{bb}' | '\u{2018}'
            ..='\u{201f}' | '\u{2039}' | '\u{203a}' | '\u{300c}' | '\u{300d}'
    )
}

/// The parts of what may be a code: a number and words, if they are as many as they should be.
fn parts(text: &str) -> Option<[&str; 1 + WORD_COUNT]> {
    let text = text.trim_matches(|c| is_separator(c) || is_punctuation(c) || c == ':');
    four(text.split(is_separator)).or_else(|| {
        // Full stops and the like stand in names of files as well: only what can be nothing else is
        // a code.
        let parts = four(text.split(['.', ',', ';', '/', '+', '|', '~', '*']))?;
        let [number, words @ ..] = parts;
        let is_one =
            number.len() == NUMBER_DIGITS && words.iter().all(|w| words::find(w).is_some());
        is_one.then_some(parts)
    })
}

fn four<'a>(parts: impl Iterator<Item = &'a str>) -> Option<[&'a str; 1 + WORD_COUNT]> {
    let trimmed = parts.map(|part| part.trim_matches(is_punctuation));
    let mut parts = trimmed.filter(|part| !part.is_empty());
    let all = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(all)
}

fn parse_number(text: &str) -> Option<u32> {
    // The standard library would take a sign, and the range alone would let zeros be before the
    // first digit.
    let is_plain = text.len() == NUMBER_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = text.parse().ok().filter(|_| is_plain)?;
    let is_one =
        number.is_multiple_of(STEP) && (LEAST_STEPS..=MOST_STEPS).contains(&(number / STEP));
    is_one.then_some(number)
}

fn parse_word(text: &str) -> Result<&'static str, InvalidCode> {
    words::find(text).ok_or_else(|| InvalidCode::Word { text: text.to_owned() })
}

/// Draws a code from `random`, whose numbers are evenly distributed.
fn draw<E>(mut random: impl FnMut() -> Result<u32, E>) -> Result<Code, E> {
    let steps = LEAST_STEPS + below(MOST_STEPS - LEAST_STEPS + 1, &mut random)?;
    let mut words = [""; WORD_COUNT];
    for word in &mut words {
        *word = draw_word(&mut random)?;
    }
    Ok(Code { number: steps * STEP, words })
}

fn draw_word<E>(random: &mut impl FnMut() -> Result<u32, E>) -> Result<&'static str, E> {
    loop {
        let word = words::all()[below(words::COUNT, random)? as usize];
        if words::is_safe_to_type(word) {
            return Ok(word);
        }
    }
}

/// An evenly distributed number below `end`.
fn below<E>(end: u32, random: &mut impl FnMut() -> Result<u32, E>) -> Result<u32, E> {
    // From here on, some remainders would come once more than the others.
    let limit = u32::MAX - u32::MAX % end;
    loop {
        let number = random()?;
        if number < limit {
            return Ok(number % end);
        }
    }
}

/// What to do about a `text` that is no word.
fn advice(text: &str) -> String {
    match words::similar(text)[..] {
        [] => "look at it letter by letter".into(),
        ref words => format!("did you mean `{}`?", words.join("` or `")),
    }
}
