//! The models the mock knows, and what each of them refuses.

use serde_json::{Value, json};

use super::error::ApiError;

/// A model and what it can do. What it can't is refused as the API refuses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name in requests.
    pub id: String,
    /// The most tokens a request may have.
    pub max_input_tokens: u64,
    /// The most that `max_tokens` may be.
    pub max_tokens: u64,
    /// Takes `temperature`, `top_p` and `top_k` other than the defaults; with `anthropic-version: 2023-06-01` only.
    pub sampling: bool,
    /// Takes a last message of the assistant, and goes on from there.
    pub prefill: bool,
    /// Takes a `tool_choice` that demands a call.
    pub forced_tools: bool,
    /// Takes `output_config.effort`.
    pub effort: bool,
    /// The types of `thinking` it takes.
    pub thinking: &'static [&'static str],
}

impl Model {
    /// The models of the API as of 2026-11-26, the newest first: names from the official SDKs, limits and capabilities
    /// from the models overview and the documentation of thinking, tool use and errors.
    pub fn known() -> Vec<Self> {
        let new = Self {
            id: String::new(),
            max_input_tokens: 1_000_000,
            max_tokens: 128_000,
            sampling: false,
            prefill: false,
            forced_tools: false,
            effort: true,
            thinking: &["adaptive"],
        };
        let five = Self { forced_tools: true, thinking: &["adaptive", "disabled"], ..new.clone() };
        let four_six = Self {
            sampling: true,
            thinking: &["adaptive", "disabled", "enabled"],
            max_tokens: 128_000,
            ..five.clone()
        };
        let four_five = Self {
            prefill: true,
            thinking: &["disabled", "enabled"],
            max_input_tokens: 200_000,
            max_tokens: 64_000,
            ..four_six.clone()
        };
        let no_effort = Self { effort: false, ..four_five.clone() };
        vec![
            new.called("claude-fable-5-2"),
            new.called("claude-mythos-5-2"),
            five.called("claude-haiku-5-5"),
            Self { thinking: &["adaptive", "between_tools"], ..new.called("claude-sonnet-5-5") },
            new.called("claude-opus-5-5"),
            new.called("claude-fable-5-1"),
            new.called("claude-mythos-5-1"),
            five.called("claude-opus-5"),
            five.called("claude-sonnet-5"),
            new.called("claude-fable-5"),
            new.called("claude-mythos-5"),
            five.called("claude-opus-4-8"),
            five.called("claude-opus-4-7"),
            Self { thinking: &["adaptive", "enabled"], ..five.called("claude-mythos-preview") },
            four_six.called("claude-opus-4-6"),
            Self { max_tokens: 64_000, ..four_six.called("claude-sonnet-4-6") },
            four_five.called("claude-opus-4-5"),
            four_five.called("claude-opus-4-5-20251101"),
            no_effort.called("claude-haiku-4-5"),
            no_effort.called("claude-haiku-4-5-20251001"),
            no_effort.called("claude-sonnet-4-5"),
            no_effort.called("claude-sonnet-4-5-20250929"),
        ]
    }

    /// A model that takes everything, for tests that bring their own.
    pub fn permissive(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            max_input_tokens: 1_000_000,
            max_tokens: 128_000,
            sampling: true,
            prefill: true,
            forced_tools: true,
            effort: true,
            thinking: &["adaptive", "between_tools", "disabled", "enabled"],
        }
    }

    fn called(&self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self.clone() }
    }

    /// The model as `GET /v1/models` shows it.
    pub(super) fn json(&self) -> Value {
        let can = |supported: bool| json!({"supported": supported});
        let thinks = |kind: &str| can(self.thinking.contains(&kind));
        let effort = can(self.effort);
        let line = self.id.split('-').find(|word| ["haiku", "sonnet", "opus", "fable", "mythos"].contains(word));
        json!({
            "type": "model",
            "id": self.id,
            "display_name": self.display_name(),
            // As where the release date is not known.
            "created_at": "1970-01-01T00:00:00Z",
            "lifecycle": "active",
            "line": line,
            "deprecated_at": null,
            "retires_at": null,
            "max_input_tokens": self.max_input_tokens,
            "max_tokens": self.max_tokens,
            "capabilities": {
                "batch": can(false),
                "citations": can(false),
                "code_execution": can(false),
                "context_management": {"supported": false},
                "effort": {
                    "supported": self.effort, "low": effort, "medium": effort, "high": effort, "xhigh": effort,
                    "max": effort
                },
                "image_input": can(true),
                "pdf_input": can(true),
                "server_tools": {"supported": false, "web_search": can(false), "code_execution": can(false)},
                "structured_outputs": can(true),
                "thinking": {
                    "supported": true,
                    "types": {
                        "adaptive": thinks("adaptive"), "between_tools": thinks("between_tools"),
                        "disabled": thinks("disabled"), "enabled": thinks("enabled")
                    }
                }
            }
        })
    }

    /// `Claude Opus 4 5` for `claude-opus-4-5`.
    fn display_name(&self) -> String {
        let words = self.id.split('-').map(|word| match word.split_at_checked(1) {
            Some((first, rest)) => first.to_uppercase() + rest,
            None => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// A page of `GET /v1/models`.
pub(super) fn page(models: &[Model], query: &str) -> Result<Value, ApiError> {
    let parameter = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    let limit = match parameter("limit").map(|(_, value)| value.parse::<usize>()) {
        None => 20,
        Some(Ok(limit)) if (1..=1_000).contains(&limit) => limit,
        Some(_) => return Err(ApiError::invalid_request("limit: Input should be between 1 and 1000")),
    };
    let position = |name| {
        let Some((_, id)) = parameter(name) else { return Ok(None) };
        let position = models.iter().position(|model| model.id == id);
        position.map(Some).ok_or_else(|| ApiError::invalid_request(format!("{name}: {id} is not a model")))
    };
    let (after, before) = (position("after_id")?, position("before_id")?);
    let (from, to) = match (after, before) {
        (Some(after), _) => (after + 1, models.len()),
        (None, Some(before)) => (before.saturating_sub(limit), before),
        (None, None) => (0, models.len()),
    };
    let shown = &models[from..to.min(from + limit)];
    let has_more = if before.is_some() { from > 0 } else { from + shown.len() < models.len() };
    Ok(json!({
        "data": shown.iter().map(Model::json).collect::<Vec<_>>(),
        "has_more": has_more,
        "first_id": shown.first().map(|model| &model.id),
        "last_id": shown.last().map(|model| &model.id)
    }))
}
