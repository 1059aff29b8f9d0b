//! Codes that are typed, drawn and mistyped.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// The code that is drawn from the random numbers of `seed` (xorshift32,
/// <https://www.jstatsoft.org/v08/i14/>).
fn drawn(seed: u32) -> Code {
    let mut state = seed.max(1);
    let draw = draw(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        Ok::<_, Infallible>(state)
    });
    draw.unwrap()
}

/// All that one slip makes of `text`: a character too few, too many or wrong, or two neighbours
/// swapped.
fn slips(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut slips = Vec::new();
    let mut add = |head: &[char], middle: &[char], tail: &[char]| {
        slips.push([head, middle, tail].concat().into_iter().collect());
    };
    for at in 0..=characters.len() {
        let (head, tail) = characters.split_at(at);
        let rest = tail.get(1..);
        rest.into_iter().for_each(|rest| add(head, &[], rest));
        for c in ('a'..='z').chain('0'..='9').chain(['-', ' ', '\'', 'é', 'Q']) {
            add(head, &[c], tail);
            rest.into_iter().for_each(|rest| add(head, &[c], rest));
        }
        if let [first, second, rest @ ..] = tail {
            add(head, &[*second, *first], rest);
        }
    }
    slips
}

proptest! {
    #[test]
    fn what_is_shown_is_read_as_the_same_code(seed: u32) {
        let code = drawn(seed);
        let shown = code.to_string();
        prop_assert_eq!(&Code::parse(&shown), &Ok(code.clone()));
        prop_assert_eq!(&Code::parse(&shown.to_uppercase().replace('-', " ")), &Ok(code.clone()));
        prop_assert_eq!(&Code::parse(&format!("  {}\n", shown.replace('-', " – "))), &Ok(code.clone()));
        for [before, between, behind] in [
            ["", "_", ""],
            ["", "-", "."],
            ["'", "\u{2212}", "'"],
            ["\u{201e}", "\u{2014}", "\u{201c}"],
            ["", ". ", ""],
            ["(", ".", ")"],
        ] {
            let text = format!("{before}{}{behind}", shown.replace('-', between));
            prop_assert!(Code::resembles(&text), "{}", text);
            prop_assert_eq!(&Code::parse(&text), &Ok(code.clone()));
        }
    }

    #[test]
    fn four_letters_of_each_word_are_enough(seed: u32) {
        let code = drawn(seed);
        let words = code.words.map(|word| &word[..word.len().min(4)]);
        let short = format!("{}-{}", code.number, words.join("-"));
        prop_assert_eq!(Code::parse(&short), Ok(code));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        match Code::parse(&text) {
            Ok(code) => prop_assert_eq!(Code::parse(&code.to_string()), Ok(code)),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_single_slip_gives_no_other_code(seed: u32) {
        let code = drawn(seed);
        for slip in slips(&code.to_string()) {
            if let Ok(read) = Code::parse(&slip) {
                prop_assert_eq!(&read, &code, "{}", slip);
            }
        }
    }
}

#[test]
fn no_slip_turns_one_number_into_another() {
    let numbers: Vec<u32> = (LEAST_STEPS..=MOST_STEPS).map(|steps| steps * STEP).collect();
    assert_eq!(numbers.len(), 8181, "as the module says");
    assert_eq!((numbers[0], numbers[8180]), (10_010, 99_990));
    for number in numbers {
        for slip in slips(&number.to_string()) {
            assert!(parse_number(&slip).is_none_or(|read| read == number), "{number} {slip}");
        }
    }
}

#[test]
fn as_many_words_are_drawn_as_the_odds_are_reckoned_with() {
    let drawable = words::all().iter().filter(|word| words::is_safe_to_type(word)).count();
    assert_eq!(drawable, 1111);
}

#[test]
fn numbers_are_drawn_evenly_and_up_to_the_ends() {
    let none_left = u32::MAX - u32::MAX % 10;
    let mut random = [u32::MAX, none_left, none_left - 1].into_iter();
    let drawn = below(10, &mut || random.next().ok_or("as many are drawn as needed"));
    assert_eq!(drawn, Ok(9));
    assert_eq!(below(10, &mut || Ok::<_, Infallible>(0)), Ok(0));
}

#[test]
fn two_random_codes_differ() {
    let codes = [Code::random().unwrap(), Code::random().unwrap()];
    assert_ne!(codes[0], codes[1], "which happens by chance once in 10^13 times");
}

#[test]
fn without_random_numbers_there_is_no_code() {
    assert_eq!(draw(|| Err("none")), Err("none"));
}

#[test]
fn key_and_secret_have_one_form_each() {
    let code = Code::parse(" 12342 FABR Lemon—orbi ").unwrap();
    assert_eq!(code.to_string(), EXAMPLE);
    assert_eq!(code.key().as_bytes(), b"code 12342");
    assert_eq!(code.phrase(), "fabric-lemon-orbit");
    assert!(!code.secret().is_none());
}

#[test]
fn debug_hides_the_words() {
    assert_eq!(format!("{:?}", Code::parse(EXAMPLE).unwrap()), "Code(12342-..)");
}

#[test]
fn a_refusal_says_which_part_is_wrong_and_what_may_have_been_meant() {
    for (text, expected) in [
        ("", "a code is a number and three words, such as 12342-fabric-lemon-orbit"),
        ("12342-fabric-lemon", "a code is a number and three words"),
        ("12342-fabric-lemon-orbit-zoo", "a code is a number and three words"),
        ("12343-fabric-lemon-orbit", "`12343` is the number of no code"),
        ("+1234-fabric-lemon-orbit", "`+1234` is the number of no code"),
        ("00011-fabric-lemon-orbit", "`00011` is the number of no code"),
        ("99999999999999999999-fabric-lemon-orbit", "` is the number of no code"),
        (
            "12342-fabr\u{7}-lemon-orbit",
            "`fabr\\u{7}` is no word of the list; did you mean `fabric` or `farm`?",
        ),
        (
            "12342-clok-lemon-orbit",
            "`clok` is no word of the list; did you mean `clock` or `clog` or `cook`?",
        ),
        ("12342-fab-lemon-orbit", "`fab` is no word of the list; did you mean `fabric`?"),
        ("12342-fabric-qqqqq-orbit", "`qqqqq` is no word of the list; look at it letter by letter"),
    ] {
        let error = Code::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn what_is_meant_as_a_code_is_told_from_a_key() {
    for (text, expected) in [
        (EXAMPLE, true),
        ("12343 fabric lemmon ORBIT", true),
        ("7-crossover-clockwork-magnet", true),
        ("12342-fabric-lemon", false),
        ("12342_fabric_lemon_orbit.", true),
        ("\u{201c}12342 fabric\u{2212}lemon-orbit\u{201d},", true),
        ("12342. fabric, lemon, orbit!", true),
        ("12342.fabric.lemon.orbit", true),
        ("12343/fabric/lemon/orbit", true),
        ("12342.fabric.lemon.zip", false),
        ("2024.report.final.orbit", false),
        ("12342-fabric-lemon-orbit.txt", false),
        ("12342:fabric-lemon-orbit", false),
        ("a-fabric-lemon-orbit", false),
        ("stocks.txt", false),
        ("", false),
    ] {
        assert_eq!(Code::resembles(text), expected, "{text}");
    }
}
