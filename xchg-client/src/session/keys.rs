//! The key schedule: from what SPAKE2 agreed upon to confirmations and record keys (PROTOCOL.md
//! section S3).

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::{digest, hkdf, hmac};
use zeroize::Zeroizing;

use crate::Side;

/// The version of the session's protocol that this build speaks: all labels below name it. It is
/// also the form of a hello.
pub(super) const VERSION: u8 = 2;

/// Bytes of every key, secret and confirmation.
pub(crate) const KEY_BYTES: usize = 32;

/// Everything that one handshake derives.
pub(crate) struct Schedule {
    transcript: digest::Digest,
    prk: hkdf::Prk,
}

impl Schedule {
    /// `shared` is SPAKE2's result; the hellos are the whole first messages, as they were on the
    /// wire.
    pub(crate) fn derive(shared: &[u8], upload_hello: &[u8], download_hello: &[u8]) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(upload_hello);
        hash.update(download_hello);
        let transcript = hash.finish();
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, transcript.as_ref()).extract(shared);
        Self { transcript, prk }
    }

    /// What `side` sends to prove that it derived the same.
    pub(crate) fn confirmation(&self, side: Side) -> [u8; KEY_BYTES] {
        let tag = hmac::sign(&self.confirmation_key(side), self.transcript.as_ref());
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Whether `tag` is the confirmation of `side`; takes the same time whichever byte differs.
    pub(crate) fn confirms(&self, side: Side, tag: &[u8; KEY_BYTES]) -> bool {
        hmac::verify(&self.confirmation_key(side), self.transcript.as_ref(), tag).is_ok()
    }

    /// The secret from which the records that `side` sends get their keys.
    pub(crate) fn traffic(&self, side: Side) -> TrafficSecret {
        TrafficSecret(expand(
            &self.prk,
            match side {
                Side::Upload => b"xchg v2 upload traffic",
                Side::Download => b"xchg v2 download traffic",
            },
        ))
    }

    fn confirmation_key(&self, side: Side) -> hmac::Key {
        let bytes = expand(
            &self.prk,
            match side {
                Side::Upload => b"xchg v2 upload confirm",
                Side::Download => b"xchg v2 download confirm",
            },
        );
        hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice())
    }
}

/// One direction's chain of secrets. Each gives one record key and the next secret; none gives the
/// one before.
pub(crate) struct TrafficSecret(Zeroizing<[u8; KEY_BYTES]>);

impl TrafficSecret {
    /// The AES-256-GCM key of this link of the chain.
    pub(super) fn key(&self) -> LessSafeKey {
        let bytes = expand(&self.prk(), b"xchg v2 key");
        let key = UnboundKey::new(&AES_256_GCM, bytes.as_slice())
            .expect("AES-256 takes 32 bytes, which is what was derived");
        LessSafeKey::new(key)
    }

    /// The next link of the chain.
    pub(super) fn next(&self) -> Self {
        Self(expand(&self.prk(), b"xchg v2 next"))
    }

    fn prk(&self) -> hkdf::Prk {
        hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, self.0.as_slice())
    }

    #[cfg(test)]
    pub(super) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

fn expand(prk: &hkdf::Prk, label: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    prk.expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(bytes.as_mut_slice()))
        .expect("HKDF-SHA256 gives up to 8160 bytes, and 32 were asked for");
    bytes
}
