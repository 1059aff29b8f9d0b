//! Extensions: type, length, value. Unknown ones are skipped (PROTOCOL.md rule 2).

use crate::Error;

pub(super) const TOKEN: u16 = 1;
pub(super) const LENGTH: u16 = 2;
pub(super) const BUFFER: u16 = 3;
pub(super) const DIALECT: u16 = 4;
pub(super) const ELSEWHERE: u16 = 5;
pub(super) const TWIN: u16 = 6;

pub(super) fn push(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len =
        u16::try_from(value.len()).expect("every extension's value is bounded far below 64 KiB");
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value);
}

/// Calls `each` with the type and value of every extension in `bytes`.
pub(super) fn each(
    mut bytes: &[u8],
    mut each: impl FnMut(u16, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    while !bytes.is_empty() {
        let [k0, k1, l0, l1, rest @ ..] = bytes else {
            return Err(Error::Malformed { what: "an extension's head is cut short" });
        };
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let (value, rest) = rest
            .split_at_checked(len)
            .ok_or(Error::Malformed { what: "an extension's value is cut short" })?;
        each(u16::from_be_bytes([*k0, *k1]), value)?;
        bytes = rest;
    }
    Ok(())
}

pub(super) fn array<const N: usize>(value: &[u8]) -> Result<[u8; N], Error> {
    value
        .try_into()
        .map_err(|_| Error::Malformed { what: "an extension's value has the wrong size" })
}
