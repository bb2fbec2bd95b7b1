//! Several processes on one database, and stores that fail. What a server does otherwise is tested over HTTP.

use std::sync::Arc;

use aos_core::driver::Stores;
use aos_core::flow::{Ctx, Flows};
use aos_core::id::{ScheduleId, TenantId, WorkerId};
use aos_core::llm::{Adapters, PriceBook, Switches};
use aos_core::memory::{MemoryRegistry, MemorySchedules, MemoryStore, VirtualClock};
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::registry::RegistryStore;
use aos_core::runs::{RunFilter, RunStore as _};
use aos_core::schedules::ScheduleStore as _;
use aos_core::time::Clock;
use aos_core::workflow::PlanBuilder;
use aos_testkit::fault::{Faults, Faulty, Rates};
use aos_testkit::service;
use futures::future::{join_all, try_join_all};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::*;
use crate::backend::Control;
use crate::backend::postgres::PostgresStores;
use crate::clock::SystemClock;
use crate::config::Access;
use crate::hub::Hub;
use crate::server::{Ingredients, Server};
use crate::telemetry::{Metrics, Tracer};
use crate::worker::WorkerSettings;
use crate::worker::report::Live;

const PROCESSES: usize = 3;
const SCHEDULES: usize = 150;

/// A process that begins runs and leaves it to others to advance them.
async fn process(stores: Stores, registry_store: Arc<dyn RegistryStore>, control: Control) -> Server {
    let mut flows = Flows::new();
    flows.register("report", "1.0.0", async |_: Ctx, input: Value| Ok(input)).unwrap();
    Server::new(Ingredients {
        stores,
        registry_store,
        control,
        skills: Vec::new(),
        flows: (flows, vec![PlanBuilder::code("report", "1.0.0").unwrap().build()]),
        adapters: Adapters::new(Arc::new(Switches::default())),
        prices: Arc::new(PriceBook::builtin().unwrap()),
        calls: TaskTracker::new(),
        clock: Arc::new(SystemClock),
        worker: WorkerSettings::new(WorkerId::new("w").unwrap(), 0),
        max_queued: 0,
        redis: None,
        hub: Hub::new(),
        live: Live::default(),
        metrics: Metrics::new().unwrap(),
        tracer: Tracer::default(),
        log_skill_params: false,
        audit_key: None,
        access: Access::Open,
    })
    .await
    .unwrap()
}

fn report(id: &str, cron: &str, next_at: Timestamp) -> Schedule {
    Schedule {
        tenant: TenantId::default(),
        id: ScheduleId::new(id).unwrap(),
        workflow: "report@^1".into(),
        input: Payload::null(),
        priority: Priority::default(),
        cron: cron.into(),
        time_zone: "UTC".into(),
        overlap: Overlap::Allow,
        paused: false,
        next_at: Some(next_at),
        last: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_what_is_due() {
    let database = service::Postgres::shared().database().unwrap();
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        let stores = PostgresStores::open(&database.url).await.unwrap();
        processes.push(process(stores.stores(), stores.registry(), stores.control()).await);
    }
    let (tenant, store) = (TenantId::default(), &processes[0].state().control.schedules);
    let due = store.now().await.unwrap();
    for n in 0..SCHEDULES {
        store.put(&report(&format!("s{n}"), "@yearly", due)).await.unwrap();
    }
    let counts = try_join_all(processes.iter().map(|process| fire_due(process.state()))).await.unwrap();
    // What somebody was handing out at that moment is left for the next look.
    let rest = join_all(processes.iter().map(|process| fire_due(process.state()))).await;
    let rest: usize = rest.into_iter().map(Result::unwrap).sum();
    assert_eq!(counts.iter().sum::<usize>() + rest, SCHEDULES, "{counts:?}");
    for schedule in store.list(&tenant).await.unwrap() {
        let run = schedule.run_id(due).unwrap();
        assert_eq!(schedule.last, Some(Firing { due, run: Some(run), failure: None }), "{}", schedule.id);
        assert!(schedule.next_at.unwrap() > due, "{}", schedule.id);
    }
    let all = RunFilter { tenant, limit: SCHEDULES + 1, ..RunFilter::default() };
    assert_eq!(processes[0].state().host.stores.runs.list(all).await.unwrap().runs.len(), SCHEDULES);
}

/// Calls that fail, and calls that take effect and fail all the same: every due time begins one run.
#[tokio::test]
async fn no_fault_loses_or_doubles_a_time() {
    const HOUR: Duration = Duration::from_secs(3_600);
    for seed in 0..20 {
        let clock = VirtualClock::new(Timestamp::from_millis(1_809_334_800_000));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let rates = Rates { refused: 15, lost: 15, ..Rates::default() };
        let faults = Faults::new(Seed::new(seed), rates, Arc::clone(&shared));
        let runs = Arc::new(MemoryStore::new(Arc::clone(&shared)));
        let schedules = Arc::new(MemorySchedules::new(Arc::clone(&shared)));
        let stores = Stores { runs: Arc::new(Faulty::new(Arc::clone(&runs), &faults)), ..runs.stores() };
        let faulty = Arc::new(Faulty::new(Arc::clone(&schedules), &faults));
        let control = Control { schedules: faulty, ..Control::in_memory(&shared) };
        let server = process(stores, Arc::new(MemoryRegistry::new()), control).await;
        let first = clock.now().saturating_add(HOUR);
        let schedule = report("s", "@hourly", first);
        schedules.put(&schedule).await.unwrap();
        let mut expected = Vec::new();
        for _ in 0..24 {
            clock.advance(HOUR - Duration::from_millis(clock.now().as_millis() % 3_600_000));
            expected.push(schedule.run_id(clock.now()).unwrap());
            while schedules.due(1, Duration::ZERO).await.unwrap().len() == 1 {
                // A process that can't go on with a schedule leaves it to whoever comes next.
                let _ = fire_due(server.state()).await;
                clock.advance(HOLD);
            }
        }
        let all = RunFilter { limit: 100, ..RunFilter::default() };
        let made = runs.list(all).await.unwrap().runs.into_iter().rev().map(|record| record.new.run);
        assert_eq!(made.collect::<Vec<_>>(), expected, "{faults:?}");
        assert!(faults.injected().len() > 24, "{faults:?}");
    }
}
