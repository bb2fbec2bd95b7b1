//! Writes down who changes what, and signs it.

mod key;

use std::sync::Arc;

use aos_core::Failure;
use aos_core::audit::{AuditRecord, AuditStore, Checkpoint, NewAuditRecord, Stage};
use aos_core::id::TenantId;
use aos_core::runs::StoreError;

pub use key::{AuditKey, PublicKey, public_key_in};

/// The audit log of this process. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Parts>);

struct Parts {
    store: Arc<dyn AuditStore>,
    tenant: TenantId,
    key: Option<AuditKey>,
}

/// Something that somebody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who: the name of an API key, or how else they are known.
    pub actor: String,
    /// What: the name of an operation of the API.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The request it comes with.
    pub request_id: Option<String>,
}

impl Audit {
    /// A log whose records are signed when there is a key.
    pub fn new(store: Arc<dyn AuditStore>, tenant: TenantId, key: Option<AuditKey>) -> Self {
        Self(Arc::new(Parts { store, tenant, key }))
    }

    /// Writes down that something is about to be done: whoever can't, must not do it. Gives the record's number.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn asked(&self, act: &Act, with: String) -> Result<u64, Failure> {
        let record = self.0.store.append(self.record(act, Stage::Asked, with)).await?;
        Ok(record.seq)
    }

    /// Writes down what became of it. It is done by now, so that a store that fails is only logged.
    pub async fn ended(&self, act: &Act, stage: Stage, outcome: String) {
        let Act { actor, action, subject, .. } = act;
        let record = match self.0.store.append(self.record(act, stage, outcome)).await {
            Ok(record) => record,
            Err(error) => {
                return tracing::error!(actor, action, subject, "what became of it is not in the audit log: {error}");
            }
        };
        let seq = record.seq;
        tracing::info!(audit = seq, actor, action, subject, sha256 = %record.hash, "{action} {}", stage.as_str());
        if let Err(error) = self.sign(&record).await {
            tracing::error!(audit = seq, "a record of the audit log is not signed: {error}");
        }
    }

    async fn sign(&self, record: &AuditRecord) -> Result<(), StoreError> {
        let Some(key) = &self.0.key else { return Ok(()) };
        let (seq, hash) = (record.seq, record.hash);
        let statement = Checkpoint::statement(self.0.tenant.as_str(), seq, hash.to_hex().as_str());
        let checkpoint = Checkpoint {
            tenant: self.0.tenant.clone(),
            seq,
            hash,
            key: key.public().to_string(),
            signature: key.sign(&statement),
        };
        self.0.store.put_checkpoint(checkpoint).await
    }

    fn record(&self, act: &Act, stage: Stage, detail: String) -> NewAuditRecord {
        let Act { actor, action, subject, request_id } = act.clone();
        NewAuditRecord { tenant: self.0.tenant.clone(), stage, actor, action, subject, detail, request_id }
    }
}
