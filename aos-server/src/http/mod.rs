//! The HTTP surface: thin handlers over the state, one file per resource.
//!
//! Every route is registered together with its entry in the OpenAPI document and the scope it needs, so that there is no
//! route without them.

pub mod access;
pub mod asked;
pub mod audit;
pub mod audited;
pub mod body;
pub mod budgets;
pub mod costs;
pub mod dead_letters;
pub mod health;
pub mod keys;
pub mod metrics;
pub mod middleware;
pub mod openapi;
pub mod params;
pub mod problem;
pub mod queue;
pub mod registry;
pub mod request_id;
pub mod runs;
pub mod schedules;
pub mod simulate;
pub mod skills;
pub mod switches;
pub mod view;
pub mod workers;
pub mod workflows;

use aos_core::keys::Scope;
use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::access::{auditing, needing, open};
use crate::http::openapi::{Document, Routes};
use crate::state::AppState;

/// The whole API.
pub fn router(state: AppState) -> Router {
    let document = Document::default();
    let about_itself = OpenApiRouter::new().routes(routes!(openapi::openapi)).with_state(document.clone());
    let (router, openapi) = OpenApiRouter::with_openapi(openapi::frame())
        .merge(health())
        .merge(runs())
        .merge(queue())
        .merge(workflows())
        .merge(schedules())
        .merge(money())
        .merge(skills_and_registry())
        .merge(keys())
        .merge(audit())
        .with_state(state.clone())
        .merge(about_itself)
        .split_for_parts();
    document.complete(openapi);
    framed(router, &state)
}

/// What a process answers that only advances runs.
pub fn health_router(state: AppState) -> Router {
    let (router, _) = OpenApiRouter::new().merge(health()).with_state(state.clone()).split_for_parts();
    framed(router, &state)
}

/// Answers to what no route has, and what happens around every handler.
fn framed(router: Router, state: &AppState) -> Router {
    router
        .fallback(middleware::no_route)
        .method_not_allowed_fallback(middleware::no_method)
        .layer(Extension(state.gate.clone()))
        .layer(Extension(state.audit.clone()))
        .layer(from_fn_with_state((state.metrics.clone(), state.tracer.clone()), middleware::observe))
        .layer(from_fn_with_state(state.leaving.clone(), middleware::close))
}

fn health() -> Routes {
    open([
        routes!(health::health),
        routes!(health::live),
        routes!(health::ready),
        routes!(health::determinism),
        routes!(health::adapters),
        routes!(health::skills),
        routes!(metrics::metrics),
    ])
}

fn runs() -> Routes {
    let read = needing(
        Scope::Read,
        [
            routes!(runs::read::list_runs),
            routes!(runs::read::get_run),
            routes!(runs::stream::get_journal),
            routes!(runs::stream::follow_run),
            routes!(runs::replay::replay_run),
            routes!(runs::replay::get_golden),
        ],
    );
    // Many a second, and each stands in a journal with whoever asked.
    let talk = needing(Scope::Run, [routes!(runs::create::create_run), routes!(runs::act::signal_run)]);
    let run = auditing(
        Scope::Run,
        [
            routes!(runs::bulk::bulk_runs),
            routes!(runs::act::cancel_run),
            routes!(runs::act::pause_run),
            routes!(runs::act::resume_run),
            routes!(runs::approve::approve_run),
            routes!(runs::approve::reject_run),
            routes!(runs::retry::retry_run),
            routes!(runs::fork::fork_run),
        ],
    );
    read.merge(talk).merge(run)
}

fn queue() -> Routes {
    let read = needing(
        Scope::Read,
        [
            routes!(queue::get_queue),
            routes!(queue::get_limit),
            routes!(queue::get_skill_limit),
            routes!(workers::list_workers),
            routes!(switches::list_switches),
            routes!(dead_letters::list_dead_letters),
        ],
    );
    let run =
        auditing(Scope::Run, [routes!(dead_letters::retry_dead_letter), routes!(dead_letters::discard_dead_letter)]);
    let admin = auditing(
        Scope::Admin,
        [
            routes!(queue::set_limit, queue::lift_limit),
            routes!(queue::set_skill_limit, queue::lift_skill_limit),
            routes!(switches::turn_switch),
        ],
    );
    read.merge(run).merge(admin)
}

fn workflows() -> Routes {
    let read = needing(
        Scope::Read,
        [
            routes!(workflows::list_workflows),
            routes!(workflows::definition_schema),
            routes!(workflows::get_workflow),
            routes!(workflows::input_schema),
            routes!(simulate::simulate),
        ],
    );
    let admin = auditing(
        Scope::Admin,
        [
            routes!(workflows::register_workflow),
            routes!(workflows::disable_workflow),
            routes!(workflows::enable_workflow),
            routes!(workflows::repin_workflow),
        ],
    );
    read.merge(admin)
}

fn schedules() -> Routes {
    let read = needing(Scope::Read, [routes!(schedules::list_schedules), routes!(schedules::get_schedule)]);
    let run = auditing(Scope::Run, [routes!(schedules::trigger_schedule)]);
    let admin = auditing(
        Scope::Admin,
        [
            routes!(schedules::put_schedule, schedules::remove_schedule),
            routes!(schedules::pause_schedule),
            routes!(schedules::resume_schedule),
        ],
    );
    read.merge(run).merge(admin)
}

fn money() -> Routes {
    let read =
        needing(Scope::Read, [routes!(costs::get_costs), routes!(costs::get_prices), routes!(budgets::list_budgets)]);
    read.merge(auditing(Scope::Admin, [routes!(budgets::set_budget, budgets::remove_budget)]))
}

fn skills_and_registry() -> Routes {
    let read = needing(
        Scope::Read,
        [
            routes!(skills::list_skills),
            routes!(skills::get_skill),
            routes!(registry::get_registry),
            routes!(registry::export_registry),
            routes!(registry::list_snapshots),
            routes!(registry::get_snapshot),
            routes!(registry::audit_registry),
        ],
    );
    let admin = auditing(
        Scope::Admin,
        [
            routes!(skills::disable_skill),
            routes!(skills::enable_skill),
            routes!(registry::import_registry),
            routes!(registry::take_snapshot),
            routes!(registry::rollback_registry),
        ],
    );
    read.merge(admin)
}

fn keys() -> Routes {
    auditing(Scope::Admin, [routes!(keys::list_keys, keys::create_key), routes!(keys::revoke_key)])
}

fn audit() -> Routes {
    needing(Scope::Read, [routes!(audit::search_audit), routes!(audit::list_checkpoints)])
}
