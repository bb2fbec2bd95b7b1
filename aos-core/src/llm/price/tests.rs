//! What books say, and what they refuse.

use proptest::prelude::*;

use super::*;

const RATES: &str =
    r#""input": "2", "output": "10", "cache_write_5m": "2.5", "cache_write_1h": "4", "cache_read": "0.2""#;

fn at(text: &str) -> Timestamp {
    let (day, millis) = text.split_once('+').unwrap_or((text, "0"));
    let start = day.parse::<Day>().unwrap().start();
    start.saturating_add(std::time::Duration::from_millis(millis.parse().unwrap()))
}

fn usage(input: u64, output: u64, read: u64, write: u64, write_1h: u64) -> Usage {
    Usage {
        input_tokens: input,
        output_tokens: output,
        cache_read_tokens: read,
        cache_write_tokens: write,
        cache_write_1h_tokens: write_1h,
    }
}

#[test]
fn the_builtin_book_prices_by_model_day_and_length() {
    let book = PriceBook::builtin().unwrap();
    let million = 1_000_000;
    for (model, tokens, when, expected) in [
        ("claude-opus-5-5", usage(million, 0, 0, 0, 0), "2026-11-23", Some("4")),
        ("claude-opus-5-5-20261001", usage(0, million, 0, 0, 0), "2026-11-23", Some("20")),
        ("claude-opus-5-5", usage(0, 0, million, 0, 0), "2026-11-23", Some("0.2")),
        ("claude-opus-5-5", usage(0, 0, 0, million, 0), "2026-11-23", Some("5")),
        ("claude-opus-5-5", usage(0, 0, 0, million, million), "2026-11-23", Some("8")),
        ("claude-opus-5-5", usage(0, 0, 0, million, 250_000), "2026-11-23", Some("5.75")),
        ("claude-opus-4-6", usage(1, 1, 1, 1, 0), "2026-11-23", Some("0.00003675")),
        // The price of cache reads changed with the day that began.
        ("claude-sonnet-5-5", usage(0, 0, 1, 0, 0), "2026-10-06+86399999", Some("0.0000002")),
        ("claude-sonnet-5-5", usage(0, 0, 1, 0, 0), "2026-10-07", Some("0.0000001")),
        // The whole request is dearer once its prompt, cached or not, is longer.
        ("claude-haiku-5-5", usage(100_000, 100, 0, 0, 0), "2026-11-23", Some("0.01005")),
        ("claude-haiku-5-5", usage(100_001, 100, 0, 0, 0), "2026-11-23", Some("0.0502505")),
        ("claude-haiku-5-5", usage(1, 0, 50_000, 49_999, 0), "2026-11-23", Some("0.006749975")),
        ("claude-haiku-5-5", usage(1, 0, 50_001, 49_999, 0), "2026-11-23", Some("0.033749925")),
        // Before its first price, a model has none.
        ("claude-fable-5-2", usage(1, 0, 0, 0, 0), "2026-11-08+86399999", None),
        ("claude-fable-5-2", usage(1, 0, 0, 0, 0), "2026-11-09", Some("0.000008")),
        ("claude-opus-9", usage(1, 0, 0, 0, 0), "2026-11-23", None),
        ("claude-opus-5-5-2026100", usage(1, 0, 0, 0, 0), "2026-11-23", None),
        ("claude-opus-5-5-preview1", usage(1, 0, 0, 0, 0), "2026-11-23", None),
        ("", usage(0, 0, 0, 0, 0), "2026-11-23", None),
    ] {
        let cost = book.price(model, &tokens, at(when)).map(|priced| priced.cost.to_string());
        assert_eq!(cost.as_deref(), expected, "{model} {tokens:?} {when}");
    }
}

#[test]
fn a_price_says_which_row_it_is() {
    let book = PriceBook::builtin().unwrap();
    let found = |model, tokens, when| book.price(model, &usage(tokens, 0, 0, 0, 0), at(when)).unwrap();
    let short = found("claude-haiku-5-5", 7, "2026-11-23");
    let json = serde_json::to_value(&short.price).unwrap();
    assert_eq!(json, serde_json::json!({"book": book.hash(), "from": "1970-01-01", "up_to": 100_000}));
    assert_eq!(serde_json::from_value::<PriceRef>(json).unwrap(), short.price);
    let later = found("claude-sonnet-5-5", 7, "2027-01-01");
    assert_eq!((later.price.from.to_string().as_str(), later.price.up_to), ("2026-10-07", None));
    let tokens = usage(0, 0, 10, 0, 0);
    let recorded = book.price("claude-sonnet-5-5", &tokens, at("2026-10-06")).unwrap();
    assert_eq!(book.price_as_of("claude-sonnet-5-5", &tokens, recorded.price.from), Some(recorded));
    assert_eq!(book.price_as_of("claude-sonnet-5-5", &tokens, Day::from_number(7)), None);
}

#[test]
fn a_book_is_known_by_its_content() {
    let book = PriceBook::builtin().unwrap();
    let again = PriceBook::parse(book.to_json()).unwrap();
    assert_eq!((again.hash(), again.to_json()), (book.hash(), book.to_json()));
    let one = PriceBook::parse(&format!(r#"{{"note": "ours", "models": {{"m": [{{{RATES}}}]}}}}"#)).unwrap();
    let same = PriceBook::parse(&format!(r#"{{"models": {{"m": [{{"from": "1970-01-01", {RATES}}}]}}}}"#)).unwrap();
    assert_eq!(one.hash(), same.hash());
    let other = PriceBook::parse(&format!(r#"{{"models": {{"m": [{{"from": "1970-01-02", {RATES}}}]}}}}"#)).unwrap();
    assert_ne!(one.hash(), other.hash());
}

#[test]
fn another_book_adds_and_replaces_models() {
    let builtin = PriceBook::builtin().unwrap();
    let ours = format!(r#"{{"models": {{"ours": [{{{RATES}}}], "claude-fable-5-2": [{{{RATES}}}]}}}}"#);
    let both = builtin.clone().with(PriceBook::parse(&ours).unwrap()).unwrap();
    let tokens = usage(1, 0, 0, 0, 0);
    let cost = |model| both.price(model, &tokens, at("2026-01-01")).map(|priced| priced.cost.picodollars());
    assert_eq!(
        ["ours", "claude-fable-5-2", "claude-opus-5"].map(cost),
        [Some(2_000_000), Some(2_000_000), Some(5_000_000)]
    );
    assert_ne!(both.hash(), builtin.hash());
    assert_eq!(both.models().count(), builtin.models().count() + 1);
}

#[test]
fn every_mistake_is_named() {
    for (text, expected) in [
        ("[]", "the price book has 1 mistake\n  /: found [], expected an object"),
        ("{", "it is not JSON: EOF while parsing an object at line 1 column 1"),
        ("{}", "the price book has 1 mistake\n  /models: found nothing, expected an object: model names, each with a list of prices"),
        (r#"{"modles": {}, "models": {}}"#, "the price book has 1 mistake\n  /: the key \"modles\" is not known (did you mean \"models\"?); there are models, note"),
        (r#"{"models": {"a/b": [], "c": {}}}"#, "the price book has 2 mistakes\n  /models/a~1b: found [], expected a list of prices, at least one\n  /models/c: found {}, expected a list of prices, at least one"),
        (
            r#"{"models": {"m": [{"from": "2026-02-30", "up_to": 0, "input": 1, "output": "1.0000001", "cache_write_5m": "-1", "cache_write_1h": "1", "cache_read": "1"}]}}"#,
            "the price book has 5 mistakes
  /models/m/0/from: found \"2026-02-30\", expected a day such as \"2026-11-23\"
  /models/m/0/up_to: found 0, expected a number of tokens, at least 1
  /models/m/0/input: found 1, expected dollars for a million tokens, as text with at most 6 decimals, such as \"0.25\"
  /models/m/0/output: found \"1.0000001\", expected dollars for a million tokens, as text with at most 6 decimals, such as \"0.25\"
  /models/m/0/cache_write_5m: found \"-1\", expected dollars for a million tokens, as text with at most 6 decimals, such as \"0.25\"",
        ),
        (
            &format!(r#"{{"models": {{"m": [{{{RATES}, "up_to": 5}}, {{{RATES}, "up_to": 5}}, {{{RATES}, "from": "2026-01-01"}}]}}}}"#),
            "the price book has 2 mistakes
  /models/m/1: there is another price from the same day on, up to the same length
  /models/m: of the prices from 1970-01-01 on none is without `up_to`: what do longer prompts cost?",
        ),
    ] {
        assert_eq!(PriceBook::parse(text).unwrap_err().message, expected, "{text}");
    }
}

fn tokens() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_000_u64, any::<u64>()]
}

prop_compose! {
    fn any_usage()(input in tokens(), output in tokens(), read in tokens(), write in tokens(), hour in tokens()) -> Usage {
        usage(input, output, read, write, hour.min(write))
    }
}

const MODELS: [&str; 4] = ["claude-opus-5-5", "claude-sonnet-5-5-20260901", "claude-haiku-5-5", "claude-fable-5-2"];

proptest! {
    /// More tokens never cost less, and nothing overflows.
    #[test]
    fn more_costs_no_less(model in 0..MODELS.len(), less in any_usage(), more in any_usage(), days in 20_000..22_000_u32) {
        let book = PriceBook::builtin().unwrap();
        let more = usage(
            less.input_tokens.saturating_add(more.input_tokens),
            less.output_tokens.saturating_add(more.output_tokens),
            less.cache_read_tokens.saturating_add(more.cache_read_tokens),
            less.cache_write_tokens.saturating_add(more.cache_write_tokens),
            less.cache_write_1h_tokens,
        );
        let cost = |tokens| book.price(MODELS[model], tokens, Day::from_number(days).start()).map(|p| p.cost);
        prop_assert!(cost(&less) <= cost(&more), "{:?} {:?}", cost(&less), cost(&more));
    }

    /// No call whose tokens were estimated right costs more than its bound.
    #[test]
    fn the_bound_is_one(model in 0..MODELS.len(), used in any_usage(), days in 20_000..22_000_u32) {
        let book = PriceBook::builtin().unwrap();
        let at = Day::from_number(days).start();
        let bound = book.bound(MODELS[model], used.all_input(), used.output_tokens, at);
        let cost = book.price(MODELS[model], &used, at).map(|priced| priced.cost);
        prop_assert_eq!(bound.is_some(), cost.is_some());
        prop_assert!(cost <= bound, "{:?} {:?}", cost, bound);
    }

    /// The last instant of a day and the longest prompt of a tier are on this side of the boundary.
    #[test]
    fn boundaries_are_exact(up_to in 1..1_000_000_000_u64, day in 1..40_000_u32) {
        let day = Day::from_number(day);
        let free = r#""input": "0", "output": "0", "cache_write_5m": "0", "cache_write_1h": "0", "cache_read": "0""#;
        let book = PriceBook::parse(&format!(
            r#"{{"models": {{"m": [{{{free}}}, {{"from": "{day}", "up_to": {up_to}, {free}}}, {{"from": "{day}", {RATES}}}]}}}}"#
        )).unwrap();
        let before = Timestamp::from_millis(day.start().as_millis() - 1);
        let cost = |input, at| book.price("m", &usage(input, 0, 0, 0, 0), at).unwrap().cost;
        prop_assert!(cost(up_to + 1, before).is_zero());
        prop_assert!(cost(up_to, day.start()).is_zero());
        prop_assert_eq!(cost(up_to + 1, day.start()), Money::from_picodollars(2_000_000 * (up_to + 1)));
    }
}
