//! Health: for load balancers, for operators, and for whoever wonders whether replays still agree.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use aos_core::llm::AdapterStatus;
use aos_core::{Failure, codes};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;
use crate::http::skills::{SkillSummary, summaries};
use crate::state::AppState;
use crate::worker::verify::Finding;

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process in a few words.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, `drifting` when a replay disagreed with its journal, or `stopping`.
    #[schema(example = "healthy")]
    pub status: &'static str,
    /// The release.
    pub version: &'static str,
    /// For how long the process runs, in seconds.
    pub uptime_s: u64,
    /// Runs that this process advances right now.
    pub runs_in_hand: usize,
}

/// The process answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Live {
    /// Always true.
    pub alive: bool,
}

/// Whether the process can do its work.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Whether no check failed.
    pub ready: bool,
    /// What was checked.
    pub checks: BTreeMap<&'static str, Check>,
}

/// One check.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Check {
    /// Whether the process can do its work as far as this is concerned.
    pub ok: bool,
    /// `pass`, `fail`, or `warn` when the process does without.
    #[schema(example = "pass")]
    pub status: &'static str,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What the replays of this process have found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeterminismView {
    /// `ok`, or `drift` when a replay disagreed with its journal.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Whether a replay disagreed with its journal.
    pub drift_detected: bool,
    /// Ended runs that were replayed since the start.
    pub replays: u64,
    /// Of these, those that disagreed with their journal.
    pub drifted: u64,
    /// Of these, those whose journal could not be read.
    pub failed: u64,
    /// Content hash of the last run that was replayed.
    pub last_replay_hash: Option<String>,
    /// When that was, RFC 3339.
    pub last_replay_at: Option<String>,
    /// The last run that was replayed.
    pub last_replay: Option<FindingView>,
    /// The last run that did not come out as it was recorded.
    pub last_problem: Option<FindingView>,
}

/// What one replay has found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FindingView {
    /// The run.
    pub run: String,
    /// When it was replayed, RFC 3339.
    pub at: String,
    /// The content hash that came out.
    pub content_hash: Option<String>,
    /// What is wrong; `null` when it came out as recorded.
    pub problem: Option<String>,
}

/// The language models that calls can reach now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdaptersView {
    /// By name; the live ones are missing while they are switched off.
    pub adapters: Vec<AdapterView>,
    /// The operator's controls.
    pub switches: SwitchesView,
}

/// One adapter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdapterView {
    /// Its name.
    #[schema(example = "stub")]
    pub name: String,
    /// Whether a call reaches a provider.
    pub live: bool,
    /// Whether calls go to it when a step names none.
    pub default: bool,
}

/// The operator's controls over adapters.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SwitchesView {
    /// Live adapters are not there.
    pub disable_live_adapters: bool,
    /// Every call goes to the stub.
    pub force_stub_adapter: bool,
    /// The switches' shared state can't be read, so live adapters count as off.
    pub unreadable: bool,
}

/// The registered skills and what is wrong with them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SkillsHealth {
    /// `healthy`, or `degraded` when an enabled skill has no code here.
    #[schema(example = "healthy")]
    pub status: &'static str,
    /// Registered versions.
    pub registered: usize,
    /// Those switched off.
    pub disabled: usize,
    /// Enabled ones whose code this server doesn't have.
    pub without_code: Vec<String>,
    /// Every version.
    pub skills: Vec<SkillSummary>,
}

/// Says in a few words how the process is.
#[utoipa::path(get, path = "/health", tag = "health", operation_id = "health",
    responses((status = 200, body = Health, description = "The process answers")))]
pub async fn health(State(state): State<AppState>) -> Json<Health> {
    let status = match (state.stays(), state.findings.get().drifted) {
        (false, _) => "stopping",
        (true, 0) => "healthy",
        (true, _) => "drifting",
    };
    Json(Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: clock::now().since(state.started).as_secs(),
        runs_in_hand: state.worker.in_hand(),
    })
}

/// Says that the process answers: for a liveness probe.
#[utoipa::path(get, path = "/health/live", tag = "health", operation_id = "live",
    responses((status = 200, body = Live, description = "The process answers")))]
pub async fn live() -> Json<Live> {
    Json(Live { alive: true })
}

/// Says whether the process can do its work: for a readiness probe.
#[utoipa::path(get, path = "/health/ready", tag = "health", operation_id = "ready",
    responses((status = 200, body = Ready, description = "No check failed"),
        (status = 503, body = Ready, description = "A check failed, or the process is stopping")))]
pub async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Ready>) {
    if !state.stays() {
        // At once, however busy the database is: a load balancer has little time to notice.
        let worker = Check::new(Duration::ZERO, Some("the process is stopping".into()));
        let checks = BTreeMap::from([("worker", worker)]);
        return (StatusCode::SERVICE_UNAVAILABLE, Json(Ready { ready: false, checks }));
    }
    // What costs least, however long the queue and however large the registry are: probes come all the time.
    let database =
        check(async { state.host.stores.runs.by_key(&state.tenant, "").await.map(drop).map_err(Failure::from) });
    let registry = check(async { state.registry_store.audit(&state.tenant, 1).await.map(drop).map_err(Failure::from) });
    let redis = check(async {
        let Some(redis) = &state.redis else { return Ok(()) };
        let failed = |trouble| Failure::new(codes::STORE_UNAVAILABLE, format!("Redis at {}: {trouble}", redis.place()));
        redis.ping().await.map_err(failed)
    });
    let (database, registry, redis) = tokio::join!(database, registry, redis);
    let worker = Check::new(Duration::ZERO, None);
    let mut checks = BTreeMap::from([("database", database), ("registry", registry), ("worker", worker)]);
    if state.redis.is_some() {
        checks.insert("redis", redis.or_without());
    }
    let ready = checks.values().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, checks }))
}

/// Says what replays have found: every run that ends is replayed in the background.
#[utoipa::path(get, path = "/health/determinism", tag = "health", operation_id = "determinism",
    responses((status = 200, body = DeterminismView, description = "What replays have found since the start")))]
pub async fn determinism(State(state): State<AppState>) -> Json<DeterminismView> {
    let findings = state.findings.get();
    let drift_detected = findings.drifted > 0;
    let last = findings.last.map(FindingView::from);
    Json(DeterminismView {
        status: if drift_detected { "drift" } else { "ok" },
        drift_detected,
        replays: findings.replays,
        drifted: findings.drifted,
        failed: findings.failed,
        last_replay_hash: last.as_ref().and_then(|last| last.content_hash.clone()),
        last_replay_at: last.as_ref().map(|last| last.at.clone()),
        last_replay: last,
        last_problem: findings.last_bad.map(Into::into),
    })
}

/// Says which language models calls can reach now.
#[utoipa::path(get, path = "/health/adapters", tag = "health", operation_id = "adapters",
    responses((status = 200, body = AdaptersView, description = "Adapters and switches")))]
pub async fn adapters(State(state): State<AppState>) -> Json<AdaptersView> {
    let switches = state.adapters.switches();
    let view = |AdapterStatus { name, live, default }| AdapterView { name, live, default };
    Json(AdaptersView {
        adapters: state.adapters.list().into_iter().map(view).collect(),
        switches: SwitchesView {
            disable_live_adapters: switches.disable_live_adapters(),
            force_stub_adapter: switches.force_stub_adapter(),
            unreadable: switches.unreadable(),
        },
    })
}

/// Says which skills are registered, and which of them can't be called here.
#[utoipa::path(get, path = "/health/skills", tag = "health", operation_id = "skills",
    responses((status = 200, body = SkillsHealth, description = "The registered skills")))]
pub async fn skills(State(state): State<AppState>) -> Json<SkillsHealth> {
    let skills = summaries(&state);
    let unusable = skills.iter().filter(|skill| skill.status.enabled && !skill.executable);
    let without_code: Vec<_> = unusable.map(|skill| skill.skill.clone()).collect();
    Json(SkillsHealth {
        status: if without_code.is_empty() { "healthy" } else { "degraded" },
        registered: skills.len(),
        disabled: skills.iter().filter(|skill| !skill.status.enabled).count(),
        without_code,
        skills,
    })
}

async fn check(work: impl Future<Output = Result<(), Failure>>) -> Check {
    let started = Instant::now();
    let error = match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    Check::new(started.elapsed(), error)
}

impl Check {
    fn new(took: Duration, error: Option<String>) -> Self {
        let ok = error.is_none();
        Self { ok, status: if ok { "pass" } else { "fail" }, ms: (took.as_secs_f64() * 1e6).round() / 1e3, error }
    }

    /// As a check of something that the process can do without.
    fn or_without(self) -> Self {
        Self { ok: true, status: if self.ok { "pass" } else { "warn" }, ..self }
    }
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        Self {
            run: finding.run.to_string(),
            at: finding.at.to_string(),
            content_hash: finding.content_hash.map(|hash| hash.to_string()),
            problem: finding.problem,
        }
    }
}
