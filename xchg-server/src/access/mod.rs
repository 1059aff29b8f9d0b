//! Who may exchange something: everybody, or bearers of a token.
//!
//! **Tokens are asked for when something is to be exchanged.** Not before: who terminates the
//! server or asks how it is has rules of its own, and the page has to load before a browser can ask
//! its person. Wrong ones are bounded by source, which bounds right ones as well while it lasts: if
//! those were let through, guesses would be. A token's bearer travels with what the peer has
//! brought (`Brought`), so that a peer without one is as small as before.

mod store;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use xchg_core::wire::Token;

use crate::engine::frequency::Frequency;
use crate::origin::Origin;

pub(crate) use store::Store;
#[cfg(test)]
pub(crate) use tokens::Tokens;
pub(crate) use tokens::{Tenant, is_same};

/// Who may exchange something at a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Bearers of a token: of [`Config::token`](crate::Config::token), or one of
    /// [`Config::token_file`](crate::Config::token_file). Classic and transit peers, which have no
    /// place for one, are refused.
    Token,
}

impl Access {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Open, Self::Token];

    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Token => "token",
        }
    }
}

/// Wrong tokens that a source may show at once, and how long one more takes: enough for a person
/// who mistypes, and 14,400 guesses a day.
const GUESSES: u32 = 10;
const GUESS_INTERVAL: Duration = Duration::from_secs(6);

/// Why a peer may not exchange what it wants to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It shows no token.
    Missing,
    /// It shows one that is none.
    Wrong,
    /// Its source has shown too many such. How long it has to wait.
    TooManyGuesses(Duration),
    /// Its token is for keys that begin otherwise.
    Prefix(Box<str>),
    /// Its dialect has no place for a token.
    Wordless,
    /// A page of another site asks with the token that the browser remembers.
    Borrowed,
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("a token is needed here"),
            Self::Wrong => f.write_str("this token is not valid here"),
            Self::TooManyGuesses(wait) => {
                let seconds = wait.as_secs() + 1;
                write!(
                    f,
                    "too many wrong tokens came from your address; try again in {seconds} seconds"
                )
            }
            Self::Prefix(prefix) => {
                write!(f, "this token is for keys that begin with {prefix:?}")
            }
            Self::Wordless => {
                f.write_str("a token is needed here, and this dialect has no place for one")
            }
            Self::Borrowed => {
                f.write_str("a page of another site asks; it has to show a token of its own")
            }
        }
    }
}

/// What knows the tokens.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The server's own, whose bearer may do everything.
    own: Option<Token>,
    store: Option<Arc<Store>>,
    guesses: Mutex<Frequency>,
}

impl Gate {
    pub(crate) fn new(own: Option<Token>, store: Option<Arc<Store>>) -> Self {
        Self { own, store, guesses: Mutex::new(Frequency::new(GUESSES, GUESS_INTERVAL)) }
    }

    /// The tokens of a file, if there is one.
    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_deref()
    }

    /// Whose `token` it is that a peer of `origin` shows; nobody's in particular if it is the
    /// server's own.
    ///
    /// # Errors
    /// It is none, or cannot be tried now.
    pub(crate) fn bearer(
        &self,
        token: Option<&Token>,
        origin: Origin,
        now: Instant,
    ) -> Result<Option<Arc<Tenant>>, Denied> {
        let token = token.ok_or(Denied::Missing)?;
        // Also a right one: else nothing would bound the guesses.
        self.guesses.lock().may(origin.source(), now).map_err(Denied::TooManyGuesses)?;
        let is_own = self.is_own(token);
        match self.store.as_ref().and_then(|store| store.current().find(token).cloned()) {
            _ if is_own => Ok(None),
            Some(tenant) => Ok(Some(tenant)),
            None => {
                self.guesses.lock().note(origin.source(), now);
                Err(Denied::Wrong)
            }
        }
    }

    /// Whether a peer of `origin` bears the server's own token.
    pub(crate) fn bears_own(&self, token: Option<&Token>, origin: Origin, now: Instant) -> bool {
        let Some(token) = token.filter(|_| self.own.is_some()) else { return false };
        let mut guesses = self.guesses.lock();
        if guesses.may(origin.source(), now).is_err() {
            return false;
        }
        let is_own = self.is_own(token);
        if !is_own {
            guesses.note(origin.source(), now);
        }
        is_own
    }

    fn is_own(&self, token: &Token) -> bool {
        self.own.as_ref().is_some_and(|own| is_same(own.as_bytes(), token.as_bytes()))
    }
}

impl Tenant {
    /// Whether it may use `key`.
    ///
    /// # Errors
    /// What its keys begin with instead.
    pub(crate) fn check_key(&self, key: &[u8]) -> Result<(), Denied> {
        match &self.prefix {
            Some(prefix) if !key.starts_with(prefix.as_bytes()) => {
                Err(Denied::Prefix(prefix.clone()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::parse(text.as_bytes()).unwrap()
    }

    fn origin(address: &str) -> Origin {
        Origin::of(address.parse().unwrap())
    }

    fn gate(folder: &tempfile::TempDir) -> Gate {
        let path = folder.path().join("tokens");
        std::fs::write(&path, "anna name=anna prefix=a/\nben").unwrap();
        Gate::new(Some(token("own")), Some(Arc::new(Store::open(&path).unwrap())))
    }

    #[test]
    fn a_token_says_who_bears_it() {
        let folder = tempfile::tempdir().unwrap();
        let (gate, peer, now) = (gate(&folder), origin("192.0.2.1"), Instant::now());
        let bearer = |text: &str| gate.bearer(Some(&token(text)), peer, now);
        assert_eq!(bearer("own"), Ok(None));
        let anna = bearer("anna").unwrap().unwrap();
        assert_eq!(anna.name.as_deref(), Some("anna"));
        assert_eq!(anna.check_key(b"a/x"), Ok(()));
        for other in [&b"b/x"[..], b"a", b"A/x"] {
            assert_eq!(anna.check_key(other), Err(Denied::Prefix("a/".into())));
        }
        assert_eq!(bearer("ben").unwrap().unwrap().check_key(b"any"), Ok(()));
        assert_eq!(bearer("nobody"), Err(Denied::Wrong));
        assert_eq!(gate.bearer(None, peer, now), Err(Denied::Missing));
        assert!(gate.bears_own(Some(&token("own")), peer, now));
        assert!(!gate.bears_own(Some(&token("anna")), peer, now));
        assert!(!gate.bears_own(None, peer, now));
        let nobodys = Gate::new(None, None);
        assert_eq!(nobodys.bearer(Some(&token("own")), peer, now), Err(Denied::Wrong));
    }

    #[test]
    fn one_source_guesses_no_more_often_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let (gate, start) = (gate(&folder), Instant::now());
        let (guesser, other) = (origin("192.0.2.1"), origin("192.0.2.2"));
        let tries = |text: &str, peer, now| gate.bearer(Some(&token(text)), peer, now);
        for number in 0..GUESSES {
            assert_eq!(tries(&number.to_string(), guesser, start), Err(Denied::Wrong));
        }
        // Whatever it is now: it is not looked at.
        for text in ["nobody", "ben", "own"] {
            assert_eq!(tries(text, guesser, start), Err(Denied::TooManyGuesses(GUESS_INTERVAL)));
            assert!(!gate.bears_own(Some(&token(text)), guesser, start));
        }
        assert!(tries("ben", other, start).is_ok());
        assert_eq!(gate.bearer(None, guesser, start), Err(Denied::Missing));
        // Each guess takes its time, and a right token none.
        let later = start + GUESS_INTERVAL;
        assert!(tries("ben", guesser, later).is_ok() && tries("ben", guesser, later).is_ok());
        assert_eq!(tries("nobody", guesser, later), Err(Denied::Wrong));
        assert!(matches!(tries("ben", guesser, later), Err(Denied::TooManyGuesses(_))));
    }
}
