//! Who may do what: API keys, checked for every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::id::{ApiKeyId, TenantId};
use aos_core::keys::{ApiKey, KeyState, KeyStore, KeyText, NewKey, Scope};
use aos_core::runs::StoreError;
use aos_core::time::{Clock, Timestamp};
use aos_core::{Failure, codes};
use axum::http::{HeaderMap, header};
use tokio_util::sync::CancellationToken;

use crate::config::Access;

/// How long what is known of a key is believed: a revoked key is good for nothing after that, in every process.
const BELIEVED: Duration = Duration::from_secs(1);

/// Keys that are known at one time; beyond that everything is forgotten and asked for anew.
const MAX_KNOWN: usize = 10_000;

/// How often uses of keys are noted.
const NOTE_EVERY: Duration = Duration::from_secs(30);

/// The header beside `authorization` that a key may come in.
const X_API_KEY: &str = "x-api-key";

/// Checks keys. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Parts>);

struct Parts {
    keys: Arc<dyn KeyStore>,
    tenant: TenantId,
    clock: Arc<dyn Clock>,
    access: Access,
    known: Mutex<HashMap<ApiKeyId, Known>>,
    /// When it was last looked whether there is any key, and whether there was one.
    any: Mutex<Option<(Timestamp, bool)>>,
    uses: Mutex<HashMap<ApiKeyId, Timestamp>>,
}

struct Known {
    key: Option<ApiKey>,
    at: Timestamp,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Anybody, where no key is asked for: they may do everything.
    Anybody,
    /// Whoever has this key.
    Key {
        /// Its name.
        id: ApiKeyId,
        /// What it is good for.
        scope: Scope,
    },
}

impl Caller {
    /// What the caller may do.
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Anybody => Scope::Admin,
            Self::Key { scope, .. } => *scope,
        }
    }

    /// The name of the key.
    pub fn key(&self) -> Option<ApiKeyId> {
        match self {
            Self::Anybody => None,
            Self::Key { id, .. } => Some(id.clone()),
        }
    }

    /// The caller as log lines have it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Anybody => "-",
            Self::Key { id, .. } => id.as_str(),
        }
    }
}

impl Gate {
    /// A gate before the data of `tenant`.
    pub fn new(keys: Arc<dyn KeyStore>, tenant: TenantId, clock: Arc<dyn Clock>, access: Access) -> Self {
        let (known, any, uses) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Parts { keys, tenant, clock, access, known, any, uses }))
    }

    /// Who sends a request with these headers, if they may do what needs `scope`.
    ///
    /// # Errors
    /// [`codes::UNAUTHENTICATED`] without a key that is good for anything where one is asked for, or with one that is
    /// not; [`codes::FORBIDDEN`] with one that is not good for this; a store that fails.
    pub async fn admit(&self, headers: &HeaderMap, scope: Scope) -> Result<Caller, Failure> {
        let caller = match sent(headers)? {
            Some(text) => self.holder_of(text).await?,
            None if self.asks_for_keys().await? => return Err(unauthenticated("no API key was sent")),
            None => Caller::Anybody,
        };
        if !caller.scope().allows(scope) {
            let (has, needs) = (caller.scope().as_str(), scope.as_str());
            let message = format!("the API key {} has the scope {has}, and this needs {needs}", caller.as_str());
            return Err(Failure::new(codes::FORBIDDEN, message));
        }
        Ok(caller)
    }

    /// Makes the first key, for everything, if there is none and one is asked for.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn make_first(&self) -> Result<Option<KeyText>, Failure> {
        let Parts { keys, tenant, access, .. } = &*self.0;
        if *access != Access::Keys {
            return Ok(None);
        }
        let text = new_text()?;
        let made = keys.create_first(NewKey {
            tenant: tenant.clone(),
            id: text.id().clone(),
            hash: text.hash(),
            label: "the first key".into(),
            scope: Scope::Admin,
            expires_at: None,
            by: "the server, at its start".into(),
        });
        Ok(made.await?.map(|_| text))
    }

    /// Forgets what is known of a key that has just been changed here.
    pub fn forget(&self, key: &ApiKeyId) {
        lock(&self.0.known).remove(key);
        *lock(&self.0.any) = None;
    }

    /// Notes uses of keys until `done`.
    pub async fn keep_noting(self, done: CancellationToken) {
        loop {
            let is_done = done.run_until_cancelled(tokio::time::sleep(NOTE_EVERY)).await.is_none();
            let uses: Vec<_> = lock(&self.0.uses).drain().collect();
            if !uses.is_empty()
                && let Err(error) = self.0.keys.used(&self.0.tenant, &uses).await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "when API keys were used could not be noted");
            }
            if is_done {
                return;
            }
        }
    }

    async fn holder_of(&self, text: &str) -> Result<Caller, Failure> {
        let Some(text) = KeyText::parse(text) else {
            return Err(unauthenticated("what was sent as an API key is none: they begin with aos_"));
        };
        let key = self.look_up(text.id()).await?.filter(|key| key.new.hash == text.hash());
        let Some(key) = key else { return Err(unauthenticated("there is no such API key")) };
        let (id, now) = (text.id(), self.0.clock.now());
        match key.state(now) {
            KeyState::Active => {
                lock(&self.0.uses).insert(id.clone(), now);
                Ok(Caller::Key { id: id.clone(), scope: key.new.scope })
            }
            KeyState::Expired => Err(unauthenticated(&format!("the API key {id} has expired"))),
            KeyState::Revoked => Err(unauthenticated(&format!("the API key {id} was revoked"))),
        }
    }

    /// Whether what was known at a time is still believed. What is later than now is from a clock that went back.
    fn is_fresh(&self, at: Timestamp) -> bool {
        let now = self.0.clock.now();
        at <= now && now < at.saturating_add(BELIEVED)
    }

    async fn look_up(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        // The guard is gone before the store is asked.
        if let Some(known) = lock(&self.0.known).get(id).filter(|known| self.is_fresh(known.at)) {
            return Ok(known.key.clone());
        }
        let at = self.0.clock.now();
        let key = self.0.keys.get(&self.0.tenant, id).await?;
        let mut known = lock(&self.0.known);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(id.clone(), Known { key: key.clone(), at });
        Ok(key)
    }

    async fn asks_for_keys(&self) -> Result<bool, StoreError> {
        match self.0.access {
            Access::Open => return Ok(false),
            Access::Keys => return Ok(true),
            Access::KeysIfAny => {}
        }
        if let Some((_, any)) = lock(&self.0.any).filter(|(at, _)| self.is_fresh(*at)) {
            return Ok(any);
        }
        let at = self.0.clock.now();
        let any = !self.0.keys.list(&self.0.tenant).await?.is_empty();
        *lock(&self.0.any) = Some((at, any));
        Ok(any)
    }
}

/// The text of a key that nobody has.
///
/// # Errors
/// A system that has no randomness to give.
pub fn new_text() -> Result<KeyText, Failure> {
    let mut bytes = [0; 40];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new(codes::INTERNAL, format!("the system gives no randomness for a key: {e}")))?;
    Ok(KeyText::from_random(bytes))
}

/// The key that a request has with it.
fn sent(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|text| {
            let (scheme, key) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        return bearer.map(Some).ok_or_else(|| unauthenticated("the authorization header has no bearer token"));
    }
    let Some(value) = headers.get(X_API_KEY) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| unauthenticated("what was sent as an API key is none: they begin with aos_"))
}

fn unauthenticated(why: &str) -> Failure {
    Failure::new(codes::UNAUTHENTICATED, why)
}

/// Every change under the lock is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use aos_core::memory::{MemoryKeys, VirtualClock};
    use axum::http::HeaderValue;

    use super::*;

    /// Two processes on one store.
    fn gates(access: Access) -> (VirtualClock, Arc<dyn KeyStore>, [Gate; 2]) {
        let time = VirtualClock::default();
        let clock: Arc<dyn Clock> = Arc::new(time.clone());
        let keys: Arc<dyn KeyStore> = Arc::new(MemoryKeys::new(Arc::clone(&clock)));
        let gates =
            std::array::from_fn(|_| Gate::new(Arc::clone(&keys), TenantId::default(), Arc::clone(&clock), access));
        (time, keys, gates)
    }

    fn headers(text: &KeyText) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("bearer  {}", text.expose()).parse().unwrap())])
    }

    #[tokio::test]
    async fn a_revoked_key_is_refused_everywhere_within_two_seconds() {
        let (time, keys, [here, there]) = gates(Access::Keys);
        let text = here.make_first().await.unwrap().unwrap();
        assert_eq!(there.make_first().await.unwrap(), None, "one shows the first key");
        let headers = headers(&text);
        for gate in [&here, &there] {
            assert_eq!(gate.admit(&headers, Scope::Admin).await.unwrap().scope(), Scope::Admin);
        }
        keys.revoke(&TenantId::default(), text.id(), "ops").await.unwrap();
        here.forget(text.id());
        assert_eq!(here.admit(&headers, Scope::Read).await.unwrap_err().code, codes::UNAUTHENTICATED, "at once here");
        time.advance(Duration::from_secs(2));
        assert_eq!(there.admit(&headers, Scope::Read).await.unwrap_err().code, codes::UNAUTHENTICATED);
    }

    #[tokio::test]
    async fn the_first_key_closes_every_process_within_two_seconds() {
        let (time, keys, [here, there]) = gates(Access::KeysIfAny);
        let nobody = HeaderMap::new();
        assert_eq!(there.admit(&nobody, Scope::Admin).await.unwrap(), Caller::Anybody);
        let text = new_text().unwrap();
        let new = NewKey {
            tenant: TenantId::default(),
            id: text.id().clone(),
            hash: text.hash(),
            label: "first".into(),
            scope: Scope::Read,
            expires_at: None,
            by: "ops".into(),
        };
        keys.create(new).await.unwrap();
        time.advance(Duration::from_secs(2));
        for gate in [&here, &there] {
            assert_eq!(gate.admit(&nobody, Scope::Read).await.unwrap_err().code, codes::UNAUTHENTICATED);
        }
        assert_eq!(here.admit(&headers(&text), Scope::Run).await.unwrap_err().code, codes::FORBIDDEN);
    }

    #[tokio::test]
    async fn uses_are_noted_at_the_end_at_the_latest() {
        let (_, keys, [gate, _]) = gates(Access::Keys);
        let text = gate.make_first().await.unwrap().unwrap();
        gate.admit(&headers(&text), Scope::Read).await.unwrap();
        let done = CancellationToken::new();
        done.cancel();
        gate.keep_noting(done).await;
        let key = keys.get(&TenantId::default(), text.id()).await.unwrap().unwrap();
        assert_eq!(key.used_at, Some(key.created_at));
    }

    #[test]
    fn headers_that_hold_no_key_are_told_from_none() {
        for (name, value, expected) in [
            ("authorization", "Bearer x", Ok(Some("x"))),
            ("authorization", "bearer   x ", Ok(Some("x"))),
            ("x-api-key", "x", Ok(Some("x"))),
            ("accept", "x", Ok(None)),
            ("authorization", "x", Err(())),
            ("authorization", "Basic x", Err(())),
            ("authorization", "Bearer", Err(())),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            assert_eq!(sent(&headers).map_err(drop), expected, "{name}: {value}");
        }
        assert_eq!(sent(&HeaderMap::new()), Ok(None));
    }
}
