//! The HTTP surface: thin handlers over the state, one file per resource.
//!
//! Every route is registered together with its entry in the OpenAPI document, so that there is no route without one.

pub mod body;
pub mod budgets;
pub mod costs;
pub mod dead_letters;
pub mod health;
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

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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
        .layer(from_fn_with_state(state.metrics.clone(), middleware::observe))
        .layer(from_fn_with_state(state.leaving.clone(), middleware::close))
}

fn health() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::determinism))
        .routes(routes!(health::adapters))
        .routes(routes!(health::skills))
        .routes(routes!(metrics::metrics))
}

fn runs() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(runs::read::list_runs, runs::create::create_run))
        .routes(routes!(runs::read::get_run))
        .routes(routes!(runs::stream::get_journal))
        .routes(routes!(runs::stream::follow_run))
        .routes(routes!(runs::bulk::bulk_runs))
        .routes(routes!(runs::act::cancel_run))
        .routes(routes!(runs::act::signal_run))
        .routes(routes!(runs::act::pause_run))
        .routes(routes!(runs::act::resume_run))
        .routes(routes!(runs::approve::approve_run))
        .routes(routes!(runs::approve::reject_run))
        .routes(routes!(runs::retry::retry_run))
        .routes(routes!(runs::replay::replay_run))
        .routes(routes!(runs::fork::fork_run))
        .routes(routes!(runs::replay::get_golden))
}

fn queue() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(queue::get_queue))
        .routes(routes!(queue::get_limit, queue::set_limit, queue::lift_limit))
        .routes(routes!(queue::get_skill_limit, queue::set_skill_limit, queue::lift_skill_limit))
        .routes(routes!(workers::list_workers))
        .routes(routes!(switches::list_switches))
        .routes(routes!(switches::turn_switch))
        .routes(routes!(dead_letters::list_dead_letters))
        .routes(routes!(dead_letters::retry_dead_letter))
        .routes(routes!(dead_letters::discard_dead_letter))
}

fn workflows() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(workflows::list_workflows, workflows::register_workflow))
        .routes(routes!(workflows::definition_schema))
        .routes(routes!(workflows::get_workflow))
        .routes(routes!(workflows::input_schema))
        .routes(routes!(workflows::disable_workflow))
        .routes(routes!(workflows::enable_workflow))
        .routes(routes!(workflows::repin_workflow))
        .routes(routes!(simulate::simulate))
}

fn schedules() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(schedules::list_schedules))
        .routes(routes!(schedules::get_schedule, schedules::put_schedule, schedules::remove_schedule))
        .routes(routes!(schedules::pause_schedule))
        .routes(routes!(schedules::resume_schedule))
        .routes(routes!(schedules::trigger_schedule))
}

fn money() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(costs::get_costs))
        .routes(routes!(costs::get_prices))
        .routes(routes!(budgets::list_budgets))
        .routes(routes!(budgets::set_budget, budgets::remove_budget))
}

fn skills_and_registry() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(skills::list_skills))
        .routes(routes!(skills::get_skill))
        .routes(routes!(skills::disable_skill))
        .routes(routes!(skills::enable_skill))
        .routes(routes!(registry::get_registry))
        .routes(routes!(registry::export_registry))
        .routes(routes!(registry::import_registry))
        .routes(routes!(registry::list_snapshots, registry::take_snapshot))
        .routes(routes!(registry::get_snapshot))
        .routes(routes!(registry::rollback_registry))
        .routes(routes!(registry::audit_registry))
}
