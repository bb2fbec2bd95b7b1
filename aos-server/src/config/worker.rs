//! How much a process does at one time, and what its skills may reach.

use std::time::Duration;

use crate::config::reader::{Reader, integer};
use crate::config::table;
use crate::skill::http_call::AllowList;

/// What the in-process worker needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Runs advanced at the same time; 0 leaves them to other processes.
    pub concurrency: usize,
    /// How long a run stays with a process that is not heard of.
    pub lease: Duration,
    /// No run is accepted when this many are queued; 0 for no bound.
    pub max_queued: u64,
    /// What `http_call` may reach although it is not public.
    pub http_allow: AllowList,
}

impl Worker {
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let concurrency =
            reader.get(&table::WORKER_CONCURRENCY, |text| usize::try_from(integer(0..=10_000)(text)?).ok());
        let lease = reader.get(&table::LEASE, integer(1..=3_600));
        let http_allow = reader.try_optional(&table::HTTP_ALLOW, AllowList::parse);
        let max_queued = reader.get(&table::MAX_QUEUED, integer(0..=1_000_000_000));
        Some(Self {
            concurrency: concurrency?,
            lease: Duration::from_secs(lease?),
            max_queued: max_queued?,
            http_allow: http_allow?.unwrap_or_default(),
        })
    }
}
