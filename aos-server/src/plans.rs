//! Plans that are ready to run: resolved once, hashed once, stored once, their input schema compiled once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aos_core::canonical::Hash;
use aos_core::driver::Host;
use aos_core::payload::Payload;
use aos_core::skill::schema::{CompiledSchema, SchemaCompiler, check};
use aos_core::workflow::Plan;
use aos_core::{Failure, codes};

/// Entries that are kept; beyond that the cache starts anew, which costs time and nothing else.
const KEPT: usize = 1_024;

/// A plan with everything that starting a run of it needs.
pub struct ReadyPlan {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its hash, under which the store has it.
    pub hash: Hash,
    schema: Option<Arc<dyn CompiledSchema>>,
}

impl ReadyPlan {
    /// Checks a run's input.
    ///
    /// # Errors
    /// [`codes::INVALID_INPUT`] with every mistake.
    pub fn check(&self, input: &Payload) -> Result<(), Failure> {
        let Some(schema) = &self.schema else { return Ok(()) };
        check(&**schema, input, codes::INVALID_INPUT, &format_args!("input of {}", self.plan.workflow))
    }
}

/// How a plan was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PlanKey {
    /// A registered workflow: `id`, `id@1.2.3` or `id@^1`.
    Named(String),
    /// An inline definition, by the hash of its canonical JSON.
    Inline(Hash),
}

/// Ready plans by how they were asked for. Cheap to clone.
#[derive(Clone)]
pub struct Plans(Arc<Inner>);

struct Inner {
    schemas: Arc<dyn SchemaCompiler>,
    ready: Mutex<HashMap<PlanKey, Arc<ReadyPlan>>>,
    /// Rises with every change of the registry.
    generation: AtomicU64,
}

impl Plans {
    /// None yet; `schemas` compiles input schemas.
    pub fn new(schemas: Arc<dyn SchemaCompiler>) -> Self {
        Self(Arc::new(Inner { schemas, ready: Mutex::default(), generation: AtomicU64::new(0) }))
    }

    /// The plan behind `key`; `resolve` finds it when it is not at hand. The store has the plan when this returns.
    ///
    /// # Errors
    /// Those of `resolve`, a bad input schema, or a store that fails.
    pub async fn get(
        &self,
        host: &Host,
        key: PlanKey,
        resolve: impl FnOnce() -> Result<Arc<Plan>, Failure>,
    ) -> Result<Arc<ReadyPlan>, Failure> {
        if let Some(ready) = self.ready().get(&key) {
            return Ok(Arc::clone(ready));
        }
        let generation = self.0.generation.load(Ordering::Acquire);
        let plan = resolve()?;
        let schema = plan.input_schema.as_ref().map(|schema| self.0.schemas.compile(schema)).transpose()?;
        let hash = host.keep_plan(&plan).await?;
        let ready = Arc::new(ReadyPlan { plan, hash, schema });
        let mut cache = self.ready();
        // What was resolved before a change of the registry must not outlive it.
        if self.0.generation.load(Ordering::Acquire) == generation {
            if cache.len() >= KEPT {
                cache.clear();
            }
            cache.insert(key, Arc::clone(&ready));
        }
        Ok(ready)
    }

    /// Forgets everything, because the registry has changed.
    pub fn forget(&self) {
        self.0.generation.fetch_add(1, Ordering::AcqRel);
        self.ready().clear();
    }

    fn ready(&self) -> MutexGuard<'_, HashMap<PlanKey, Arc<ReadyPlan>>> {
        // Every change is one call, so the map is whole whatever panicked while holding the lock.
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
