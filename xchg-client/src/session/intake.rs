//! Taking what arrives in pieces of any size.

use super::Error;

/// Part of the stream that is being received: it says where the next bytes belong, so that whoever
/// reads them does so in place.
pub(crate) trait Intake {
    /// Where the next bytes go, as far as they belong to this part; nowhere once it is whole.
    ///
    /// # Errors
    /// If what was received already cannot be right.
    fn unfilled(&mut self) -> Result<&mut [u8], Error>;

    /// So many bytes, at most as many as there was room for, were written to the begin of
    /// [`unfilled`](Self::unfilled).
    fn fill(&mut self, bytes: usize);

    /// Takes of `bytes` what belongs to this part. Whether it is whole now.
    fn take(&mut self, bytes: &mut &[u8]) -> Result<bool, Error> {
        loop {
            let unfilled = self.unfilled()?;
            if unfilled.is_empty() || bytes.is_empty() {
                return Ok(unfilled.is_empty());
            }
            let (now, later) = bytes.split_at(unfilled.len().min(bytes.len()));
            unfilled[..now.len()].copy_from_slice(now);
            self.fill(now.len());
            *bytes = later;
        }
    }
}
