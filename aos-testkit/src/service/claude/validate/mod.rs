//! What the API refuses. One check after the other; the first that fails is the answer.
//!
//! Messages are the API's own where they are public (from its documentation and from reports of its users, as of
//! 2026-11-26), and in its style elsewhere. Code should go by the type and the status, as with the API.

mod conversation;
mod options;
#[cfg(test)]
mod tests;
mod tools;

use serde_json::{Map, Value};

use super::error::ApiError;
use super::model::Model;
use super::tokens;

/// The versions of the API. From the newest on there are no sampling parameters any more.
const VERSIONS: [&str; 3] = ["2023-01-01", "2023-06-01", NEWEST];

/// The newest of them.
const NEWEST: &str = "2026-10-21";

/// A request that is checked.
pub(super) struct Subject<'a> {
    body: &'a Map<String, Value>,
    model: &'a Model,
    newest: bool,
    counting: bool,
    input_tokens: u64,
}

/// What is wrong.
type Wrong = Result<(), String>;

/// What is checked once the fields are there and the model is known.
const CHECKS: [fn(&Subject<'_>) -> Wrong; 16] = [
    conversation::roles,
    conversation::blocks,
    conversation::content,
    conversation::cache,
    conversation::tool_pairs,
    conversation::prefill,
    conversation::by_version,
    tools::definitions,
    tools::choice,
    options::max_tokens,
    options::sampling,
    options::stop_sequences,
    options::thinking,
    options::output_config,
    options::others,
    options::context,
];

/// The header `anthropic-version`.
pub(super) fn version(version: Option<&str>) -> Result<&str, ApiError> {
    match version {
        None => Err(ApiError::invalid_request("anthropic-version: header is required")),
        Some(version) if VERSIONS.contains(&version) => Ok(version),
        Some(version) => {
            Err(ApiError::invalid_request(format!("anthropic-version: {version:?} is not a valid version")))
        }
    }
}

/// Checks a request to `/v1/messages`, or to `/v1/messages/count_tokens`; gives the model and the input tokens.
pub(super) fn messages<'m>(
    body: &Value,
    version: &str,
    counting: bool,
    model: impl Fn(&str) -> Option<&'m Model>,
) -> Result<(&'m Model, u64), ApiError> {
    let Some(body_map) = body.as_object() else {
        return Err(ApiError::invalid_request("Input should be a valid dictionary"));
    };
    fields(body_map, counting).map_err(ApiError::invalid_request)?;
    // Nothing is held between requests; the SDKs' tool runners send the whole conversation then.
    if body_map.get("thread").is_some_and(|thread| !thread.is_null()) {
        let refused = ApiError::invalid_request("thread: Threads are not supported for this request.");
        return Err(refused.code("thread_unsupported_request"));
    }
    let name = text(body_map, "model").unwrap_or_default();
    let model = model(name).ok_or_else(|| ApiError::not_found(format!("model: {name}")))?;
    let input_tokens = tokens::of_request(body);
    let subject = Subject { body: body_map, model, newest: version == NEWEST, counting, input_tokens };
    for check in CHECKS {
        check(&subject).map_err(ApiError::invalid_request)?;
    }
    Ok((model, input_tokens))
}

/// Fields and what each must be.
const FIELDS: [(&str, Kind); 29] = [
    ("model", Kind::Text),
    ("messages", Kind::List),
    ("max_tokens", Kind::Count),
    ("system", Kind::Any),
    ("tools", Kind::List),
    ("tool_choice", Kind::Object),
    ("temperature", Kind::Number),
    ("top_p", Kind::Number),
    ("top_k", Kind::Count),
    ("stop_sequences", Kind::List),
    ("metadata", Kind::Object),
    ("stream", Kind::Flag),
    ("service_tier", Kind::Text),
    ("thinking", Kind::Object),
    ("output_config", Kind::Object),
    ("cache_control", Kind::Object),
    ("billing_policy", Kind::Any),
    ("compaction", Kind::Any),
    ("container", Kind::Any),
    ("context_management", Kind::Object),
    ("diagnostics", Kind::Object),
    ("fallback_credit_token", Kind::Any),
    ("fallbacks", Kind::Any),
    ("inference_geo", Kind::Text),
    ("mcp_servers", Kind::List),
    ("output_format", Kind::Object),
    ("speed", Kind::Text),
    ("thread", Kind::Any),
    ("user_profile_id", Kind::Text),
];

/// Fields that may be null.
const NULLABLE: [&str; 7] =
    ["cache_control", "container", "context_management", "diagnostics", "inference_geo", "speed", "output_format"];

#[derive(Clone, Copy)]
enum Kind {
    Any,
    Count,
    Flag,
    List,
    Number,
    Object,
    Text,
}

impl Kind {
    fn is(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Count => value.is_u64() || value.is_i64(),
            Self::Flag => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Number => value.is_number(),
            Self::Object => value.is_object(),
            Self::Text => value.is_string(),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Any => "value",
            Self::Count => "integer",
            Self::Flag => "boolean",
            Self::List => "list",
            Self::Number => "number",
            Self::Object => "dictionary",
            Self::Text => "string",
        }
    }
}

/// No field is unknown, the required ones are there, and each is of its kind.
fn fields(body: &Map<String, Value>, counting: bool) -> Wrong {
    if let Some(unknown) = body.keys().find(|field| !FIELDS.iter().any(|(known, _)| known == field)) {
        return Err(format!("{unknown}: Extra inputs are not permitted"));
    }
    let required: &[_] = if counting { &["model", "messages"] } else { &["model", "messages", "max_tokens"] };
    if let Some(missing) = required.iter().find(|field| !body.contains_key(**field)) {
        return Err(format!("{missing}: Field required"));
    }
    for (field, kind) in FIELDS {
        let Some(value) = body.get(field) else { continue };
        let may_be = kind.is(value) || value.is_null() && NULLABLE.contains(&field);
        if !may_be {
            return Err(format!("{field}: Input should be a valid {}", kind.words()));
        }
    }
    Ok(())
}

fn text<'v>(object: &'v Map<String, Value>, field: &str) -> Option<&'v str> {
    object.get(field).and_then(Value::as_str)
}

fn list<'v>(object: &'v Map<String, Value>, field: &str) -> &'v [Value] {
    object.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `'a', 'b' or 'c'`
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
