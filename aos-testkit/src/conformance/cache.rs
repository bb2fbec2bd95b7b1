//! The contract of [`Cache`](aos_core::cache::Cache).
//!
//! A cache may forget; these clauses take one that is empty and asked for little to remember.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{LONG, other_tenant, tenant};
use super::{Backend, Outcome};

fn value(bytes: &[u8]) -> Arc<[u8]> {
    bytes.into()
}

/// `get` gives a value that was put, or `None`.
pub async fn gives_back_what_was_put(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let cache = roles.need_cache()?;
    assert_eq!(cache.get(&tenant(), "key").await, None);
    cache.put(&tenant(), "key", value(b"value"), LONG).await;
    assert_eq!(cache.get(&tenant(), "key").await, Some(value(b"value")));
    assert_eq!(cache.get(&tenant(), "other").await, None);
    Ok(())
}

/// A second value replaces the first, with its own time to live.
pub async fn the_last_put_wins(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let cache = roles.need_cache()?;
    cache.put(&tenant(), "key", value(b"one"), Duration::from_secs(1)).await;
    cache.put(&tenant(), "key", value(b"two"), LONG).await;
    roles.pass(Duration::from_secs(5)).await?;
    assert_eq!(cache.get(&tenant(), "key").await, Some(value(b"two")));
    Ok(())
}

/// A value is not given once its time to live has passed.
pub async fn forgets_after_the_time_to_live(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let cache = roles.need_cache()?;
    cache.put(&tenant(), "key", value(b"value"), Duration::from_secs(10)).await;
    roles.pass(Duration::from_secs(9)).await?;
    assert_eq!(cache.get(&tenant(), "key").await, Some(value(b"value")));
    roles.pass(Duration::from_secs(2)).await?;
    assert_eq!(cache.get(&tenant(), "key").await, None);
    Ok(())
}

/// Nothing of one tenant is visible to another.
pub async fn tenants_are_apart(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let cache = roles.need_cache()?;
    cache.put(&tenant(), "key", value(b"mine"), LONG).await;
    assert_eq!(cache.get(&other_tenant(), "key").await, None);
    cache.put(&other_tenant(), "key", value(b"theirs"), LONG).await;
    assert_eq!(cache.get(&tenant(), "key").await, Some(value(b"mine")));
    Ok(())
}

/// Keys and values are any text and any bytes, and a key never runs into its tenant.
pub async fn takes_any_key_and_value(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let cache = roles.need_cache()?;
    let keys = ["", "a:b", "a b\r\n", "\u{0}", "👩‍👩‍👧", "other:key"];
    for (index, key) in keys.into_iter().enumerate() {
        cache.put(&tenant(), key, value(&[0, index as u8, 0xff]), LONG).await;
    }
    for (index, key) in keys.into_iter().enumerate() {
        assert_eq!(cache.get(&tenant(), key).await, Some(value(&[0, index as u8, 0xff])), "{key:?}");
    }
    assert_eq!(cache.get(&other_tenant(), "key").await, None);
    Ok(())
}
