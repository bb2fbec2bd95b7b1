//! The contract of [`Limiter`], for one with [`LIMITS`].

use std::time::Duration;

use aos_core::limiter::{LimitRequest, Limiter, Verdict};

use super::fixture::{other_tenant, race, tenant};
use super::{Backend, LIMITS, Outcome};

const MINUTE: Duration = Duration::from_secs(60);

fn request(tokens: u64) -> LimitRequest {
    LimitRequest { tenant: tenant(), name: "model".into(), tokens }
}

async fn granted(limiter: &dyn Limiter, tokens: u64) -> u64 {
    match limiter.acquire(&request(tokens)).await {
        Verdict::Granted(ticket) => ticket,
        Verdict::Wait(wait) => panic!("{tokens} tokens are to wait {wait:?}"),
    }
}

async fn refused(limiter: &dyn Limiter, tokens: u64) -> Duration {
    match limiter.acquire(&request(tokens)).await {
        Verdict::Granted(_) => panic!("{tokens} tokens were granted beyond the limit"),
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
    limiter.settle(&request(900), ticket, 100).await;
    granted(&*limiter, 500).await;
    Ok(())
}

/// A call that used more than it reserved counts with what it used; an unknown ticket changes nothing.
pub async fn settling_counts_what_was_used_beyond(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    let ticket = granted(&*limiter, 100).await;
    limiter.settle(&request(100), ticket.wrapping_add(1_000), 0).await;
    limiter.settle(&request(100), ticket, 950).await;
    refused(&*limiter, 100).await;
    granted(&*limiter, 50).await;
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

/// Limits of different names and tenants do not share a window.
pub async fn limits_are_apart(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let limiter = roles.need_limiter()?;
    granted(&*limiter, LIMITS.tokens).await;
    for other in [
        LimitRequest { name: "other".into(), ..request(LIMITS.tokens) },
        LimitRequest { tenant: other_tenant(), ..request(LIMITS.tokens) },
    ] {
        assert!(matches!(limiter.acquire(&other).await, Verdict::Granted(_)), "{other:?}");
    }
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
