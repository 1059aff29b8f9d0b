//! What a certificate calls who shows it, for the log.
//!
//! **Only for people to read.** Whoever an authority signs may be called anything: what is shown is
//! bounded, of one line, and holds neither a quote nor the comma that parts several names. Nothing
//! is decided by it.

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::files::fingerprint;

/// The longest name that is shown, in letters. A common name may have 64 (RFC 5280 appendix A.1);
/// names of services (`spiffe://…`) are longer.
const MAX_LETTERS: usize = 128;

/// The common name of its subject, or else its first alternative name, or else its fingerprint.
pub(super) fn name(certificate: &CertificateDer<'_>) -> String {
    let parsed = EndEntityCert::try_from(certificate).ok();
    let is_name = |name: &String| !name.trim().is_empty();
    parsed
        .and_then(|parsed| {
            let alternative = || parsed.valid_dns_names().chain(parsed.valid_uri_names()).next();
            let common = common_name(parsed.subject()).filter(is_name);
            common.or_else(|| alternative().map(str::to_owned)).filter(is_name)
        })
        .map_or_else(|| format!("sha256:{}", fingerprint(certificate)), |name| shown(&name))
}

/// The common name in `subject`, the DER of a `Name` without what is around it.
fn common_name(mut subject: &[u8]) -> Option<String> {
    const COMMON_NAME: [u8; 3] = [0x55, 4, 3];
    while let Some((_, mut attributes, behind)) = element(subject) {
        subject = behind;
        while let Some((_, attribute, behind)) = element(attributes) {
            attributes = behind;
            let (_, kind, value) = element(attribute)?;
            if kind == COMMON_NAME {
                let (tag, text, _) = element(value)?;
                return Some(decoded(tag, text));
            }
        }
    }
    None
}

/// The DER element that `bytes` begin with: its tag, what is in it, and what is behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, len], rest) = bytes.split_first_chunk()?;
    let (len, rest) = match len {
        0..=0x7f => (usize::from(len), rest),
        0x81 => rest.split_first().map(|(&len, rest)| (usize::from(len), rest))?,
        0x82 => rest
            .split_first_chunk()
            .map(|(&len, rest)| (usize::from(u16::from_be_bytes(len)), rest))?,
        _ => return None,
    };
    let (inner, behind) = rest.split_at_checked(len)?;
    Some((tag, inner, behind))
}

fn decoded(tag: u8, text: &[u8]) -> String {
    /// Letters of two bytes, as old authorities write them.
    const BMP_STRING: u8 = 30;
    match tag {
        BMP_STRING => {
            let letters = text.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
            char::decode_utf16(letters)
                .map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}

fn shown(name: &str) -> String {
    let mut shown = String::new();
    for (count, letter) in name.trim().chars().enumerate() {
        if count == MAX_LETTERS {
            shown.push('…');
            break;
        }
        match letter {
            '\'' => shown.push(letter),
            '"' | ',' => shown.extend(letter.escape_unicode()),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn named(common: Option<DnValue>, alternative: &[SanType]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "of no interest");
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.subject_alt_names = alternative.to_vec();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_certificate_is_called_by_its_common_name_or_its_first_other_name() {
        let dns = SanType::DnsName("build.example.org".try_into().unwrap());
        let uri = SanType::URI("spiffe://example.org/build".try_into().unwrap());
        let mail = SanType::Rfc822Name("anna@example.org".try_into().unwrap());
        let text = |text: &str| Some(DnValue::Utf8String(text.to_owned()));
        let long = "x".repeat(200);
        for (common, others, expected) in [
            (text("anna"), &[dns.clone()][..], "anna"),
            (text("Ânna O'Neill"), &[], "Ânna O'Neill"),
            (Some(DnValue::PrintableString("anna".try_into().unwrap())), &[], "anna"),
            (Some(DnValue::BmpString("änna".try_into().unwrap())), &[], "änna"),
            (None, &[mail.clone(), dns.clone(), uri.clone()], "build.example.org"),
            (text(" "), std::slice::from_ref(&dns), "build.example.org"),
            (None, std::slice::from_ref(&uri), "spiffe://example.org/build"),
            (
                text("a\nb\u{1b}[2J\u{202e}\"c\",\\"),
                &[],
                "a\\nb\\u{1b}[2J\\u{202e}\\u{22}c\\u{22}\\u{2c}\\\\",
            ),
            (text(&long), &[], &format!("{}…", &long[..128])),
        ] {
            assert_eq!(name(&named(common, others)), expected);
        }
        let nameless = named(None, &[mail]);
        assert_eq!(name(&nameless), format!("sha256:{}", fingerprint(&nameless)));
    }

    proptest! {
        /// The library has judged a certificate before it is shown; whatever passes is survived.
        #[test]
        fn a_damaged_certificate_has_a_bounded_name(
            common in any::<String>(),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            kept in any::<prop::sample::Index>(),
        ) {
            let mut der = named(Some(DnValue::Utf8String(common)), &[]).to_vec();
            damage.into_iter().for_each(|(place, byte)| *place.get_mut(&mut der) = byte);
            common_name(&der[kept.index(der.len())..]);
            let name = name(&der.into());
            prop_assert!(name.chars().count() <= 10 * MAX_LETTERS + 1);
            prop_assert!(!name.is_empty() && !name.contains([',', '\n', '"']), "{name}");
        }
    }
}
