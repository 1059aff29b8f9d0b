//! The words that codes are made of: finding one, completing one, and telling which one was meant.

use std::sync::LazyLock;

use super::{WORD_COUNT, is_separator};

/// Origin and licence are at the begin of the file.
static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    include_str!("words.txt").lines().filter(|line| !line.starts_with('#')).collect()
});

/// How many words the list has.
pub(super) const COUNT: u32 = 2048;

/// So many letters tell a word from all others.
const UNIQUE_PREFIX_LEN: usize = 4;

/// The most words that are worth suggesting.
const MAX_SUGGESTIONS: usize = 3;

/// A word that takes more changes than this was not meant.
const MAX_DISTANCE: usize = 2;

/// The words of codes, in ascending order.
pub(super) fn all() -> &'static [&'static str] {
    &WORDS
}

/// The words that begin with `prefix`, in upper or lower case, in ascending order. All of them if
/// it is empty.
fn complete(prefix: &str) -> &'static [&'static str] {
    let prefix = prefix.to_ascii_lowercase();
    let words = &all()[all().partition_point(|word| **word < *prefix)..];
    &words[..words.partition_point(|word| word.starts_with(&prefix))]
}

/// Where the word at the end of `line` begins, and what it can become, with the dash that follows
/// it. There is nothing to complete before the number, after the last word, and where nothing of a
/// word has been typed.
pub fn completions(line: &str) -> (usize, Vec<String>) {
    let start = line
        .rfind(is_separator)
        .map_or(0, |at| at + line[at..].chars().next().map_or(0, char::len_utf8));
    let (before, word) = line.split_at(start);
    let parts = before.split(is_separator).filter(|part| !part.is_empty()).count();
    if word.is_empty() || !(1..=WORD_COUNT).contains(&parts) {
        return (start, Vec::new());
    }
    let dash = if parts < WORD_COUNT { "-" } else { "" };
    (start, complete(word).iter().map(|word| format!("{word}{dash}")).collect())
}

/// The word that `text` is, or of which it is the begin, in upper or lower case; four letters are
/// enough.
pub(super) fn find(text: &str) -> Option<&'static str> {
    // A word comes before all that begin with it.
    let first = complete(text).first()?;
    (text.len() >= UNIQUE_PREFIX_LEN || first.len() == text.len()).then_some(first)
}

/// Whether nothing that is one slip of the finger away from `word` is taken for another word.
pub(super) fn is_safe_to_type(word: &str) -> bool {
    slips(word).all(|slip| find(&slip).is_none_or(|found| found == word))
}

/// What becomes of `word` by one letter too few, too many or wrong, or by two neighbours swapped.
fn slips(word: &str) -> impl Iterator<Item = String> {
    (0..=word.len()).flat_map(move |at| {
        let (head, tail) = word.split_at(at);
        let rest = tail.get(1..);
        let too_many = ('a'..='z').map(move |letter| format!("{head}{letter}{tail}"));
        let too_few = rest.map(|rest| format!("{head}{rest}"));
        let wrong = rest
            .into_iter()
            .flat_map(move |rest| ('a'..='z').map(move |letter| format!("{head}{letter}{rest}")));
        let swapped =
            tail.get(2..).map(|rest| format!("{head}{}{}{rest}", &tail[1..2], &tail[..1]));
        too_many.chain(too_few).chain(wrong).chain(swapped)
    })
}

/// The few words that were probably meant by `text`, which is none: those that begin with it, else
/// the nearest ones.
pub(super) fn similar(text: &str) -> Vec<&'static str> {
    let completed = complete(text);
    if (1..=MAX_SUGGESTIONS).contains(&completed.len()) {
        return completed.to_vec();
    }
    let text: Vec<u8> = text.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    // Neither is what is far longer than any word worth comparing.
    let near = |word: &&str| text.len().abs_diff(word.len()) <= MAX_DISTANCE;
    let distances =
        all().iter().filter(|word| near(word)).map(|word| (distance(&text, word), *word));
    let mut ranked: Vec<_> = distances.filter(|(distance, _)| *distance <= MAX_DISTANCE).collect();
    ranked.sort();
    let nearest = ranked.first().map_or(0, |(distance, _)| *distance);
    ranked.retain(|(distance, _)| *distance == nearest);
    ranked.into_iter().map(|(_, word)| word).take(MAX_SUGGESTIONS).collect()
}

/// How many letters must be added, left out, replaced or swapped with their neighbours to make
/// `word` of `text` (<https://en.wikipedia.org/wiki/Damerau%E2%80%93Levenshtein_distance>, optimal
/// string alignment).
fn distance(text: &[u8], word: &str) -> usize {
    let word = word.as_bytes();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=word.len()).collect();
    for i in 1..=text.len() {
        let mut row = vec![i];
        for j in 1..=word.len() {
            let replaced = last[j - 1] + usize::from(text[i - 1] != word[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && text[i - 1] == word[j - 2] && text[i - 2] == word[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[word.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_published_one_and_what_its_head_says() {
        assert_eq!(all().len(), COUNT as usize);
        assert!(all().is_sorted());
        assert_eq!((all()[0], all()[1024], all()[2047]), ("abandon", "length", "zoo"));
        assert!(all().iter().all(|word| {
            (3..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase())
        }));
    }

    #[test]
    fn four_letters_or_the_whole_word_find_it_and_nothing_shorter_does() {
        for word in all() {
            for len in 1..=word.len() {
                let prefix = &word[..len];
                let expected = if all().contains(&prefix) {
                    Some(prefix)
                } else {
                    (len >= UNIQUE_PREFIX_LEN).then_some(*word)
                };
                assert_eq!(find(prefix), expected, "{prefix}");
                assert_eq!(find(&prefix.to_uppercase()), expected, "{prefix}");
            }
            assert_eq!(find(&format!("{word}x")), None, "{word}");
        }
        assert_eq!(find(""), None);
    }

    #[test]
    fn completion_gives_exactly_the_words_with_the_prefix() {
        for prefix in ["", "a", "ab", "AB", "zo", "zoo", "zoox", "zz", "clo", "0", "é", "act"] {
            let lower = prefix.to_lowercase();
            let expected: Vec<&str> =
                all().iter().copied().filter(|word| word.starts_with(&lower)).collect();
            assert_eq!(complete(prefix), expected, "{prefix}");
        }
    }

    #[test]
    fn what_was_probably_meant_is_suggested() {
        for (text, expected) in [
            ("clok", &["clock", "clog", "cook"][..]),
            ("CLOKC", &["clock"]),
            ("magnat", &["magnet"]),
            ("zeb", &["zebra"]),
            ("fabrci", &["fabric"]),
            ("qqqqq", &[]),
            ("abandonment", &[]),
            ("", &[]),
            ("ünïcödé", &[]),
        ] {
            assert_eq!(similar(text), expected, "{text}");
        }
        assert_eq!(similar(&"x".repeat(1 << 20)), [""; 0], "and at once");
    }

    #[test]
    fn distances_count_single_changes() {
        for (text, word, expected) in [
            ("clock", "clock", 0),
            ("clok", "clock", 1),
            ("cllock", "clock", 1),
            ("clack", "clock", 1),
            ("colck", "clock", 1),
            ("lcokc", "clock", 2),
            ("", "clock", 5),
            ("magnet", "clock", 6),
        ] {
            assert_eq!(distance(text.as_bytes(), word), expected, "{text}");
        }
    }

    #[test]
    fn slips_are_all_that_one_change_makes() {
        for slip in slips("act") {
            assert!(distance(slip.as_bytes(), "act") <= 1, "{slip}");
        }
        let mut distinct: Vec<String> = slips("act").collect();
        distinct.sort();
        distinct.dedup();
        // Of a word of n letters: n without one, 25n with a wrong one, 25(n + 1) + 1 with one more,
        // n - 1 with two swapped, and the word itself.
        assert_eq!(distinct.len(), 3 + 75 + 101 + 2 + 1);
    }

    #[test]
    fn words_are_completed_behind_the_number() {
        for (line, start, expected) in [
            ("12342-fab", 6, &["fabric-"][..]),
            ("12342 FABR", 6, &["fabric-"]),
            ("12342 – fabr", 10, &["fabric-"]),
            ("12342-fabric-lemo", 13, &["lemon-"]),
            ("12342-fabric-lemon-orb", 19, &["orbit"]),
            ("12342-clo", 6, &["clock-", "clog-", "close-", "cloth-", "cloud-", "clown-"]),
            ("12342-", 6, &[]),
            ("12342-zzz", 6, &[]),
            ("12342-fabric-lemon-orbit-zo", 25, &[]),
            ("fab", 0, &[]),
            ("", 0, &[]),
        ] {
            let expected = expected.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(completions(line), (start, expected), "{line}");
        }
    }
}
