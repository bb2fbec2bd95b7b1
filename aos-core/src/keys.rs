//! API keys: what their texts look like, and the contract of a store that keeps them. A store never has the text of a key,
//! only its hash: whoever reads the store can't call anybody with what stands there.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::canonical::Hash;
use crate::id::{ApiKeyId, TenantId};
use crate::runs::StoreError;
use crate::time::Timestamp;

/// What every key's text begins with, so that a scanner of leaked secrets knows one when it sees it.
const PREFIX: &str = "aos_";

/// Hex digits of a key's name, its secret, and the checksum behind both.
const ID: usize = 16;
const SECRET: usize = 64;
const CHECK: usize = 8;

/// What a key is good for. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at everything, change nothing.
    Read,
    /// Begin runs, too, and act on them.
    Run,
    /// Everything: workflows, registry, switches, budgets, keys.
    Admin,
}

impl Scope {
    /// Every scope, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Run, Self::Admin];

    /// The scope as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Admin => "admin",
        }
    }

    /// The scope of a wire text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Whether a key of this scope may do what needs `needed`.
    pub fn allows(self, needed: Self) -> bool {
        self >= needed
    }
}

/// The text of a key, which is shown once, when the key is made. Its `Debug` shows the key's name only.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    text: String,
    id: ApiKeyId,
}

impl KeyText {
    /// A new key from 40 random bytes: 8 for its name and 32 for its secret.
    pub fn from_random(bytes: [u8; 40]) -> Self {
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let body = format!("{PREFIX}{}_{}", &hex[..ID], &hex[ID..]);
        let text = format!("{body}{}", checksum(&body));
        // Hex digits are a name.
        let id = ApiKeyId::new(&hex[..ID]).unwrap_or_else(|_| unreachable!("{ID} hex digits are the name of a key"));
        Self { text, id }
    }

    /// The key that a caller sent; `None` if it is none, which the checksum says without a look into any store.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let (id, secret) = rest.split_once('_')?;
        let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if id.len() != ID || secret.len() != SECRET + CHECK || !is_hex(id) || !is_hex(secret) {
            return None;
        }
        let (body, check) = text.split_at(text.len() - CHECK);
        let id = ApiKeyId::new(id).ok()?;
        (checksum(body) == check).then(|| Self { text: text.to_owned(), id })
    }

    /// The key's name, which is no secret.
    pub const fn id(&self) -> &ApiKeyId {
        &self.id
    }

    /// SHA-256 of the text. With 256 random bits in it, nobody guesses what has a hash, so it needs no salt, and telling
    /// how long a comparison of hashes took gives nothing away.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.text)
    }

    /// The text itself, for the one who made the key.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText({}, …)", self.id)
    }
}

fn checksum(body: &str) -> String {
    Hash::of(body).to_hex().as_str()[..CHECK].to_owned()
}

/// A key that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Whose data it opens.
    pub tenant: TenantId,
    /// Its name.
    pub id: ApiKeyId,
    /// [`KeyText::hash`].
    pub hash: Hash,
    /// What people call it.
    pub label: String,
    /// What it is good for.
    pub scope: Scope,
    /// From when on it is good for nothing.
    pub expires_at: Option<Timestamp>,
    /// Who made it.
    pub by: String,
}

/// A key that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// What it was made with.
    pub new: NewKey,
    /// When, by the store's clock.
    pub created_at: Timestamp,
    /// When it was revoked, and by whom.
    pub revoked: Option<(Timestamp, String)>,
    /// When it was last used; late by up to a minute or so.
    pub used_at: Option<Timestamp>,
}

/// Whether a key is good for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody has revoked it.
    Revoked,
}

impl KeyState {
    /// The state as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl ApiKey {
    /// Whether it is good for anything at `now`.
    pub fn state(&self, now: Timestamp) -> KeyState {
        match (&self.revoked, self.new.expires_at) {
            (Some(_), _) => KeyState::Revoked,
            (None, Some(end)) if end <= now => KeyState::Expired,
            _ => KeyState::Active,
        }
    }
}

/// Keeps API keys.
///
/// # Contract
/// - `create` is durable, and seen by every later call, when it resolves with `Ok`; it gives `None` and changes nothing
///   when the tenant has a key of that name.
/// - `create_first` does the same unless the tenant has any key, of whatever state: of several that race, one makes one.
/// - `revoke` gives the key as it is then; a key that was revoked before keeps the time and the name of the first who did
///   it. `None`: the tenant has no such key.
/// - `used` notes uses; a time before the one that is noted changes nothing, and names that are no key are passed over.
/// - `list` gives a tenant's keys in the order in which they were made.
/// - Texts come back as they were given, but U+0000 in one may come back as U+FFFD.
pub trait KeyStore: Send + Sync {
    /// Keeps a new key.
    fn create(&self, key: NewKey) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>>;

    /// Keeps a new key if it is the tenant's first.
    fn create_first(&self, key: NewKey) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>>;

    /// The key of a name.
    fn get<'a>(&'a self, tenant: &'a TenantId, key: &'a ApiKeyId) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>>;

    /// All keys of a tenant, the useless ones included.
    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<ApiKey>, StoreError>>;

    /// Makes a key good for nothing, for ever.
    fn revoke<'a>(
        &'a self,
        tenant: &'a TenantId,
        key: &'a ApiKeyId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>>;

    /// Notes when keys were used.
    fn used<'a>(
        &'a self,
        tenant: &'a TenantId,
        uses: &'a [(ApiKeyId, Timestamp)],
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_it_was_made_as() {
        let key = KeyText::from_random(std::array::from_fn(|n| n as u8));
        assert_eq!(KeyText::parse(key.expose()), Some(key.clone()));
        assert_eq!(key.id().as_str(), "0001020304050607");
        assert_eq!(key.hash(), Hash::of(key.expose()));
        assert!(key.expose().starts_with("aos_0001020304050607_08090a0b"));
        assert_eq!(key.expose().len(), PREFIX.len() + ID + 1 + SECRET + CHECK);
        assert_eq!(format!("{key:?}"), "KeyText(0001020304050607, …)");
    }

    #[test]
    fn no_other_text_is_a_key() {
        let key = KeyText::from_random([0xab; 40]).expose().to_owned();
        for at in 0..key.len() {
            let mut bytes = key.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(KeyText::parse(&changed), None, "{changed}");
            assert_eq!(KeyText::parse(&key[..at]), None, "{at}");
            assert_eq!(KeyText::parse(&format!("{}é{}", &key[..at], &key[at..])), None, "{at}");
        }
        for text in ["", "aos_", "aos__", &key.to_uppercase(), &format!("{key}0"), &format!(" {key}")] {
            assert_eq!(KeyText::parse(text), None, "{text}");
        }
    }

    #[test]
    fn scopes_include_those_before() {
        for (n, scope) in Scope::ALL.into_iter().enumerate() {
            assert_eq!(Scope::from_text(scope.as_str()), Some(scope));
            for (m, needed) in Scope::ALL.into_iter().enumerate() {
                assert_eq!(scope.allows(needed), n >= m, "{scope:?} {needed:?}");
            }
        }
        assert_eq!(Scope::from_text("root"), None);
    }
}
