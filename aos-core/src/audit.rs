//! Who changed what: an append-only log whose records are chained by their hashes, and the contract of a store that
//! keeps it.
//!
//! A record's hash is SHA-256 of the canonical JSON of everything else in it, the hash of the record before included. So
//! nobody can change, remove or insert a record without changing every later hash; a signed [`Checkpoint`] outside the
//! store says what one of them was. Whoever has the records as JSON can check them, with nothing of this crate.
//!
//! ```
//! use aos_core::audit::{AuditRecord, Chain, NewAuditRecord, Stage};
//! use aos_core::time::Timestamp;
//!
//! let new = |subject: &str| NewAuditRecord {
//!     stage: Stage::Done,
//!     actor: "key 1f0a9c33d2b84e57".into(),
//!     action: "turnSwitch".into(),
//!     subject: subject.into(),
//!     ..NewAuditRecord::default()
//! };
//! let first = AuditRecord::after(None, new("/v1/switches/pause_claims"), Timestamp::from_millis(1_000));
//! let second = AuditRecord::after(Some(&first), new("/v1/switches/debug_logging"), Timestamp::from_millis(2_000));
//!
//! let mut chain = Chain::default();
//! chain.check(&first.to_json())?;
//! let mut forged = second.to_json();
//! forged["actor"] = "somebody else".into();
//! assert!(chain.check(&forged).is_err());
//! chain.check(&second.to_json())?;
//! # Ok::<(), aos_core::audit::Broken>(())
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::BoxFuture;
use crate::canonical::{self, Hash};
use crate::id::TenantId;
use crate::runs::StoreError;
use crate::time::Timestamp;

/// How far an act had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is about to be done.
    #[default]
    Asked,
    /// It was done.
    Done,
    /// It was refused, or failed.
    Failed,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 3] = [Self::Asked, Self::Done, Self::Failed];

    /// The stage as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The stage of a wire text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }
}

/// A record that is to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAuditRecord {
    /// Whose log.
    pub tenant: TenantId,
    /// How far the act had come.
    pub stage: Stage,
    /// Who does it.
    pub actor: String,
    /// What: the operation's name.
    pub action: String,
    /// To what.
    pub subject: String,
    /// With what, or with what outcome. No secrets.
    pub detail: String,
    /// The request it came with.
    pub request_id: Option<String>,
}

/// A record that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// What it was made with, but for U+0000 in texts, which is U+FFFD.
    pub new: NewAuditRecord,
    /// Its number: 1, 2, 3… without gaps.
    pub seq: u64,
    /// When, by the store's clock; not before the record before it.
    pub at: Timestamp,
    /// The hash of the record before it.
    pub before: Option<Hash>,
    /// The hash of everything above.
    pub hash: Hash,
}

impl AuditRecord {
    /// The record that follows `last`.
    pub fn after(last: Option<&Self>, new: NewAuditRecord, now: Timestamp) -> Self {
        let readable = |text: String| if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text };
        let new = NewAuditRecord {
            actor: readable(new.actor),
            action: readable(new.action),
            subject: readable(new.subject),
            detail: readable(new.detail),
            request_id: new.request_id.map(readable),
            ..new
        };
        let mut record = Self {
            new,
            seq: last.map_or(0, |last| last.seq) + 1,
            at: last.map_or(now, |last| last.at.max(now)),
            before: last.map(|last| last.hash),
            hash: Hash::of(""),
        };
        record.hash = hash(record.to_json());
        record
    }

    /// The record as everybody reads it, and as it is hashed.
    pub fn to_json(&self) -> Value {
        let NewAuditRecord { tenant, stage, actor, action, subject, detail, request_id } = &self.new;
        json!({
            "tenant": tenant.as_str(),
            "seq": self.seq,
            "at": self.at.to_string(),
            "stage": stage.as_str(),
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": detail,
            "request_id": request_id,
            "before": self.before.map(|hash| hash.to_hex().as_str().to_owned()),
            "hash": self.hash.to_hex().as_str(),
        })
    }
}

/// The hash of a record from all of it but its hash.
fn hash(mut record: Value) -> Hash {
    if let Some(members) = record.as_object_mut() {
        members.remove("hash");
    }
    // What has no canonical form was never hashed, so that any other hash is as wrong.
    Hash::of(canonical::to_string(record).unwrap_or_default())
}

/// How far a chain of records was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    last: Option<(u64, String)>,
}

/// What is wrong with a chain of records.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Broken {
    /// A record was changed.
    #[error("record {seq} was changed: its hash is not that of what stands in it")]
    Changed {
        /// Which.
        seq: u64,
    },
    /// Records are missing.
    #[error("record {expected} is missing: {found} comes in its place")]
    Gap {
        /// Which should have come.
        expected: u64,
        /// Which came.
        found: u64,
    },
    /// A record follows another one than stands before it.
    #[error("record {seq} does not follow the one before it: that was changed, or this is of another log")]
    Unlinked {
        /// Which.
        seq: u64,
    },
    /// Something that is no record.
    #[error("what comes after record {after} is no audit record")]
    Malformed {
        /// Behind which it comes; 0 for none.
        after: u64,
    },
}

impl Chain {
    /// How many records were checked.
    pub fn len(&self) -> u64 {
        self.last.as_ref().map_or(0, |(seq, _)| *seq)
    }

    /// Whether none was.
    pub const fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Checks the next record, as [`AuditRecord::to_json`] gives it.
    ///
    /// # Errors
    /// What is wrong with it. The chain is as before then.
    pub fn check(&mut self, record: &Value) -> Result<(), Broken> {
        let (Some(seq), Some(claimed)) = (record["seq"].as_u64(), record["hash"].as_str()) else {
            return Err(Broken::Malformed { after: self.len() });
        };
        if seq != self.len() + 1 {
            return Err(Broken::Gap { expected: self.len() + 1, found: seq });
        }
        if hash(record.clone()).to_hex().as_str() != claimed {
            return Err(Broken::Changed { seq });
        }
        if record["before"].as_str() != self.last.as_ref().map(|(_, hash)| hash.as_str()) {
            return Err(Broken::Unlinked { seq });
        }
        self.last = Some((seq, claimed.to_owned()));
        Ok(())
    }
}

/// What a record's hash was, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose log.
    pub tenant: TenantId,
    /// The number of the record.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
    /// The public key of whoever signed: 32 bytes of Ed25519 in hex.
    pub key: String,
    /// The signature of the [statement](Checkpoint::statement): 64 bytes of Ed25519 in hex.
    pub signature: String,
}

impl Checkpoint {
    /// What is signed, in UTF-8.
    pub fn statement(tenant: &str, seq: u64, hash: &str) -> String {
        format!("AOS audit checkpoint\ntenant {tenant}\nrecord {seq}\nsha256 {hash}\n")
    }
}

/// Which part of a log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only what comes after this number.
    pub after: u64,
    /// Only what comes before this number.
    pub before: u64,
    /// From the end to the beginning.
    pub newest_first: bool,
    /// How much at most.
    pub limit: usize,
}

/// Which records to read. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// At this stage.
    pub stage: Option<Stage>,
    /// By this one.
    pub actor: Option<String>,
    /// Of this operation.
    pub action: Option<String>,
    /// That came with this request.
    pub request_id: Option<String>,
    /// With this in the subject or the detail, letter by letter.
    pub text: Option<String>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// Keeps audit logs.
///
/// # Contract
/// - `append` is durable, and seen by every later `read`, when it resolves with `Ok`: the record
///   [follows](AuditRecord::after) the tenant's last. Of appends that race, each follows another.
/// - A dropped or failed `append` may have taken effect.
/// - Nothing changes or removes what was appended, this store's other calls included; a database refuses to.
/// - `read` gives records that the filter lets through, by number.
/// - `put_checkpoint` keeps a checkpoint; one of the same record and key changes nothing. It does not look into it.
/// - `checkpoints` gives them by the number of their record, and by key.
pub trait AuditStore: Send + Sync {
    /// Adds a record to the end of the tenant's log.
    fn append(&self, record: NewAuditRecord) -> BoxFuture<'_, Result<AuditRecord, StoreError>>;

    /// Reads records.
    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        filter: &'a AuditFilter,
        page: Page,
    ) -> BoxFuture<'a, Result<Vec<AuditRecord>, StoreError>>;

    /// Keeps a checkpoint.
    fn put_checkpoint(&self, checkpoint: Checkpoint) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads checkpoints.
    fn checkpoints<'a>(
        &'a self,
        tenant: &'a TenantId,
        page: Page,
    ) -> BoxFuture<'a, Result<Vec<Checkpoint>, StoreError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(length: u64) -> Vec<AuditRecord> {
        let mut log: Vec<AuditRecord> = Vec::new();
        for n in 0..length {
            let new = NewAuditRecord { subject: format!("s\0{n}"), request_id: Some("r".into()), ..Default::default() };
            // A clock that goes back now and then.
            let record = AuditRecord::after(log.last(), new, Timestamp::from_millis(100 + n % 3 * 10));
            log.push(record);
        }
        log
    }

    fn checked(log: &[Value]) -> Result<u64, Broken> {
        let mut chain = Chain::default();
        log.iter().try_for_each(|record| chain.check(record))?;
        Ok(chain.len())
    }

    #[test]
    fn a_log_as_it_was_written_is_whole() {
        let log = log(9);
        assert!(log.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert_eq!(log[3].new.subject, "s\u{fffd}3");
        assert_eq!(checked(&log.iter().map(AuditRecord::to_json).collect::<Vec<_>>()), Ok(9));
    }

    #[test]
    fn a_hash_is_what_anybody_can_compute() {
        let new = NewAuditRecord { actor: "a".into(), ..Default::default() };
        let record = AuditRecord::after(None, new, Timestamp::from_millis(0));
        let text = r#"{"action":"","actor":"a","at":"1970-01-01T00:00:00.000Z","before":null,"detail":"","request_id":null,"seq":1,"stage":"asked","subject":"","tenant":"default"}"#;
        assert_eq!(record.hash, Hash::of(text));
    }

    #[test]
    fn whatever_is_done_to_a_log_is_found() {
        let whole: Vec<Value> = log(5).iter().map(AuditRecord::to_json).collect();
        for at in 0..5 {
            let seq = at as u64 + 1;
            for name in whole[at].as_object().unwrap().keys() {
                let mut log = whole.clone();
                log[at][name] = "another".into();
                assert!(checked(&log).is_err(), "{name} of {seq} changed");
                log[at].as_object_mut().unwrap().remove(name);
                assert!(checked(&log).is_err(), "{name} of {seq} removed");
            }
            let mut more = whole.clone();
            more[at]["note"] = "a member more".into();
            assert_eq!(checked(&more), Err(Broken::Changed { seq }));
            let mut forged = whole.clone();
            forged[at]["actor"] = "another".into();
            forged[at]["hash"] = hash(forged[at].clone()).to_hex().as_str().into();
            let next = if at == 4 { Ok(5) } else { Err(Broken::Unlinked { seq: seq + 1 }) };
            assert_eq!(checked(&forged), next, "the last is what a checkpoint is for");
            if at < 4 {
                let mut removed = whole.clone();
                removed.remove(at);
                assert_eq!(checked(&removed), Err(Broken::Gap { expected: seq, found: seq + 1 }));
                let mut swapped = whole.clone();
                swapped.swap(at, at + 1);
                assert!(checked(&swapped).is_err());
            }
            let mut twice = whole.clone();
            twice.insert(at, whole[at].clone());
            assert!(checked(&twice).is_err());
        }
        assert_eq!(checked(&[Value::Null]), Err(Broken::Malformed { after: 0 }));
    }

    #[test]
    fn stages_have_their_texts() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_text(stage.as_str()), Some(stage));
        }
        assert_eq!(Stage::from_text("maybe"), None);
    }
}
