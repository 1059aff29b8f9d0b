//! The file of tokens: a token a line, and what holds for its bearer.
//!
//! ```text
//! # token                          its bearer
//! 7f3c4a51d0e94b6f                 name=build prefix=ci/ limit_rate=20M
//! b1946ac92492d2347c6235b4         name=anna
//! ```

use std::sync::Arc;

use xchg_core::wire::Token;

use crate::Rate;
use crate::engine::allowance::{Pace, Shared};

/// The bearer of a token.
#[derive(Debug)]
pub(crate) struct Tenant {
    token: Token,
    /// What logs call it.
    pub(crate) name: Option<Box<str>>,
    /// What the keys begin with that it may use.
    pub(crate) prefix: Option<Box<str>>,
    /// How much all of its exchanges may move together.
    limit_rate: Option<Rate>,
    /// And what of that is taken.
    pub(crate) pace: Option<Shared>,
}

/// Whether nothing is different in their lines.
impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        (&self.token, &self.name, &self.prefix, self.limit_rate)
            == (&other.token, &other.name, &other.prefix, other.limit_rate)
    }
}

impl Eq for Tenant {}

/// The tokens of a file.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<Arc<Tenant>>);

impl Tokens {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// All that is wrong with it, each with its line. No token is in the words.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut tenants: Vec<Arc<Tenant>> = Vec::new();
        let mut mistakes = Vec::new();
        // Some editors begin a file with a mark that nobody sees.
        let text = text.trim_start_matches('\u{feff}');
        for (line, number) in text.lines().zip(1..) {
            let at = |why| format!("line {number}: {why}");
            match tenant(line) {
                Ok(None) => {}
                Ok(Some(new)) if tenants.iter().any(|one| one.token == new.token) => {
                    mistakes.push(at("the same token stands in a line before".to_owned()));
                }
                Ok(Some(new)) => tenants.push(Arc::new(new)),
                Err(why) => mistakes.push(at(why)),
            }
        }
        if tenants.is_empty() && mistakes.is_empty() {
            mistakes.push("there is no token in it: write one a line".to_owned());
        }
        if mistakes.is_empty() { Ok(Self(tenants)) } else { Err(mistakes) }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whose token it is. Takes as long whichever it is, or if it is none.
    pub(crate) fn find(&self, token: &Token) -> Option<&Arc<Tenant>> {
        let mut found = None;
        for tenant in &self.0 {
            if is_same(tenant.token.as_bytes(), token.as_bytes()) {
                found = Some(tenant);
            }
        }
        found
    }

    /// The same, where those whose line has not changed are those that they were: what they move
    /// goes on to be counted together.
    pub(crate) fn after(mut self, before: &Self) -> Self {
        for tenant in &mut self.0 {
            if let Some(same) = before.0.iter().find(|same| *same == tenant) {
                *tenant = same.clone();
            }
        }
        self
    }
}

/// Compares without telling by its duration how much agrees.
pub(crate) fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let differing = ours.iter().zip(theirs).fold(0, |bits, (ours, theirs)| bits | (ours ^ theirs));
    ours.len() == theirs.len() && std::hint::black_box(differing) == 0
}

/// What a line says; nothing if it is empty or a comment.
fn tenant(line: &str) -> Result<Option<Tenant>, String> {
    let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let Some(token) = words.next() else { return Ok(None) };
    let token = Token::parse(token.as_bytes()).map_err(|_| "a token has at most 255 bytes")?;
    let (mut name, mut prefix, mut limit_rate) = (None, None, None);
    for word in words {
        // Not shown: it may be a token with a space in it.
        let known =
            "behind a token stand name=, prefix= and limit_rate=, each once and with a value";
        let (field, value) = word.split_once('=').ok_or(known)?;
        let is_new = match field {
            "name" => name.replace(checked_name(value)?).is_none(),
            "prefix" => prefix.replace(checked_prefix(value)?).is_none(),
            "limit_rate" => {
                let rate = value.parse::<Rate>();
                let rate = rate.map_err(|why| format!("limit_rate = {value:?}: {why}"))?;
                limit_rate.replace(rate).is_none()
            }
            _ => return Err(known.to_owned()),
        };
        if !is_new {
            return Err(known.to_owned());
        }
    }
    Ok(Some(Tenant { token, name, prefix, limit_rate, pace: limit_rate.map(Pace::shared) }))
}

fn checked_name(name: &str) -> Result<Box<str>, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        return Err(format!("name = {name:?}: use 1 to 64 letters, digits, and - _ . @"));
    }
    Ok(name.into())
}

fn checked_prefix(prefix: &str) -> Result<Box<str>, String> {
    if prefix.is_empty() || prefix.len() >= xchg_core::Key::MAX_LEN {
        let most = xchg_core::Key::MAX_LEN - 1;
        return Err(format!(
            "prefix = {prefix:?}: use 1 to {most} bytes, which keys are to begin with"
        ));
    }
    Ok(prefix.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(text: &str) -> Token {
        Token::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_line_says_whose_a_token_is() {
        let text = "\u{feff}# all of them\n\nbare\n  spaced \t name=anna\nb#1 name=ci prefix=ci/ limit_rate=20M # builds\n\
                    last prefix=é=1\r\n";
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!(tokens.len(), 4);
        let find = |text| tokens.find(&token(text)).unwrap();
        assert_eq!((&find("bare").name, &find("bare").prefix), (&None, &None));
        assert_eq!(find("spaced").name.as_deref(), Some("anna"));
        let builds = find("b#1");
        assert_eq!((builds.name.as_deref(), builds.prefix.as_deref()), (Some("ci"), Some("ci/")));
        assert_eq!(builds.limit_rate, Rate::new(20 << 20));
        assert_eq!(find("last").prefix.as_deref(), Some("é=1"));
        for other in ["Bare", "bare ", "b", "anna", "#", "spaced\t"] {
            assert!(tokens.find(&token(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_no_token() {
        let long = "x".repeat(256);
        for (text, expected) in [
            ("", &["no token in it"][..]),
            ("# only words\n", &["no token in it"]),
            ("secret\nsecret name=b", &["line 2: the same token"]),
            ("secret name", &["line 1: behind a token stand name=, prefix= and limit_rate="]),
            ("a\nsecret two words", &["line 2: behind a token"]),
            ("secret nam=b", &["line 1: behind a token"]),
            ("secret name=a name=b", &["each once"]),
            ("secret name=", &["name = \"\"", "1 to 64 letters"]),
            ("secret name=a\u{202e}b", &["name = \"a\\u{202e}b\""]),
            ("secret prefix=", &["prefix = \"\"", "1 to 254 bytes"]),
            ("secret limit_rate=fast", &["limit_rate = \"fast\"", "500K"]),
            ("secret limit_rate=1", &["limit_rate = \"1\"", "1K"]),
            (&long, &["line 1: a token has at most 255 bytes"]),
        ] {
            let mistakes = Tokens::parse(text).unwrap_err().join("\n");
            assert!(expected.iter().all(|part| mistakes.contains(part)), "{text}: {mistakes}");
            assert!(!mistakes.contains("secret"), "{mistakes}");
        }
        assert_eq!(Tokens::parse("a x\nb y\nc\nd z").unwrap_err().len(), 3);
    }

    #[test]
    fn who_has_not_changed_stays_who_it_was() {
        let before = Tokens::parse("a name=1\nb name=2 limit_rate=1M\nc").unwrap();
        let after = Tokens::parse("b name=2 limit_rate=1M\nc name=3\nd").unwrap().after(&before);
        let is_kept = |text| {
            let both = [&before, &after].map(|tokens| tokens.find(&token(text)));
            both[0].zip(both[1]).is_some_and(|(before, after)| Arc::ptr_eq(before, after))
        };
        assert_eq!(["a", "b", "c", "d"].map(is_kept), [false, true, false, false]);
    }

    proptest! {
        #[test]
        fn any_text_is_tokens_or_mistakes(text in "([ -~]{0,12}[ =#\n]){0,8}") {
            if let Ok(tokens) = Tokens::parse(&text) {
                prop_assert!(tokens.len() > 0 && tokens.len() <= text.lines().count());
            }
        }

        #[test]
        fn only_the_same_bytes_are_the_same(
            one in proptest::collection::vec(any::<u8>(), 0..9),
            other in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            prop_assert_eq!(is_same(&one, &other), one == other);
            prop_assert!(is_same(&one, &one.clone()));
        }
    }
}
