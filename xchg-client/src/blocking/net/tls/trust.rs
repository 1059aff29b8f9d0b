//! Whom a client takes for its server, and what it says of one that it does not.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ring::digest::{SHA256, digest};

/// Whom a [`Client`](crate::Client) takes for a server with TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// Whoever has a certificate for the host's name that this system trusts, as a browser does.
    #[default]
    System,
    /// Whoever has a certificate for the host's name that an authority in this PEM file has signed.
    Authority(PathBuf),
    /// Whoever has this certificate, whatever names and times it has.
    Pin(Fingerprint),
}

/// How a client and its server show each other who they are, where TLS is spoken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) trust: Trust,
    /// The PEM file with the client's own certificate and key.
    pub(crate) identity: Option<PathBuf>,
}

/// SHA-256 of a certificate, as `xchg-server --tls-self-signed` and `openssl x509 -fingerprint
/// -sha256` show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(certificate: &[u8]) -> Self {
        let hash = digest(&SHA256, certificate);
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// A text is no [`Fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write the SHA-256 fingerprint of a certificate: 64 hexadecimal digits")]
#[non_exhaustive]
pub struct InvalidFingerprint;

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    /// 64 hexadecimal digits, with or without colons between them.
    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let text = text.trim();
        let text = text.rsplit_once('=').map_or(text, |(_, digits)| digits);
        let digits: Vec<u8> = text
            .chars()
            .filter(|&digit| digit != ':')
            .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
            .collect::<Option<_>>()
            .ok_or(InvalidFingerprint)?;
        let bytes: Vec<u8> = digits.chunks(2).map(|two| two[0] << 4 | two[two.len() - 1]).collect();
        match digits.len() {
            64 => Ok(Self(bytes.try_into().map_err(|_| InvalidFingerprint)?)),
            _ => Err(InvalidFingerprint),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distrust {
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet, or the clock here is wrong.
    NotValidYet,
    /// The certificate is for other names than the one that was asked for.
    OtherName {
        /// The names that the certificate is for, as far as the library tells.
        names: Vec<String>,
    },
    /// Nobody who is trusted has signed the certificate, as with one that a server made itself.
    UnknownIssuer,
    /// The certificate is not the one that [`Trust::Pin`] names.
    NotPinned,
    /// Something else, in the words of the library.
    Other(String),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("it has expired"),
            Self::NotValidYet => f.write_str("it is not valid yet"),
            Self::OtherName { names } if names.is_empty() => f.write_str("it is for another name"),
            Self::OtherName { names } => write!(f, "it is only for {}", names.join(", ")),
            Self::UnknownIssuer => f.write_str("nobody who is trusted here has signed it"),
            Self::NotPinned => f.write_str("it is not the one that is expected"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// Why a server cannot be spoken to in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// What answers there speaks something else.
    NotSpoken,
    /// The server closed the connection, or did not answer.
    NoAnswer,
    /// The server wants to see a certificate of the client's.
    WantsCertificate,
    /// The server has no version or cipher of TLS in common with the client.
    NothingInCommon,
    /// The client's own files, or those of its system, are wrong.
    Local,
    /// Something else.
    Other,
}
