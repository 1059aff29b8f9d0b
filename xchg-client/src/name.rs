//! What two people agree on: a key, and a secret or none, or a code that is both.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use xchg_client::session::Secret;
use xchg_client::{Code, Error, Key, key_for};

use crate::cli::{Transfer, usage_error};
use crate::questions;

/// Where the secret may be, invisible to other users.
const SECRET_VARIABLE: &str = "XCHG_SECRET";

/// What a transfer goes by.
pub(crate) struct Name {
    pub(crate) key: Key,
    pub(crate) secret: Secret,
}

impl Name {
    pub(crate) fn of_code(code: &Code) -> Name {
        Name { key: code.key(), secret: code.secret() }
    }

    /// `KEY`, `KEY:` or `KEY:SECRET`.
    pub(crate) fn parse(text: &OsStr, transfer: &Transfer) -> Result<Name, Error> {
        Name::parse_bytes(text.as_encoded_bytes(), transfer)
    }

    /// The same, from bytes.
    pub(crate) fn parse_bytes(bytes: &[u8], transfer: &Transfer) -> Result<Name, Error> {
        if transfer.plain {
            return Ok(Name { key: parse_key(bytes), secret: Secret::none() });
        }
        match bytes.iter().position(|&byte| byte == b':') {
            None => Name::with_key(parse_key(bytes), transfer),
            Some(colon) => {
                let key = parse_key(&bytes[..colon]);
                let secret = match str::from_utf8(&bytes[colon + 1..]) {
                    Ok("") => questions::secret()?,
                    Ok(secret) => Secret::new(secret),
                    Err(_) => usage_error("the secret behind the colon is not UTF-8"),
                };
                Ok(Name { key, secret })
            }
        }
    }

    /// A key alone; the secret is asked for, in the environment, or none.
    pub(crate) fn with_key(key: Key, transfer: &Transfer) -> Result<Name, Error> {
        let secret = match (transfer.plain, transfer.ask_secret) {
            (true, _) => Secret::none(),
            (_, true) => questions::secret()?,
            _ => secret_of_environment(),
        };
        Ok(Name { key, secret })
    }

    /// What a downloader names: a key, or a code; asked for if it is neither.
    pub(crate) fn of_download(text: Option<OsString>, transfer: &Transfer) -> Result<Name, Error> {
        let Some(text) = text else {
            return questions::name(transfer);
        };
        match text.to_str() {
            Some(text) if !transfer.plain && Code::resembles(text) => {
                Ok(Name::of_code(&Code::parse(text)?))
            }
            _ => Name::parse(&text, transfer),
        }
    }
}

/// The key of a file or folder: its name.
pub(crate) fn key_of_path(path: &Path) -> Result<Key, Error> {
    // `.` and `..` have a name elsewhere.
    let real = match path.file_name() {
        Some(_) => PathBuf::from(path),
        None => {
            path.canonicalize().map_err(|source| Error::Source { path: path.into(), source })?
        }
    };
    key_for(&real)
}

fn parse_key(bytes: &[u8]) -> Key {
    Key::parse(bytes).unwrap_or_else(|error| usage_error(&error.to_string()))
}

fn secret_of_environment() -> Secret {
    match env::var(SECRET_VARIABLE) {
        Ok(secret) => Secret::new(&secret),
        Err(env::VarError::NotPresent) => Secret::none(),
        Err(env::VarError::NotUnicode(_)) => usage_error("the secret in XCHG_SECRET is not UTF-8"),
    }
}
