//! Codes such as `12342-fabric-lemon-orbit`: a number to meet under and three words as the secret, made to be read aloud.
//!
//! # The secret
//! The words are the secret of an end-to-end encrypted transfer. Whoever knows the number, and the server, who sees it, has
//! one guess an offer: a wrong one ends the exchange, and both people are told. That guess is right once in 1111³ times, about
//! 1.4 * 10⁹ (30 bits). 1111 of the list's 2048 words are drawn: those of which no slip of the finger makes another.
//!
//! # The number
//! It has five digits and is a multiple of 11, so that no single wrong, missing, additional or swapped digit makes another number
//! (as in ISBN-10). A code that is mistyped by a single slip is therefore refused where it is typed: nobody waits in vain under
//! a number that nobody has, and no stranger's offer is spent.
//!
//! 8181 numbers remain. Where n other codes wait at a server, a new one meets one of them with probability n/8181: 0.1 % for 10,
//! 1.2 % for 100. Should two pairs draw the same number at once, strangers may be matched. Their words differ, so nothing is
//! transferred, all are told, and a new code helps. More digits would be harder to say; drawing the number from the words
//! would tell the server about them.

mod words;

use std::fmt;
use std::io;

use ring::error::Unspecified;
use ring::rand::{self, SystemRandom};
use xchg_core::Key;

use crate::Error;
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
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    number: u32,
    words: [&'static str; WORD_COUNT],
}

/// Why a text is no code. `Display` shows the part that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCode {
    /// It has not the parts of a code.
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
    pub fn random() -> Result<Code, Error> {
        let system = SystemRandom::new();
        let random = || rand::generate(&system).map(|bytes| u32::from_be_bytes(bytes.expose()));
        draw(random).map_err(|Unspecified| Error::Local {
            what: "a code",
            source: io::Error::other("the system gives no random numbers"),
        })
    }

    /// The code that a person typed: in upper or lower case, with any dashes, underscores or blanks, in quotes or a sentence, and of each word as many letters as
    /// identify it; four always do.
    ///
    /// Nothing is guessed: a text that one slip of the finger has made of a code that was drawn, typed in full, is that
    /// code or none.
    ///
    /// # Errors
    /// If it is no code; the error says which part is wrong, and what may have been meant.
    pub fn parse(text: &str) -> Result<Code, InvalidCode> {
        let [number, words @ ..] = parts(text).ok_or(InvalidCode::Shape)?;
        let number =
            parse_number(number).ok_or_else(|| InvalidCode::Number { text: number.to_owned() })?;
        let [first, second, third] = words.map(parse_word);
        Ok(Code { number, words: [first?, second?, third?] })
    }

    /// Whether `text` is meant as a code, right or mistyped: a number and three parts of letters. Keys that look like this are
    /// better refused than taken for keys, because nobody would ever come.
    pub fn resembles(text: &str) -> bool {
        parts(text).is_some_and(|[number, words @ ..]| {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && words.iter().all(|word| word.chars().all(char::is_alphabetic))
        })
    }

    /// The key under which its two peers meet: `code 12342`. The number alone would also be the key of whoever chose it as such.
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

/// Whether `c` stands between the parts of a code. Some keyboards and messengers make longer dashes of short ones.
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
        // Full stops and the like stand in names of files as well: only what can be nothing else is a code.
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
    // The standard library would take a sign, and the range alone would let zeros be before the first digit.
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// The code that is drawn from the random numbers of `seed` (xorshift32, <https://www.jstatsoft.org/v08/i14/>).
    fn drawn(seed: u32) -> Code {
        let mut state = seed.max(1);
        let draw = draw(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            Ok::<_, Infallible>(state)
        });
        draw.unwrap()
    }

    /// All that one slip makes of `text`: a character too few, too many or wrong, or two neighbours swapped.
    fn slips(text: &str) -> Vec<String> {
        let characters: Vec<char> = text.chars().collect();
        let mut slips = Vec::new();
        let mut add = |head: &[char], middle: &[char], tail: &[char]| {
            slips.push([head, middle, tail].concat().into_iter().collect());
        };
        for at in 0..=characters.len() {
            let (head, tail) = characters.split_at(at);
            let rest = tail.get(1..);
            rest.into_iter().for_each(|rest| add(head, &[], rest));
            for c in ('a'..='z').chain('0'..='9').chain(['-', ' ', '\'', 'é', 'Q']) {
                add(head, &[c], tail);
                rest.into_iter().for_each(|rest| add(head, &[c], rest));
            }
            if let [first, second, rest @ ..] = tail {
                add(head, &[*second, *first], rest);
            }
        }
        slips
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same_code(seed: u32) {
            let code = drawn(seed);
            let shown = code.to_string();
            prop_assert_eq!(&Code::parse(&shown), &Ok(code.clone()));
            prop_assert_eq!(&Code::parse(&shown.to_uppercase().replace('-', " ")), &Ok(code.clone()));
            prop_assert_eq!(&Code::parse(&format!("  {}\n", shown.replace('-', " – "))), &Ok(code.clone()));
            for [before, between, behind] in [
                ["", "_", ""],
                ["", "-", "."],
                ["'", "\u{2212}", "'"],
                ["\u{201e}", "\u{2014}", "\u{201c}"],
                ["", ". ", ""],
                ["(", ".", ")"],
            ] {
                let text = format!("{before}{}{behind}", shown.replace('-', between));
                prop_assert!(Code::resembles(&text), "{}", text);
                prop_assert_eq!(&Code::parse(&text), &Ok(code.clone()));
            }
        }

        #[test]
        fn four_letters_of_each_word_are_enough(seed: u32) {
            let code = drawn(seed);
            let words = code.words.map(|word| &word[..word.len().min(4)]);
            let short = format!("{}-{}", code.number, words.join("-"));
            prop_assert_eq!(Code::parse(&short), Ok(code));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            match Code::parse(&text) {
                Ok(code) => prop_assert_eq!(Code::parse(&code.to_string()), Ok(code)),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn a_single_slip_gives_no_other_code(seed: u32) {
            let code = drawn(seed);
            for slip in slips(&code.to_string()) {
                if let Ok(read) = Code::parse(&slip) {
                    prop_assert_eq!(&read, &code, "{}", slip);
                }
            }
        }
    }

    #[test]
    fn no_slip_turns_one_number_into_another() {
        let numbers: Vec<u32> = (LEAST_STEPS..=MOST_STEPS).map(|steps| steps * STEP).collect();
        assert_eq!(numbers.len(), 8181, "as the module says");
        assert_eq!((numbers[0], numbers[8180]), (10_010, 99_990));
        for number in numbers {
            for slip in slips(&number.to_string()) {
                assert!(parse_number(&slip).is_none_or(|read| read == number), "{number} {slip}");
            }
        }
    }

    #[test]
    fn as_many_words_are_drawn_as_the_odds_are_reckoned_with() {
        let drawable = words::all().iter().filter(|word| words::is_safe_to_type(word)).count();
        assert_eq!(drawable, 1111);
    }

    #[test]
    fn numbers_are_drawn_evenly_and_up_to_the_ends() {
        let none_left = u32::MAX - u32::MAX % 10;
        let mut random = [u32::MAX, none_left, none_left - 1].into_iter();
        let drawn = below(10, &mut || random.next().ok_or("as many are drawn as needed"));
        assert_eq!(drawn, Ok(9));
        assert_eq!(below(10, &mut || Ok::<_, Infallible>(0)), Ok(0));
    }

    #[test]
    fn two_random_codes_differ() {
        let codes = [Code::random().unwrap(), Code::random().unwrap()];
        assert_ne!(codes[0], codes[1], "which happens by chance once in 10^13 times");
    }

    #[test]
    fn without_random_numbers_there_is_no_code() {
        assert_eq!(draw(|| Err("none")), Err("none"));
    }

    #[test]
    fn key_and_secret_have_one_form_each() {
        let code = Code::parse(" 12342 FABR Lemon—orbi ").unwrap();
        assert_eq!(code.to_string(), EXAMPLE);
        assert_eq!(code.key().as_bytes(), b"code 12342");
        assert_eq!(code.phrase(), "fabric-lemon-orbit");
        assert!(!code.secret().is_none());
    }

    #[test]
    fn debug_hides_the_words() {
        assert_eq!(format!("{:?}", Code::parse(EXAMPLE).unwrap()), "Code(12342-..)");
    }

    #[test]
    fn a_refusal_says_which_part_is_wrong_and_what_may_have_been_meant() {
        for (text, expected) in [
            ("", "a code is a number and three words, such as 12342-fabric-lemon-orbit"),
            ("12342-fabric-lemon", "a code is a number and three words"),
            ("12342-fabric-lemon-orbit-zoo", "a code is a number and three words"),
            ("12343-fabric-lemon-orbit", "`12343` is the number of no code"),
            ("+1234-fabric-lemon-orbit", "`+1234` is the number of no code"),
            ("00011-fabric-lemon-orbit", "`00011` is the number of no code"),
            ("99999999999999999999-fabric-lemon-orbit", "` is the number of no code"),
            (
                "12342-fabr\u{7}-lemon-orbit",
                "`fabr\\u{7}` is no word of the list; did you mean `fabric` or `farm`?",
            ),
            (
                "12342-clok-lemon-orbit",
                "`clok` is no word of the list; did you mean `clock` or `clog` or `cook`?",
            ),
            ("12342-fab-lemon-orbit", "`fab` is no word of the list; did you mean `fabric`?"),
            (
                "12342-fabric-qqqqq-orbit",
                "`qqqqq` is no word of the list; look at it letter by letter",
            ),
        ] {
            let error = Code::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_meant_as_a_code_is_told_from_a_key() {
        for (text, expected) in [
            (EXAMPLE, true),
            ("12343 fabric lemmon ORBIT", true),
            ("7-crossover-clockwork-magnet", true),
            ("12342-fabric-lemon", false),
            ("12342_fabric_lemon_orbit.", true),
            ("\u{201c}12342 fabric\u{2212}lemon-orbit\u{201d},", true),
            ("12342. fabric, lemon, orbit!", true),
            ("12342.fabric.lemon.orbit", true),
            ("12343/fabric/lemon/orbit", true),
            ("12342.fabric.lemon.zip", false),
            ("2024.report.final.orbit", false),
            ("12342-fabric-lemon-orbit.txt", false),
            ("12342:fabric-lemon-orbit", false),
            ("a-fabric-lemon-orbit", false),
            ("stocks.txt", false),
            ("", false),
        ] {
            assert_eq!(Code::resembles(text), expected, "{text}");
        }
    }
}
