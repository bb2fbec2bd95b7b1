//! Short workflows, each about one thing.

use std::time::Duration;

use aos_core::flow::Ctx;
use aos_core::retry::RetryPolicy;
use aos_core::{Failure, codes};
use serde_json::{Value, json};

/// A refund above a hundred euros waits for a person, for two days at most.
pub async fn refund(ctx: Ctx, request: Value) -> Result<Value, Failure> {
    if request["refund_cents"].as_u64().unwrap_or(0) > 10_000 {
        let two_days = Duration::from_secs(48 * 3_600);
        match ctx.signal("approval").timeout(two_days).await {
            Ok(approval) if approval.value()["approved"] == true => {}
            Ok(approval) => return Ok(json!({"refunded": false, "by": approval.value()["by"]})),
            Err(failure) if failure.code == codes::TIMEOUT => return Ok(json!({"refunded": false, "by": null})),
            Err(failure) => return Err(failure),
        }
    }
    let receipt = ctx.call("ledger@^1", &request).name("book").await?;
    Ok(json!({"refunded": true, "receipt": receipt.value()["receipt"]}))
}

/// A hundred items at once, each taking its own time, some needing a second attempt.
pub async fn fan_out(ctx: Ctx, count: u64) -> Result<u64, Failure> {
    let work = |ctx: Ctx, item: u64| async move {
        let slow = ctx.call("slow@^1", &json!({"ms": (item * 7_919) % 97, "value": item * item})).await?;
        let flaky = json!({"fail_attempts": u64::from(item % 10 == 3), "value": slow.value()});
        ctx.call("flaky@^1", &flaky).await?.to::<u64>()
    };
    ctx.map(0..count, work).await.into_iter().sum()
}

/// Asks for the state of an export until it is done.
pub async fn poll(ctx: Ctx, url: String) -> Result<Value, Failure> {
    for turn in 0..10 {
        let state = ctx.call("http_call@^1", &json!({"url": url})).name(&format!("poll[{turn}]")).await?;
        if state.value()["body"]["state"] == "done" {
            return Ok(state.value()["body"]["url"].clone());
        }
        ctx.sleep(Duration::from_secs(30)).await?;
    }
    Err(Failure::new(codes::LIMIT_EXCEEDED, "the export is not done after ten polls"))
}

/// A supplier that takes too long, and another one that is down: both are tried again, then given up.
pub async fn quotes(ctx: Ctx, (): ()) -> Result<Value, Failure> {
    let twice = RetryPolicy { max_attempts: 2, jitter_percent: 20, ..RetryPolicy::default() };
    let down = RetryPolicy { max_attempts: 3, on: vec!["ERR_SUPPLIER_DOWN".into()], ..RetryPolicy::default() };
    let (slow, broken) = ctx
        .join(
            |ctx| async move {
                let call = ctx.call("slow@^1", &json!({"ms": 60_000, "value": 1_290})).name("acme");
                call.timeout(Duration::from_secs(5)).retry(twice).await
            },
            |ctx| async move {
                let input = json!({"fail_attempts": 99, "code": "ERR_SUPPLIER_DOWN", "final": true, "cost_cents": 1});
                ctx.call("flaky@^1", &input).name("globex").retry(down).await
            },
        )
        .await;
    let code = |result: Result<_, Failure>| result.err().map(|failure| failure.code);
    Ok(json!({"acme": code(slow), "globex": code(broken)}))
}

/// A nightly job that waits for its hour.
pub async fn nightly(ctx: Ctx, (): ()) -> Result<(), Failure> {
    ctx.call("store@^1", &json!({"key": "nightly", "value": "begun"})).await?;
    let work = |ctx: Ctx, hours: u64| async move { ctx.sleep(Duration::from_secs(hours * 3_600)).await };
    ctx.map(1..=6, work).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    ctx.call("store@^1", &json!({"key": "nightly", "value": "ended"})).await.map(drop)
}

/// A lottery: what is drawn comes from the run's seed, when it was drawn from the run's clock, and the prize is sent by a
/// run of its own.
pub async fn lottery(ctx: Ctx, tickets: Vec<String>) -> Result<Value, Failure> {
    let drawn_at = ctx.now().await?;
    let number = ctx.random().await?;
    let winner = usize::try_from(number).ok().and_then(|number| tickets.get(number % tickets.len().max(1)));
    if ctx.patched("announce-first") {
        ctx.call("store@^1", &json!({"key": "winner", "value": winner})).name("announce").await?;
    }
    let prize = json!({"refund_cents": 5_000, "winner": winner, "drawn_at": drawn_at.as_millis()});
    let sent = ctx.child("refund@^1", &prize).name("prize").await?;
    Ok(json!({"winner": winner, "sent": sent.value()["refunded"]}))
}

/// Fetches a page, keeps what a pattern finds in it: a payload far too large for a journal line.
pub async fn page_watch(ctx: Ctx, url: String) -> Result<Value, Failure> {
    let page = ctx.call("http_call@^1", &json!({"url": url})).name("fetch").await?;
    let body = page.value()["body"].as_str().unwrap_or_default();
    let price = body.split("itemprop=\"price\" content=\"").nth(1).and_then(|rest| rest.split('"').next());
    let reviews = body.matches("itemprop=\"review\"").count();
    let found = json!({"price": price, "reviews": reviews});
    let kept = ctx.call("store@^1", &json!({"key": url, "value": found})).name("keep").await?;
    Ok(json!({"found": found, "sha256": kept.value()["sha256"]}))
}
