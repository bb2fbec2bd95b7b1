//! Costs, budgets and prices.

use std::time::Duration;

use aos_core::canonical::Hash;
use aos_core::id::{CallId, EffectId, RunId, WorkflowId};
use aos_core::ledger::{NewCall, Reserved, Settlement};
use aos_core::llm::{Sent, Usage};
use aos_core::money::Money;
use serde_json::{Value, json};

use crate::support::Api;

fn call(api: &Api, id: &str, workflow: &str) -> NewCall {
    NewCall {
        tenant: api.state().tenant.clone(),
        call: CallId::new(id).unwrap(),
        run: Some(RunId::new("r1").unwrap()),
        workflow: Some(WorkflowId::new(workflow).unwrap()),
        effect: Some(EffectId::new("ask").unwrap()),
        attempt: 1,
        fallback: 0,
        adapter: "claude".into(),
        model: "claude-opus-5-5".into(),
        api_key: None,
        request: Hash::of("request"),
        bound: Some(Money::from_cents(10)),
        book: None,
        patience: Duration::from_secs(600),
        cached: false,
    }
}

async fn reserve(api: &Api, call: &NewCall) -> Reserved {
    api.state().control.ledger.reserve(call).await.unwrap()
}

/// Makes a call of ten cents at most that cost three, and one of which nobody knows.
async fn spend(api: &Api) {
    for (id, settlement) in [
        (
            "c1",
            Settlement {
                usage: Some(Usage { input_tokens: 7, output_tokens: 5, ..Usage::default() }),
                cost: Some(Money::from_cents(3)),
                ..Settlement::new(Sent::Answered)
            },
        ),
        ("c2", Settlement::new(Sent::Unknown)),
    ] {
        let call = call(api, id, "report");
        assert_eq!(reserve(api, &call).await, Reserved::Booked);
        api.state().control.ledger.settle(&call.tenant, &call.call, &settlement).await.unwrap();
    }
}

#[tokio::test]
async fn costs_are_summed_up_as_asked() {
    let api = Api::new().await;
    assert_eq!(api.get("/v1/costs").await.is(200).json(), json!({"by": "day", "lines": []}));
    spend(&api).await;
    let expected = |key: &str| {
        json!([{
            "key": key, "calls": 2, "uncertain_calls": 1, "unpriced_calls": 0,
            "input_tokens": 7, "output_tokens": 5, "cache_read_tokens": 0, "cache_write_tokens": 0,
            "cache_write_1h_tokens": 0, "cost_min_usd": "0.03", "cost_max_usd": "0.13", "cost_cents": 13.0,
        }])
    };
    for (by, key) in [
        ("model", "claude-opus-5-5"),
        ("workflow", "report"),
        ("run", "r1"),
        ("effect", "ask"),
        ("attempt", "ask#1"),
        ("adapter", "claude"),
    ] {
        let report = api.get(&format!("/v1/costs?by={by}")).await.is(200).json();
        assert_eq!(report, json!({"by": by, "lines": expected(key)}));
    }
    let days = api.get("/v1/costs").await.is(200).json();
    let today = days["lines"][0]["key"].as_str().unwrap();
    assert_eq!(days["lines"], expected(today));
    for (query, calls) in [
        ("since=2026-01-01&by=model", json!(2)),
        ("until=2026-01-01T00:00:00Z&by=model", Value::Null),
        ("run=r1&by=model", json!(2)),
        ("run=r2&by=model", Value::Null),
        ("workflow=report&by=run", json!(2)),
        ("workflow=other&by=run", Value::Null),
        ("by=key&limit=1", json!(2)),
    ] {
        let report = api.get(&format!("/v1/costs?{query}")).await.is(200).json();
        assert_eq!(report["lines"][0]["calls"], calls, "{query}: {report}");
    }
}

#[tokio::test]
async fn budgets_are_set_used_and_lifted() {
    let api = Api::new().await;
    assert_eq!(api.get("/v1/budgets").await.is(200).json(), json!({"budgets": []}));
    spend(&api).await;
    let limit = json!({"limit_usd": "0.20"});
    let set = api.put("/v1/budgets/workflow:report/day", &limit).await.is(200).json();
    let resets_at = &set["resets_at"];
    assert!(resets_at.as_str().unwrap().ends_with("T00:00:00.000Z"), "{set}");
    let expected = json!({
        "scope": "workflow:report", "period": "day", "limit_usd": "0.2", "spent_usd": "0.13", "reserved_usd": "0",
        "left_usd": "0.07", "resets_at": resets_at,
    });
    assert_eq!(set, expected);
    let Reserved::Refused(budget) = reserve(&api, &call(&api, "c3", "report")).await else { panic!("it was booked") };
    let failure = budget.exceeded(&call(&api, "c3", "report"));
    let says = "the call may cost up to $0.1, and $0.07 of $0.2 are left of the daily budget of workflow:report \
                ($0.13 spent, $0 reserved); it begins anew at ";
    assert!(failure.message.starts_with(says), "{}", failure.message);
    assert_eq!((failure.code.as_str(), &failure.details["budget"]["limit"]), ("ERR_BUDGET_EXCEEDED", &json!("0.2")));
    assert_eq!(reserve(&api, &call(&api, "c4", "another")).await, Reserved::Booked);
    let total = api.put("/v1/budgets/tenant/total", &json!({"limit_usd": "100"})).await.is(200).json();
    assert_eq!((&total["reserved_usd"], &total["resets_at"]), (&json!("0.1"), &Value::Null));
    let list = api.get("/v1/budgets").await.is(200).json();
    assert_eq!(list, json!({"budgets": [total, expected]}));
    api.delete("/v1/budgets/workflow:report/day").await.is(204);
    api.delete("/v1/budgets/workflow:report/day").await.problem(404, "ERR_NOT_FOUND");
    assert_eq!(reserve(&api, &call(&api, "c3", "report")).await, Reserved::Booked);
}

#[tokio::test]
async fn price_books_are_given_by_hash() {
    let api = Api::new().await;
    let book = &api.state().prices;
    let current = api.get("/v1/prices/current").await.is(200);
    assert_eq!((current.text.as_str(), current.header("etag")), (book.to_json(), &*format!("\"{}\"", book.hash())));
    assert_eq!(api.get(&format!("/v1/prices/{}", book.hash())).await.is(200).text, book.to_json());
    let blobs = &api.state().host.stores.blobs;
    let older =
        r#"{"models":{"m":[{"cache_read":"1","cache_write_1h":"1","cache_write_5m":"1","input":"1","output":"1"}]}}"#;
    let hash = blobs.put(older.as_bytes()).await.unwrap();
    assert_eq!(api.get(&format!("/v1/prices/{hash}")).await.is(200).text, older);
    let no_book = blobs.put(br#"{"secret": "of a run"}"#).await.unwrap();
    for name in [no_book.to_string(), Hash::of("nothing").to_string(), "latest".into()] {
        api.get(&format!("/v1/prices/{name}")).await.problem(404, "ERR_NOT_FOUND");
    }
}

#[tokio::test]
async fn malformed_questions_are_named() {
    let api = Api::new().await;
    for (path, says) in [
        ("/v1/costs?by=colour", "expected one of model, workflow, day"),
        ("/v1/costs?since=yesterday", "since is \"yesterday\": expected a day"),
        ("/v1/costs?until=2026-02-30", "until"),
        ("/v1/costs?limit=0", "limit is 0"),
        ("/v1/costs?limit=10001", "limit is 10001"),
        ("/v1/costs?workflow=NO", "workflow"),
        ("/v1/costs?model=m", "model"),
    ] {
        let problem = api.get(path).await.problem(400, "ERR_INVALID_REQUEST");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{path}: {problem}");
    }
    for (path, body, says) in [
        ("/v1/budgets/all/day", json!({"limit_usd": "1"}), "expected \"tenant\""),
        ("/v1/budgets/workflow:NO/day", json!({"limit_usd": "1"}), "workflow id"),
        ("/v1/budgets/tenant/week", json!({"limit_usd": "1"}), "expected day or total"),
        ("/v1/budgets/tenant/day", json!({"limit_usd": 1}), "limit_usd"),
        ("/v1/budgets/tenant/day", json!({"limit_usd": "-1"}), "limit_usd"),
        ("/v1/budgets/tenant/day", json!({}), "limit_usd"),
        ("/v1/budgets/tenant/day", json!({"limit_usd": "1", "limit": 2}), "limit"),
    ] {
        let problem = api.put(path, &body).await.problem(400, "ERR_INVALID_REQUEST");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{path} {body}: {problem}");
    }
}
