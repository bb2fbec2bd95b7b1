//! What patterns match, what is made for them, and which are refused.

use super::*;
use crate::random::Seed;

#[test]
fn matches_like_a_regular_expression() {
    for (pattern, yes, no) in [
        ("^abc$", vec!["abc"], vec!["abcd", "xabc", ""]),
        ("b", vec!["abc", "b"], vec!["ac", ""]),
        ("^a|b$", vec!["ax", "xb"], vec!["xay", "bx"]),
        ("^(a|b){2,3}$", vec!["ab", "bba"], vec!["a", "abab"]),
        ("^[a-c\\d_-]+$", vec!["a-1_"], vec!["d", ""]),
        ("^[^a-c]$", vec!["d", "-"], vec!["a", "dd"]),
        ("^\\D\\S\\W$", vec!["aa "], vec!["1a ", "a  ", "aaa"]),
        ("^[\\D]$", vec!["a"], vec!["1"]),
        ("^a*?b+?c?$", vec!["b", "aabbc"], vec!["a"]),
        ("^(?:x(?<y>z)?)*$", vec!["", "xxz"], vec!["z"]),
        ("^\\u0041\\x42\\.$", vec!["AB."], vec!["ABx"]),
        ("^a{2}b{0}$", vec!["aa"], vec!["a", "aab"]),
        ("^a{,2}$", vec!["a{,2}"], vec!["a"]),
        ("^(()*)*$", vec![""], vec!["a"]),
        ("^.$", vec!["ä", "\u{1F600}"], vec!["\n", ""]),
        ("^[]$", vec![], vec!["", "a"]),
        ("", vec!["", "a"], vec![]),
    ] {
        let parsed = Pattern::parse(pattern).unwrap();
        for text in yes {
            assert!(parsed.matches(text), "{pattern} {text:?}");
        }
        for text in no {
            assert!(!parsed.matches(text), "{pattern} {text:?}");
        }
    }
}

#[test]
fn makes_texts_that_match() {
    for pattern in [
        "^[A-Z]{2}-\\d{4,6}$",
        "^(\\([0-9]{3}\\))?[0-9]{3}-[0-9]{4}$",
        "^\\S+@\\S+\\.\\S+$",
        "^v?\\d+\\.\\d+\\.\\d+(-[0-9A-Za-z.-]+)?$",
        "^(foo|bar|b[ae]z)+$",
        "needle",
        "^[^\\w]$",
        "^\\W\\D\\S$",
        "^#[0-9a-fA-F]{6}$",
        "^$",
        "^[ä-ü]+$",
    ] {
        let parsed = Pattern::parse(pattern).unwrap();
        for seed in 0..200 {
            let text = parsed.make(&mut Rng::new(Seed::new(seed), "t"), 0, 100);
            assert!(parsed.matches(&text), "{pattern} {text:?}");
        }
    }
}

#[test]
fn refuses_what_it_does_not_know() {
    for pattern in [
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?i)a",
        "\\bword\\b",
        "(a)\\1",
        "\\p{L}",
        "(",
        ")",
        "[a",
        "a{3,2}",
        "*",
        "[z-a]",
        "a\\",
        "\\x4",
        "\\ud800",
        "[a-\\d]",
        "(a{200}){200}",
        "a{99999999}",
    ] {
        assert!(Pattern::parse(pattern).is_err(), "{pattern}");
    }
    assert!(Pattern::parse(&"(".repeat(100_000)).is_err());
}

#[test]
fn no_pattern_makes_matching_slow() {
    let pattern = Pattern::parse("^(a+)+$").unwrap();
    assert!(!pattern.matches(&("a".repeat(2_000) + "b")));
}

proptest::proptest! {
    #[test]
    fn never_panics(pattern in "[\\\\()\\[\\]{}|*+?^$.,a-c0-3dDwWsSux-]{0,24}", text in ".{0,8}", seed in 0_u64..1_000) {
        if let Ok(parsed) = Pattern::parse(&pattern) {
            parsed.matches(&text);
            parsed.make(&mut Rng::new(Seed::new(seed), ""), 0, 50);
        }
    }
}
