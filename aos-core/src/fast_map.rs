//! Maps by names that the workflow's author chose, in the engine's hot path.

use std::collections::HashMap;

/// A hash map that spends a fifth of what the standard hasher does on a short name.
///
/// Its hash is seeded with a constant: nothing random in the core, and its keys are a program's own names, of which
/// a run's limits bound the number. Its order is never looked at.
pub(crate) type FastMap<K, V> = HashMap<K, V, foldhash::fast::FixedState>;
