//! The contract of [`Limiter`].

use std::time::Duration;

use aos_core::limiter::{Amount, LimitRequest, Limiter, RateLimits, Verdict};

use super::fixture::{other_tenant, race, tenant};
use super::{Backend, Outcome};

const MINUTE: Duration = Duration::from_secs(60);

const LIMITS: RateLimits = RateLimits::new(5, 1_000);

/// Most clauses are about tokens of both kinds together, most of them read.
fn request(tokens: u64) -> LimitRequest {
    let output_tokens = tokens / 4;
    let (name, input_tokens) = ("model".into(), tokens - output_tokens);
    LimitRequest { tenant: tenant(), name, limits: LIMITS, input_tokens, output_tokens }
}

fn used(tokens: u64) -> Amount {
    request(tokens).amount()
}

async fn granted(limiter: &dyn Limiter, tokens: u64) -> u64 {
    grant(limiter, &request(tokens)).await
}

async fn grant(limiter: &dyn Limiter, request: &LimitRequest) -> u64 {
    match limiter.acquire(request).await {
        Verdict::Granted(ticket) => ticket,
        Verdict::Wait(wait) => panic!("{request:?} is to wait {wait:?}"),
    }
}

async fn refused(limiter: &dyn Limiter, tokens: u64) -> Duration {
    refuse(limiter, &request(tokens)).await
}

async fn refuse(limiter: &dyn Limiter, request: &LimitRequest) -> Duration {
    match limiter.acquire(request).await {
        Verdict::Granted(_) => panic!("{request:?} was granted beyond the limit"),
        Verdict::Wait(wait) => wait,
    }
}

/// No window of a minute, wherever it begins, has more requests than the limit.
pub async fn no_minute_has_more_requests(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    roles.pass(MINUTE).await?;
    for _ in 0..LIMITS.requests {
        granted(&*limiter, 1).await;
        roles.pass(Duration::from_secs(5)).await?;
    }
    // The first grant was 25 s ago.
    let wait = refused(&*limiter, 1).await;
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(35), "{wait:?}");
    roles.pass(Duration::from_secs(34)).await?;
    refused(&*limiter, 1).await;
    roles.pass(Duration::from_secs(2)).await?;
    granted(&*limiter, 1).await;
    refused(&*limiter, 1).await;
    Ok(())
}

/// No window of a minute has more tokens than the limit.
pub async fn no_minute_has_more_tokens(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    granted(&*limiter, 600).await;
    roles.pass(Duration::from_secs(10)).await?;
    granted(&*limiter, 400).await;
    refused(&*limiter, 1).await;
    roles.pass(Duration::from_secs(51)).await?;
    granted(&*limiter, 600).await;
    refused(&*limiter, 1).await;
    Ok(())
}

/// Tokens read and tokens written have limits of their own, beside that of both together.
pub async fn no_minute_has_more_of_one_kind(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    let limits = RateLimits { input_tokens: Some(600), output_tokens: Some(300), ..LIMITS };
    let of = |input_tokens, output_tokens| LimitRequest { limits, input_tokens, output_tokens, ..request(0) };
    let first = grant(&*limiter, &of(200, 250)).await;
    for refused in [of(1, 51), of(401, 1)] {
        assert!(refuse(&*limiter, &refused).await <= MINUTE);
    }
    roles.pass(Duration::from_secs(10)).await?;
    grant(&*limiter, &of(400, 50)).await;
    refuse(&*limiter, &of(1, 0)).await;
    refuse(&*limiter, &of(0, 1)).await;
    // It wrote less than it might have.
    limiter.settle(&of(200, 250), first, Amount::call(200, 100)).await;
    grant(&*limiter, &of(0, 150)).await;
    refuse(&*limiter, &of(0, 1)).await;
    roles.pass(Duration::from_secs(51)).await?;
    // Only the other two count.
    refuse(&*limiter, &of(201, 0)).await;
    grant(&*limiter, &of(200, 100)).await;
    Ok(())
}

/// Who waits as told gets through, when nobody else asks.
pub async fn waiting_as_told_is_enough(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    for tokens in [500, 300, 200] {
        granted(&*limiter, tokens).await;
        roles.pass(Duration::from_secs(7)).await?;
    }
    let wait = refused(&*limiter, 700).await;
    roles.pass(wait).await?;
    granted(&*limiter, 700).await;
    Ok(())
}

/// A call that used less than it reserved gives the rest back.
pub async fn settling_frees_what_was_not_used(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    let ticket = granted(&*limiter, 900).await;
    refused(&*limiter, 500).await;
    limiter.settle(&request(900), ticket, used(100)).await;
    granted(&*limiter, 500).await;
    Ok(())
}

/// A call that used more than it reserved counts with what it used; an unknown ticket changes nothing.
pub async fn settling_counts_what_was_used_beyond(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    let ticket = granted(&*limiter, 100).await;
    limiter.settle(&request(100), ticket.wrapping_add(1_000), Amount::NONE).await;
    limiter.settle(&request(100), ticket, used(950)).await;
    refused(&*limiter, 100).await;
    granted(&*limiter, 50).await;
    Ok(())
}

/// A ticket that was settled is worth nothing any more.
pub async fn a_ticket_is_settled_once(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    let ticket = granted(&*limiter, 900).await;
    limiter.settle(&request(900), ticket, used(800)).await;
    limiter.settle(&request(900), ticket, Amount::NONE).await;
    refused(&*limiter, 201).await;
    granted(&*limiter, 200).await;
    Ok(())
}

/// A call that was never sent gives back its request too.
pub async fn what_was_never_sent_does_not_count(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    for _ in 0..LIMITS.requests * 3 {
        let ticket = granted(&*limiter, 900).await;
        limiter.settle(&request(900), ticket, Amount::NONE).await;
    }
    for _ in 0..LIMITS.requests {
        granted(&*limiter, 200).await;
    }
    refused(&*limiter, 0).await;
    Ok(())
}

/// A request that no window could hold is granted alone in an empty one, and then nothing else is.
pub async fn too_large_a_request_passes_alone(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    granted(&*limiter, 1).await;
    let wait = refused(&*limiter, LIMITS.tokens * 10).await;
    roles.pass(wait).await?;
    granted(&*limiter, LIMITS.tokens * 10).await;
    refused(&*limiter, 1).await;
    roles.pass(MINUTE).await?;
    granted(&*limiter, 1).await;
    Ok(())
}

/// Limits of different names and tenants do not share a window, and each name has limits of its own.
pub async fn limits_are_apart(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    granted(&*limiter, LIMITS.tokens).await;
    for other in [
        LimitRequest { name: "other".into(), ..request(LIMITS.tokens) },
        LimitRequest { tenant: other_tenant(), ..request(LIMITS.tokens) },
    ] {
        grant(&*limiter, &other).await;
    }
    let small = LimitRequest { name: "small".into(), limits: RateLimits::new(1, 10), ..request(10) };
    grant(&*limiter, &small).await;
    refuse(&*limiter, &small).await;
    Ok(())
}

/// However many ask at once, no more than the limit are granted, each with a ticket of its own.
pub async fn racing_callers_get_no_more(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    let verdicts = race(backend, 16, |_| {
        let limiter = limiter.clone();
        Box::pin(async move { limiter.acquire(&request(1)).await })
    });
    let granted = |verdict| if let Verdict::Granted(ticket) = verdict { Some(ticket) } else { None };
    let tickets: std::collections::BTreeSet<u64> = verdicts.into_iter().filter_map(granted).collect();
    assert_eq!(tickets.len() as u64, LIMITS.requests);
    Ok(())
}
