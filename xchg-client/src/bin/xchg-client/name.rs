//! What two people agree on: a key, and a secret or none, or a code that is both, or a link.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use xchg_client::{Address, Code, Error, Key, Link, Secret, normalised};

use crate::cli::{Transfer, usage_error};
use crate::failure::Failure;
use crate::questions;

/// Where the secret may be, invisible to other users.
const SECRET_VARIABLE: &str = "XCHG_SECRET";

/// The paths of the server's own pages: browsers and curl can exchange nothing under them.
const RESERVED: [&[u8]; 6] =
    [b"noscript", b"version", b"help", b"favicon.ico", b"robots.txt", b"healthz"];

/// What a transfer goes by.
pub(crate) struct Name {
    pub(crate) key: Key,
    pub(crate) secret: Secret,
    /// What people call it: the key, or the number of a code.
    pub(crate) shown: String,
    /// Whether a code was named.
    pub(crate) is_code: bool,
}

/// What a person named.
pub(crate) enum Named {
    Code(Code),
    Key(Key),
    /// A key and a secret, or one that is to be asked for.
    KeyAndSecret(Key, Option<Secret>),
    /// A plain transfer through a server.
    Link(Link),
}

impl Named {
    /// Understands `text`, of a plain transfer or another. What is clearly none of these things is
    /// refused, never taken for a key.
    ///
    /// # Errors
    /// What is wrong with `text`, in words.
    pub(crate) fn parse(text: &OsStr, is_plain: bool) -> Result<Self, String> {
        let bytes = text.as_encoded_bytes();
        if let Some(text) = text.to_str() {
            if Link::resembles(text.trim()) {
                let link = Link::parse(text.trim()).map_err(|error| error.to_string())?;
                return Ok(Self::Link(link));
            }
            if !is_plain && Code::resembles(text) {
                let code = Code::parse(text).map_err(|error| error.to_string())?;
                return Ok(Self::Code(code));
            }
        }
        match bytes.iter().position(|&byte| byte == b':') {
            Some(colon) if !is_plain => {
                let key = parse_key(&bytes[..colon])?;
                match str::from_utf8(&bytes[colon + 1..]) {
                    Ok("") => Ok(Self::KeyAndSecret(key, None)),
                    Ok(secret) => Ok(Self::KeyAndSecret(key, Some(Secret::new(secret)))),
                    Err(_) => Err("the secret behind the colon is not UTF-8".into()),
                }
            }
            _ if is_plain && RESERVED.contains(&bytes) => Err(format!(
                "`{}` is a page of the server, and nothing can be exchanged under it with curl or browsers; take another key",
                String::from_utf8_lossy(bytes)
            )),
            _ => parse_key(bytes).map(Named::Key),
        }
    }

    /// The name, with what is still missing asked for; and the server, if it was named too, in
    /// which case the transfer is a plain one.
    pub(crate) fn resolve(
        self,
        transfer: &mut Transfer,
    ) -> Result<(Name, Option<Address>), Failure> {
        let name = match self {
            Self::Code(code) => Name::of_code(&code),
            Self::Key(key) => {
                let secret = secret_for(transfer)?;
                Name::with(key, secret)
            }
            Self::KeyAndSecret(key, Some(secret)) => Name::with(key, secret),
            Self::KeyAndSecret(key, None) => Name::with(key, questions::secret()?),
            Self::Link(Link { address, key, .. }) => {
                transfer.plain = true;
                return Ok((Name::with(key, Secret::none()), Some(address)));
            }
        };
        Ok((name, None))
    }
}

impl Name {
    pub(crate) fn of_code(code: &Code) -> Self {
        let shown = code.number().to_string();
        Self { key: code.key(), secret: code.secret(), shown, is_code: true }
    }

    fn with(key: Key, secret: Secret) -> Self {
        let shown = String::from_utf8_lossy(key.as_bytes()).into_owned();
        Self { key, secret, shown, is_code: false }
    }
}

/// What is named on the command line.
pub(crate) fn given(text: &OsStr, transfer: &Transfer) -> Named {
    Named::parse(text, transfer.plain).unwrap_or_else(|why| usage_error(&why))
}

/// What a downloader names; asked for if it is nothing yet.
pub(crate) fn of_download(text: Option<OsString>, transfer: &Transfer) -> Result<Named, Failure> {
    match text {
        Some(text) => Ok(given(&text, transfer)),
        None => questions::name(|line| Named::parse(OsStr::new(line), transfer.plain)),
    }
}

/// The name of a file or folder, as the key of who names none.
pub(crate) fn of_path(path: &Path, transfer: &Transfer) -> Result<Named, Failure> {
    // `.` and `..` have a name elsewhere.
    let real = match path.file_name() {
        Some(_) => PathBuf::from(path),
        None => {
            path.canonicalize().map_err(|source| Failure::Read { path: path.into(), source })?
        }
    };
    let key = real.file_name().and_then(|name| Key::parse(name.as_encoded_bytes()).ok());
    let key = key.ok_or_else(|| Error::Folder { path: path.into() })?;
    let text = str::from_utf8(key.as_bytes()).unwrap_or_default();
    match Named::parse(OsStr::new(text), transfer.plain) {
        // A file's name may have a colon in it that means nothing.
        Ok(Named::Key(_) | Named::KeyAndSecret(..)) => Ok(Named::Key(key)),
        Err(_) if text.is_empty() => Ok(Named::Key(key)),
        _ => usage_error("the file's name cannot be the key; name another with --key"),
    }
}

/// The secret of a key that was named without one.
fn secret_for(transfer: &Transfer) -> Result<Secret, Failure> {
    match (transfer.plain, transfer.ask_secret) {
        (true, _) => Ok(Secret::none()),
        (_, true) => questions::secret(),
        _ => match env::var(SECRET_VARIABLE) {
            Ok(secret) => Ok(Secret::new(&secret)),
            Err(env::VarError::NotPresent) => Ok(Secret::none()),
            Err(env::VarError::NotUnicode(_)) => {
                usage_error("the secret in XCHG_SECRET is not UTF-8")
            }
        },
    }
}

/// Whether a secret is there, or will be asked for, for a key that is named without one.
pub(crate) fn has_secret(transfer: &Transfer) -> bool {
    transfer.ask_secret || env::var_os(SECRET_VARIABLE).is_some_and(|secret| !secret.is_empty())
}

fn parse_key(bytes: &[u8]) -> Result<Key, String> {
    Key::parse(bytes).map(|key| normalised(&key)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` is understood as, in a word.
    fn understood(text: &str, is_plain: bool) -> String {
        match Named::parse(OsStr::new(text), is_plain) {
            Ok(Named::Code(code)) => format!("code {}", code.number()),
            Ok(Named::Key(key)) => format!("key {}", String::from_utf8_lossy(key.as_bytes())),
            Ok(Named::KeyAndSecret(key, secret)) => {
                let key = String::from_utf8_lossy(key.as_bytes()).into_owned();
                format!("key {key} and {} secret", if secret.is_some() { "a" } else { "an asked" })
            }
            Ok(Named::Link(link)) => format!("link to {}", link.address),
            Err(why) => format!("refused: {why}"),
        }
    }

    #[test]
    fn a_name_is_understood_or_refused_with_a_text() {
        for (text, is_plain, expected) in [
            ("notes", false, "key notes"),
            ("e\u{301}", false, "key \u{e9}"),
            ("notes:swordfish", false, "key notes and a secret"),
            ("notes:", false, "key notes and an asked secret"),
            ("notes:swordfish", true, "key notes:swordfish"),
            (":swordfish", false, "refused: key is 0 bytes long"),
            ("12342-fabric-lemon-orbit", false, "code 12342"),
            ("\u{201c}12342_fabric_lemon_orbit.\u{201d}", false, "code 12342"),
            ("12343-fabric-lemon-orbit", false, "refused: `12343` is the number of no code"),
            ("12342-fabric-lemon-orbit", true, "key 12342-fabric-lemon-orbit"),
            ("http://host/notes", false, "link to host:80"),
            ("http://host:81/#notes", true, "link to host:81"),
            ("https://host/notes", false, "link to https://host:443"),
            ("http://host", false, "refused: `http://host` is no address: it names no key"),
            ("help", false, "key help"),
            ("help", true, "refused: `help` is a page of the server"),
            ("favicon.ico", true, "refused: `favicon.ico` is a page of the server"),
            ("", true, "refused: key is 0 bytes long"),
        ] {
            let understood = understood(text, is_plain);
            assert!(understood.starts_with(expected), "{text}: {understood}");
        }
    }
}
