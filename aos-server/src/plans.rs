//! Plans that are ready to run: resolved once, hashed once, stored once, their input schema compiled once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::driver::Host;
use aos_core::payload::Payload;
use aos_core::skill::schema::{PlanInput, SchemaCompiler};
use aos_core::workflow::Plan;

/// Plans that are kept; beyond that the cache starts anew, which costs time and nothing else.
const KEPT: usize = 1_024;

/// A plan with everything that starting a run of it needs.
pub struct ReadyPlan {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its hash, under which the store has it.
    pub hash: Hash,
    input: PlanInput,
}

impl ReadyPlan {
    /// Checks a run's input.
    ///
    /// # Errors
    /// [`INVALID_INPUT`](aos_core::codes::INVALID_INPUT) with every mistake.
    pub fn check(&self, input: &Payload) -> Result<(), Failure> {
        self.input.check(input)
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
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    /// The revision of the registry that everything here was resolved against.
    revision: u64,
    ready: HashMap<PlanKey, Arc<ReadyPlan>>,
}

impl Plans {
    /// None yet; `schemas` compiles input schemas.
    pub fn new(schemas: Arc<dyn SchemaCompiler>) -> Self {
        Self(Arc::new(Inner { schemas, cache: Mutex::default() }))
    }

    /// The plan behind `key` in revision `revision` of the registry; `resolve` finds it when it is not at hand. The
    /// store has the plan when this returns.
    ///
    /// # Errors
    /// Those of `resolve`, a bad input schema, or a store that fails.
    pub async fn get(
        &self,
        host: &Host,
        revision: u64,
        key: PlanKey,
        resolve: impl FnOnce() -> Result<Arc<Plan>, Failure>,
    ) -> Result<Arc<ReadyPlan>, Failure> {
        if let Some(ready) = self.cache(revision).ready.get(&key) {
            return Ok(Arc::clone(ready));
        }
        let plan = resolve()?;
        let input = PlanInput::new(&*self.0.schemas, &plan)?;
        let hash = host.keep_plan(&plan).await?;
        let ready = Arc::new(ReadyPlan { plan, hash, input });
        let mut cache = self.cache(revision);
        // What was resolved against an older revision is right for the request that asked, and for nobody after it.
        if cache.revision == revision {
            if cache.ready.len() >= KEPT {
                cache.ready.clear();
            }
            cache.ready.insert(key, Arc::clone(&ready));
        }
        Ok(ready)
    }

    /// The cache, emptied if the registry has a later revision than it knew.
    fn cache(&self, revision: u64) -> MutexGuard<'_, Cache> {
        let mut cache = self.0.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.revision < revision {
            *cache = Cache { revision, ready: HashMap::new() };
        }
        cache
    }
}
