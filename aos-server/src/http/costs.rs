//! What model calls cost, and the prices by which that was computed.

use aos_core::canonical::Hash;
use aos_core::id::IdError;
use aos_core::ledger::{CostBy, CostLine, CostQuery};
use aos_core::llm::PriceBook;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::params::{Params, PathOf, clip, run_id, time};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::state::AppState;

/// The most lines of one answer.
const MAX_LINES: usize = 10_000;

/// Which costs are asked for.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CostsQuery {
    /// By what to sum up: `model`, `workflow`, `day`, `run`, `effect`, `attempt`, `adapter` or `key` (the caller's API
    /// key); `day` when it is left out.
    pub by: Option<String>,
    /// Only calls made at this time or later: RFC 3339, or a day (UTC) such as `2026-11-23`.
    pub since: Option<String>,
    /// Only calls made before this time.
    pub until: Option<String>,
    /// Only calls of this run.
    pub run: Option<String>,
    /// Only calls of this workflow's runs, whatever its version.
    pub workflow: Option<String>,
    /// At most so many lines, up to 10,000; 1,000 when it is left out.
    pub limit: Option<usize>,
}

/// Costs, summed up.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CostReport {
    /// By what.
    #[schema(example = "model")]
    pub by: &'static str,
    /// The dearest first; days in their order.
    pub lines: Vec<CostView>,
}

/// The costs of the calls that have something in common.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Cost")]
pub struct CostView {
    /// What they have in common; `null` for those that have no such thing, a call outside of runs say.
    #[schema(example = "claude-opus-5-5")]
    pub key: Option<String>,
    /// How many they are.
    pub calls: u64,
    /// How many of them may yet turn out to have cost something else: they are under way, or nobody knows how they ended.
    pub uncertain_calls: u64,
    /// How many of them have no price, and are in no amount.
    pub unpriced_calls: u64,
    /// Tokens read, neither from the provider's cache nor into it.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the cache.
    pub cache_read_tokens: u64,
    /// Tokens read and put into the cache.
    pub cache_write_tokens: u64,
    /// Those of them that are kept for an hour.
    pub cache_write_1h_tokens: u64,
    /// What the calls have cost at least, in US dollars as an exact decimal string.
    #[schema(example = "0.00125")]
    pub cost_min_usd: String,
    /// What they have cost at most: the same, unless some are uncertain.
    #[schema(example = "0.00125")]
    pub cost_max_usd: String,
    /// The most in cents, rounded up to a hundredth of a cent.
    #[schema(example = 0.13)]
    pub cost_cents: f64,
}

/// Sums up what model calls cost.
#[utoipa::path(
    get, path = "/v1/costs", tag = "money", operation_id = "getCosts",
    params(CostsQuery),
    responses((status = 200, body = CostReport, description = "The costs"))
)]
pub async fn get_costs(
    State(state): State<AppState>,
    Params(query): Params<CostsQuery>,
) -> ApiResult<Json<CostReport>> {
    let by = match &query.by {
        None => CostBy::Day,
        Some(text) => CostBy::from_text(text).ok_or_else(|| {
            let known = CostBy::ALL.map(CostBy::as_str).join(", ");
            ApiError::invalid(format!("by is {:?}: expected one of {known}", clip(text)))
        })?,
    };
    let limit = query.limit.unwrap_or(1_000);
    if !(1..=MAX_LINES).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is {limit}: expected 1 to {MAX_LINES}")));
    }
    let workflow = query
        .workflow
        .as_deref()
        .map(|text| text.parse().map_err(|e: IdError| ApiError::invalid(format!("workflow is {:?}: {e}", clip(text)))));
    let query = CostQuery {
        since: time("since", query.since.as_deref())?,
        until: time("until", query.until.as_deref())?,
        run: query.run.as_deref().map(run_id).transpose()?,
        workflow: workflow.transpose()?,
        limit,
        ..CostQuery::new(state.tenant.clone(), by)
    };
    let lines = state.control.ledger.costs(&query).await?;
    Ok(Json(CostReport { by: by.as_str(), lines: lines.into_iter().map(Into::into).collect() }))
}

impl From<CostLine> for CostView {
    fn from(line: CostLine) -> Self {
        Self {
            key: line.key,
            calls: line.calls,
            uncertain_calls: line.uncertain,
            unpriced_calls: line.unpriced,
            input_tokens: line.usage.input_tokens,
            output_tokens: line.usage.output_tokens,
            cache_read_tokens: line.usage.cache_read_tokens,
            cache_write_tokens: line.usage.cache_write_tokens,
            cache_write_1h_tokens: line.usage.cache_write_1h_tokens,
            cost_min_usd: line.cost_min.to_string(),
            cost_max_usd: line.cost_max.to_string(),
            cost_cents: line.cost_max.cents_rounded(),
        }
    }
}

/// Gives the price book that calls are priced by now, or the one of a hash that runs were recorded with.
#[utoipa::path(
    get, path = "/v1/prices/{book}", tag = "money", operation_id = "getPrices",
    params(("book" = String, Path, description = "SHA-256 of a price book, or `current`")),
    responses(
        (status = 200, body = serde_json::Value, description = "The book, as `AOS_PRICES` has it"),
        (status = 404, body = Problem, description = "There is no such book"),
    )
)]
pub async fn get_prices(State(state): State<AppState>, PathOf(book): PathOf<String>) -> ApiResult<Response> {
    let current = state.prices.hash();
    let absent = || ApiError::not_found("price book", format!("{:?}; the current one is {current}", clip(&book)));
    let hash: Hash = if book == "current" { current } else { book.parse().map_err(|_| absent())? };
    let text = if hash == current {
        state.prices.to_json().to_owned()
    } else {
        let bytes = state.host.stores.blobs.get(&hash).await?.ok_or_else(absent)?;
        // A blob of another kind is no book.
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| absent())?;
        PriceBook::parse(&text).map_err(|_| absent())?;
        text
    };
    let etag = format!("\"{hash}\"");
    Ok(([(header::CONTENT_TYPE, "application/json".to_owned()), (header::ETAG, etag)], text).into_response())
}
