//! Sums over records.

use std::time::Duration;

use aos_core::canonical::MAX_SAFE_INTEGER;
use aos_core::id::{ApiKeyId, EffectId};
use aos_core::ledger::{CostBy, CostLine, CostQuery, MOST, NewCall, Period, Settlement};
use aos_core::llm::{Sent, Usage};
use aos_core::money::Money;
use aos_core::time::Timestamp;

use super::{answered, book, call, calls, cents, in_workflow, limit, refused, settle, usage, used, workflow};
use crate::conformance::fixture::{run, tenant};
use crate::conformance::{Backend, Outcome};

/// What is summed up, by everything that calls have in common.
pub async fn costs_are_summed_up(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    let of = |text: &str, of_run: &str, of_workflow: &str, effect: &str, attempt, model: &str| NewCall {
        run: Some(run(of_run)),
        effect: EffectId::new(effect).ok(),
        attempt,
        model: model.into(),
        ..in_workflow(text, of_workflow)
    };
    for (new, settlement) in [
        (of("c1", "r1", "a", "x", 1, "m"), Some(answered(Some(cents(3))))),
        (of("c2", "r1", "a", "x", 2, "m"), Some(Settlement::new(Sent::Unknown))),
        (of("c3", "r2", "a", "y", 1, "n"), Some(Settlement::new(Sent::Refused))),
        (of("c4", "r3", "b", "x", 1, "n"), None),
        (NewCall { bound: None, adapter: "other".into(), ..call("c5") }, Some(answered(None))),
        (NewCall { api_key: ApiKeyId::new("k").ok(), cached: true, ..call("c6") }, None),
    ] {
        book(&*store, &new).await;
        if let Some(settlement) = settlement {
            settle(&*store, new.call.as_str(), &settlement).await;
        }
    }
    let day = calls(&*store).await[0].at.day().to_string();
    type Line<'a> = (Option<&'a str>, u64, u64, u64, u64, u64);
    let table: [(CostBy, &[Line<'_>]); 8] = [
        (CostBy::Model, &[(Some("m"), 2, 1, 0, 0, 10), (Some("n"), 2, 1, 0, 0, 10), (Some("m-1"), 2, 0, 1, 3, 3)]),
        (CostBy::Workflow, &[(Some("a"), 3, 1, 0, 3, 13), (Some("b"), 1, 1, 0, 0, 10), (None, 2, 0, 1, 0, 0)]),
        (CostBy::Day, &[(Some(day.as_str()), 6, 2, 1, 3, 23)]),
        (
            CostBy::Run,
            &[
                (Some("r1"), 2, 1, 0, 3, 13),
                (Some("r3"), 1, 1, 0, 0, 10),
                (None, 2, 0, 1, 0, 0),
                (Some("r2"), 1, 0, 0, 0, 0),
            ],
        ),
        (CostBy::Effect, &[(Some("x"), 3, 2, 0, 3, 23), (None, 2, 0, 1, 0, 0), (Some("y"), 1, 0, 0, 0, 0)]),
        (
            CostBy::Attempt,
            &[
                (Some("x#1"), 2, 1, 0, 3, 13),
                (Some("x#2"), 1, 1, 0, 0, 10),
                (None, 2, 0, 1, 0, 0),
                (Some("y#1"), 1, 0, 0, 0, 0),
            ],
        ),
        (CostBy::Adapter, &[(Some("claude"), 5, 2, 0, 3, 23), (Some("other"), 1, 0, 1, 0, 0)]),
        (CostBy::Key, &[(None, 5, 2, 1, 3, 23), (Some("k"), 1, 0, 0, 0, 0)]),
    ];
    for (by, expected) in table {
        let lines = store.costs(&CostQuery::new(tenant(), by)).await.unwrap();
        let lines: Vec<_> = lines.iter().map(shown).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, calls, uncertain, unpriced, min, max)| {
                (key.map(str::to_owned), *calls, *uncertain, *unpriced, cents(*min), cents(*max))
            })
            .collect();
        assert_eq!(lines, expected, "{by:?}");
    }
    Ok(())
}

type Shown = (Option<String>, u64, u64, u64, Money, Money);

fn shown(line: &CostLine) -> Shown {
    (line.key.clone(), line.calls, line.uncertain, line.unpriced, line.cost_min, line.cost_max)
}

/// By model, the one that answered counts; usage is summed up; filters and the limit leave out what they should.
pub async fn costs_are_filtered(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    for (text, of, model, cost) in [("c1", "a", "m", 1), ("c2", "a", "m", 2), ("c3", "b", "m", 4)] {
        book(&*store, &NewCall { run: Some(run(text)), model: model.into(), ..in_workflow(text, of) }).await;
        settle(&*store, text, &answered(Some(cents(cost)))).await;
        roles.pass(Duration::from_secs(86_400)).await?;
    }
    let records = calls(&*store).await;
    let [third, second, first] = &records[..] else { panic!("{records:?}") };
    let all = CostQuery::new(tenant(), CostBy::Model);
    let times = |tokens: Usage, n| Usage {
        input_tokens: tokens.input_tokens * n,
        output_tokens: tokens.output_tokens * n,
        cache_read_tokens: tokens.cache_read_tokens * n,
        cache_write_tokens: tokens.cache_write_tokens * n,
        cache_write_1h_tokens: tokens.cache_write_1h_tokens * n,
    };
    for (query, calls, cost) in [
        (all.clone(), 3, 7),
        (CostQuery { since: Some(second.at), ..all.clone() }, 2, 6),
        (CostQuery { until: Some(second.at), ..all.clone() }, 1, 1),
        (CostQuery { since: Some(first.at), until: Some(third.at), ..all.clone() }, 2, 3),
        (CostQuery { run: Some(run("c2")), ..all.clone() }, 1, 2),
        (CostQuery { workflow: Some(workflow("a")), ..all.clone() }, 2, 3),
    ] {
        let lines = store.costs(&query).await.unwrap();
        let expected = CostLine {
            key: Some("m-1".into()),
            calls,
            usage: times(usage(), calls),
            cost_min: cents(cost),
            cost_max: cents(cost),
            ..CostLine::default()
        };
        assert_eq!(lines, [expected], "{query:?}");
    }
    let none = CostQuery { since: Some(Timestamp::MAX), ..all.clone() };
    assert_eq!(store.costs(&none).await.unwrap(), []);
    let days = |limit| CostQuery { limit, ..CostQuery::new(tenant(), CostBy::Day) };
    let keys = |lines: Vec<CostLine>| lines.into_iter().filter_map(|line| line.key).collect::<Vec<_>>();
    let expected: Vec<_> = [first, second, third].map(|call| call.at.day().to_string()).into();
    assert_eq!(keys(store.costs(&days(10)).await.unwrap()), expected);
    assert_eq!(keys(store.costs(&days(2)).await.unwrap()), expected[..2]);
    assert_eq!(store.calls(&tenant(), Some(&run("c2")), 10).await.unwrap(), std::slice::from_ref(second));
    assert_eq!(store.calls(&tenant(), None, 2).await.unwrap(), records[..2]);
    Ok(())
}

/// Amounts too large to add up are kept at the most there is, and nothing fails.
pub async fn sums_saturate(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    for text in ["a", "b", "c"] {
        book(&*store, &NewCall { bound: Some(Money::MAX), ..call(text) }).await;
    }
    let huge = Usage { input_tokens: u64::MAX, ..Usage::default() };
    for text in ["a", "b"] {
        settle(&*store, text, &Settlement { usage: Some(huge), ..answered(Some(Money::MAX)) }).await;
    }
    let lines = store.costs(&CostQuery::new(tenant(), CostBy::Day)).await.unwrap();
    assert_eq!((lines[0].cost_min, lines[0].cost_max), (MOST, MOST));
    assert!(lines[0].usage.input_tokens > MAX_SAFE_INTEGER);
    limit(&*store, "tenant", Period::Total, Money::MAX).await;
    assert_eq!(used(&*store).await, (MOST, MOST));
    assert_eq!(refused(&*store, &NewCall { bound: Some(cents(1)), ..call("d") }).await.limit, MOST);
    Ok(())
}
