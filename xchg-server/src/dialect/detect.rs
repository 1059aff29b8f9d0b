//! First bytes to dialect. At most nine bytes decide.

use xchg_core::wire::MAGIC;

use super::{Dialect, transit};

/// The longest greeting of any dialect, in bytes: a native head and body.
pub(crate) const MAX_GREETING_LEN: usize = 8 + xchg_core::wire::MAX_BODY_LEN;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detected {
    /// More must come.
    Partial,
    /// A dialect.
    Dialect(Dialect),
    /// Nothing that is spoken here.
    Unknown,
}

/// Tells what a peer speaks that began with `bytes`.
pub(crate) fn detect(bytes: &[u8]) -> Detected {
    for (first, dialect) in
        [(&MAGIC[..], Dialect::Native), (transit::FIRST_BYTES, Dialect::Transit)]
    {
        if bytes.starts_with(first) {
            return Detected::Dialect(dialect);
        }
        if first.starts_with(bytes) {
            return Detected::Partial;
        }
    }
    match bytes {
        [b'P' | b'G' | b'F', ..] => Detected::Dialect(Dialect::Classic),
        _ => Detected::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_decide() {
        for (bytes, expected) in [
            (&b""[..], Detected::Partial),
            (b"x", Detected::Partial),
            (b"xch", Detected::Partial),
            (b"xchg", Detected::Dialect(Dialect::Native)),
            (b"xchm", Detected::Unknown),
            (b"please ", Detected::Partial),
            (b"please relay", Detected::Dialect(Dialect::Transit)),
            (b"pleased", Detected::Unknown),
            (b"P", Detected::Dialect(Dialect::Classic)),
            (b"Gstocks\0\0", Detected::Dialect(Dialect::Classic)),
            (b"F", Detected::Dialect(Dialect::Classic)),
            (b"hello", Detected::Unknown),
            (b"\0", Detected::Unknown),
        ] {
            assert_eq!(detect(bytes), expected, "{bytes:?}");
        }
    }
}
