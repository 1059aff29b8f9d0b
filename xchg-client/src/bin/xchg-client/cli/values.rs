//! The values of options, from what is typed.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use xchg_client::{Token, Wait};

pub(super) fn token() -> impl TypedValueParser<Value = Token> {
    OsStringValueParser::new().try_map(|text: OsString| {
        Token::parse(text.as_encoded_bytes()).map_err(|_| "a token has 1 to 255 bytes".to_owned())
    })
}

/// Seconds with a fraction, or -1. Rounded up to milliseconds, so that no wait becomes none.
pub(crate) fn wait(text: &str) -> Result<Wait, String> {
    const WRONG: &str =
        "write seconds, such as 90 or 0.5, or 90s, 5m or 2h; or -1 to wait for ever";
    match text.parse() {
        Ok(-1.0) => Ok(Wait::Forever),
        _ => {
            let exact = duration(text).ok_or(WRONG)?;
            let millis = exact.as_nanos().div_ceil(1_000_000);
            let millis = i64::try_from(millis).map_err(|_| WRONG)?;
            Ok(Wait::AtMost(Duration::from_millis(millis.unsigned_abs())))
        }
    }
}

/// Seconds with a fraction, or numbers with units such as `90s`, `5m` or `1h 30m`.
fn duration(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Some(seconds) if !seconds.is_zero() => Ok(seconds),
        _ => Err("write seconds, such as 10 or 0.5, or 90s, 5m or 2h".into()),
    }
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "write seconds, such as 1, 0.1 or 5m, or 0 for every piece".into())
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    let millis = match text.parse() {
        Ok(millis) => Some(Duration::from_millis(millis)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    millis.ok_or_else(|| "write milliseconds, such as 250, or 2s".into())
}

pub(super) fn buffer_size(text: &str) -> Result<u32, String> {
    const LEAST: u64 = 1 << 10;
    const MOST: u64 = 64 << 20;
    match byte_count(text)? {
        bytes @ LEAST..=MOST => u32::try_from(bytes).map_err(|error| error.to_string()),
        bytes => Err(format!("{bytes} bytes are out of range; choose from 1K to 64M")),
    }
}

pub(super) fn rate(text: &str) -> Result<NonZeroU64, String> {
    NonZeroU64::new(byte_count(text)?).ok_or_else(|| "at 0 bytes a second nothing moves".into())
}

/// A number of bytes, or of 1024 (`K`) or 1024 * 1024 (`M`) of them.
fn byte_count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("write a whole number of bytes, with K or M behind it for 1024 or 1024*1024 of them, as in 64K".into());
    }
    let count = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    count.ok_or_else(|| "that is more than any machine has".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_for_ever() {
        let millis = |n| Some(Wait::AtMost(Duration::from_millis(n)));
        for (text, expected) in [
            ("-1", Some(Wait::Forever)),
            ("-1.0", Some(Wait::Forever)),
            ("0", millis(0)),
            ("2", millis(2000)),
            ("0.25", millis(250)),
            ("0.0001", millis(1)),
            (".5", millis(500)),
            ("-2", None),
            ("-0.5", None),
            ("nan", None),
            ("inf", None),
            ("1e300", None),
            ("1e18", None),
            ("", None),
            ("5s", millis(5000)),
            ("90s", millis(90_000)),
            ("5m", millis(300_000)),
            ("2h", millis(7_200_000)),
            ("1h 30m", millis(5_400_000)),
            ("250ms", millis(250)),
            ("100us", millis(1)),
            ("5 parsecs", None),
            ("-5s", None),
        ] {
            assert_eq!(wait(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("64K", Some(65_536)),
            ("64k", Some(65_536)),
            ("2M", Some(2_097_152)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("18446744073709551615K", None),
            ("", None),
            ("K", None),
            ("1.5M", None),
            ("-1", None),
            ("+1", None),
            ("64 K", None),
            ("64KB", None),
            ("0x10", None),
        ] {
            assert_eq!(byte_count(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_buffer_size_has_bounds_and_says_so() {
        for (text, expected) in [
            ("1023", None),
            ("1K", Some(1024)),
            ("64M", Some(64 << 20)),
            ("65M", None),
            ("99999999999", None),
        ] {
            assert_eq!(buffer_size(text).ok(), expected, "{text}");
        }
        assert!(buffer_size("65M").unwrap_err().contains("from 1K to 64M"));
        assert!(buffer_size("many").unwrap_err().contains("64K"));
    }

    #[test]
    fn timeouts_and_rates_are_not_zero() {
        assert_eq!(seconds("0.5").ok(), Some(Duration::from_millis(500)));
        for text in ["0", "-1", "nan", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(rate("10K").ok(), NonZeroU64::new(10_240));
        assert!(rate("0").unwrap_err().contains("nothing moves"));
        assert_eq!(milliseconds("250").ok(), Some(Duration::from_millis(250)));
        assert!(milliseconds("-1").is_err());
    }
}
