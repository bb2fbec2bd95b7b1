//! Failures as data, and the one table of their stable codes.
//!
//! A [`Failure`] is what a skill returns, what a journal keeps and what an API shows. Its [`Code`] never changes
//! meaning; programs branch on it, operators search for it. The table below is the only place where the codes of
//! AOS are listed: docs and the OpenAPI document are generated from [`codes::ALL`]. Skills may use codes of their own.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::CanonicalError;
use crate::money::Money;

/// Who has to act on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The caller sent something wrong.
    Input,
    /// The definition or the workflow's code is wrong.
    Workflow,
    /// A skill failed for a reason of its own.
    Skill,
    /// The model or its provider.
    Llm,
    /// A bound was reached: budget, time, size, rate.
    Limit,
    /// Journal and program disagree, or a journal is damaged.
    Replay,
    /// A store or another part of the host failed.
    Host,
    /// Somebody asked for it: cancelled, switched off.
    Operator,
    /// A fault of AOS itself: please report it.
    Internal,
}

/// How loudly to report a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Part of normal operation.
    Info,
    /// Worth a look.
    Warning,
    /// Something is broken.
    Error,
}

/// One row of the table of codes.
#[derive(Clone, Copy, Debug)]
pub struct CodeInfo {
    /// The code itself, `ERR_…`.
    pub code: &'static str,
    /// Who has to act.
    pub category: Category,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How loudly to report it.
    pub severity: Severity,
    /// The HTTP status an API answers with.
    pub http_status: u16,
    /// What the code means.
    pub meaning: &'static str,
    /// What to do about it.
    pub action: &'static str,
}

/// A stable error code: one of [`codes`], or a skill's own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(Cow<'static, str>);

impl Code {
    /// A code of a skill's own, by convention upper-case words joined by `_`.
    pub fn custom(code: impl Into<String>) -> Self {
        Self(Cow::Owned(code.into()))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The code's row in the table; `None` for a skill's own code.
    pub fn info(&self) -> Option<&'static CodeInfo> {
        codes::ALL.iter().find(|info| info.code == self.0)
    }

    /// Who has to act; a skill's own code is [`Category::Skill`].
    pub fn category(&self) -> Category {
        self.info().map_or(Category::Skill, |info| info.category)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for Code {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

/// A failure as a value: journaled, shown by the API, branched on by programs.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[error("{code}: {message}")]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// What the failed attempt cost; nothing, for most failures.
    #[serde(default, skip_serializing_if = "Money::is_zero")]
    pub cost: Money,
    /// Structured facts (JSON), `null` when there are none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
    /// What was wrong, where, and what was expected, for a person. Not part of any hash.
    pub message: String,
    /// Earliest useful time for another attempt, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl Failure {
    /// A failure with the table's idea of whether it may be retried.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let retryable = code.info().is_some_and(|info| info.retryable);
        Self { code, cost: Money::ZERO, details: Value::Null, message: message.into(), retry_after_ms: None, retryable }
    }

    /// Says whether the same request may succeed later.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// Retryable, not before `after`.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retryable = true;
        self.retry_after_ms = u64::try_from(after.as_millis()).ok();
        self
    }

    /// Adds structured facts. Numbers that JSON can't carry exactly become strings.
    #[must_use]
    pub fn details(mut self, mut details: Value) -> Self {
        if crate::canonical::normalize(&mut details).is_err() {
            details = Value::String(details.to_string());
        }
        self.details = details;
        self
    }

    /// Says what the failed attempt cost.
    #[must_use]
    pub fn cost(mut self, cost: Money) -> Self {
        self.cost = cost;
        self
    }
}

impl From<CanonicalError> for Failure {
    fn from(error: CanonicalError) -> Self {
        let code = match error {
            CanonicalError::NumberOutOfRange { .. } => codes::NUMBER_OUT_OF_RANGE,
            CanonicalError::TooDeep { .. } => codes::TOO_DEEP,
        };
        Self::new(code, error.to_string())
    }
}

macro_rules! codes {
    ($($name:ident = $code:literal, $category:ident, $retry:ident, $severity:ident, $http:literal, $meaning:literal, $action:literal;)*) => {
        /// The stable codes of AOS.
        pub mod codes {
            use super::{Category, Code, CodeInfo, Severity};
            use std::borrow::Cow;

            $(#[doc = concat!("`", $code, "`: ", $meaning, "\n\n", $action)]
            pub const $name: Code = Code(Cow::Borrowed($code));)*

            /// Every code, in the order of the table.
            pub const ALL: &[CodeInfo] = &[$(CodeInfo {
                code: $code,
                category: Category::$category,
                retryable: codes!(@retry $retry),
                severity: Severity::$severity,
                http_status: $http,
                meaning: $meaning,
                action: $action,
            },)*];
        }
    };
    (@retry retry) => { true };
    (@retry final) => { false };
}

codes! {
    INVALID_JSON = "ERR_INVALID_JSON", Input, final, Warning, 400, "The text is not JSON.", "Correct the text at the line and column given.";
    INVALID_YAML = "ERR_INVALID_YAML", Input, final, Warning, 400, "The text is not YAML.", "Correct the text at the line and column given.";
    NUMBER_OUT_OF_RANGE = "ERR_NUMBER_OUT_OF_RANGE", Input, final, Warning, 400, "A number can't be carried exactly by canonical JSON.", "Send integers beyond 2^53 - 1 as strings.";
    TOO_DEEP = "ERR_TOO_DEEP", Input, final, Warning, 400, "A value nests too deep.", "Flatten the value.";
    PAYLOAD_TOO_LARGE = "ERR_PAYLOAD_TOO_LARGE", Limit, final, Warning, 413, "A payload is larger than the limit.", "Send less, or raise the limit.";
    INVALID_INPUT = "ERR_INVALID_INPUT", Input, final, Warning, 422, "The input does not fit the schema.", "Correct the fields named.";
    INVALID_OUTPUT = "ERR_INVALID_OUTPUT", Skill, final, Error, 422, "A skill's output does not fit its schema.", "Correct the skill, or its contract.";
    INVALID_DEFINITION = "ERR_INVALID_DEFINITION", Workflow, final, Warning, 422, "A workflow definition has mistakes.", "Correct every place listed.";
    INVALID_REQUEST = "ERR_INVALID_REQUEST", Input, final, Warning, 400, "A request, parameter or setting is malformed.", "Correct the part named.";
    INVALID_SETTING = "ERR_INVALID_SETTING", Input, final, Error, 500, "A setting has a value it can't have.", "Correct the key named; the message has an example.";
    EXPRESSION_FAILED = "ERR_EXPRESSION_FAILED", Workflow, final, Warning, 422, "An expression of a workflow could not be evaluated.", "Correct the expression at the path given.";
    NOT_FOUND = "ERR_NOT_FOUND", Input, final, Info, 404, "There is no such thing.", "Check the name; list what there is.";
    CONFLICT = "ERR_CONFLICT", Input, final, Warning, 409, "The request contradicts the current state.", "Read the current state and decide again.";
    IDEMPOTENCY_MISMATCH = "ERR_IDEMPOTENCY_MISMATCH", Input, final, Warning, 422, "The idempotency key was used with another request.", "Use a new key for a new request.";
    SKILL_NOT_FOUND = "ERR_SKILL_NOT_FOUND", Workflow, final, Warning, 422, "No registered skill version fits the requirement.", "Register the skill, or change the requirement.";
    SKILL_DISABLED = "ERR_SKILL_DISABLED", Operator, final, Warning, 409, "The skill version is disabled.", "Enable it, or ask for another version.";
    SKILL_NOT_IN_PLAN = "ERR_SKILL_NOT_IN_PLAN", Workflow, final, Error, 422, "A program called a skill that its plan does not pin.", "Declare the skill among those the workflow uses.";
    WORKFLOW_NOT_FOUND = "ERR_WORKFLOW_NOT_FOUND", Workflow, final, Warning, 422, "No registered workflow version fits the requirement.", "Register the workflow, or change the requirement.";
    WORKFLOW_DISABLED = "ERR_WORKFLOW_DISABLED", Operator, final, Warning, 409, "The workflow version is disabled.", "Enable it, or ask for another version.";
    WORKFLOW_STALLED = "ERR_WORKFLOW_STALLED", Workflow, final, Error, 500, "A workflow waits for something that is not an effect.", "Await only what the workflow's context gives.";
    WORKFLOW_PANICKED = "ERR_WORKFLOW_PANICKED", Workflow, final, Error, 500, "A workflow's code panicked.", "Correct the code; the message has the panic.";
    EFFECT_ID_INVALID = "ERR_EFFECT_ID_INVALID", Workflow, final, Error, 422, "An effect's name is not allowed, or was used twice.", "Give every effect of one scope its own short name.";
    SKILL_FAILED = "ERR_SKILL_FAILED", Skill, final, Warning, 500, "A skill failed.", "See the message and details.";
    SKILL_PANICKED = "ERR_SKILL_PANICKED", Skill, final, Error, 500, "A skill's code panicked.", "Correct the skill; the message has the panic.";
    TIMEOUT = "ERR_TIMEOUT", Limit, retry, Warning, 504, "An effect took longer than its timeout.", "Raise the timeout, or make the effect faster.";
    OUTCOME_UNKNOWN = "ERR_OUTCOME_UNKNOWN", Host, final, Error, 500, "A crash left a `once` effect begun and without a result.", "Find out what happened outside, then decide: on_error, retry by hand, or fail.";
    RUN_DEAD = "ERR_RUN_DEAD", Host, final, Error, 500, "Workers have died with the run too often.", "Find out why in their logs, then start it anew or fork it.";
    BUDGET_EXCEEDED = "ERR_BUDGET_EXCEEDED", Limit, final, Warning, 402, "An effect would pass the run's budget.", "Raise the budget, or spend less.";
    LIMIT_EXCEEDED = "ERR_LIMIT_EXCEEDED", Limit, final, Warning, 422, "A run reached one of its limits.", "See which in the message; split the work, or raise the limit.";
    AGENT_TURN_LIMIT = "ERR_AGENT_TURN_LIMIT", Limit, final, Warning, 422, "An agent had no final answer when its turns were used up.", "Allow more turns, ask for less, or fork the run at one of its turns.";
    AGENT_UNKNOWN_TOOL = "ERR_AGENT_UNKNOWN_TOOL", Llm, final, Warning, 422, "A model asked for a tool that its agent does not have.", "Nothing: nothing is called, and the model is told which tools there are.";
    APPROVAL_DENIED = "ERR_APPROVAL_DENIED", Operator, final, Info, 403, "A person declined a tool call of an agent.", "Nothing: the call is not made, and the model is told why.";
    CANCELLED = "ERR_CANCELLED", Operator, final, Info, 409, "The run was cancelled.", "Nothing, if that was intended.";
    SCHEDULE_OVERLAP = "ERR_SCHEDULE_OVERLAP", Operator, final, Info, 409, "A scheduled time was left out: the run of an earlier one had not ended.", "Nothing, if that was intended; else let the runs overlap, or leave more time between them.";
    CHILD_FAILED = "ERR_CHILD_FAILED", Workflow, final, Warning, 500, "A child run failed.", "See the child run named in the details.";
    DRIFT = "ERR_DRIFT", Replay, final, Error, 409, "Replay and journal disagree.", "Read the drift report; accept the change with a new golden, or undo it.";
    JOURNAL_CORRUPT = "ERR_JOURNAL_CORRUPT", Replay, final, Error, 422, "A journal is damaged.", "Restore it from a copy; the message names the entry.";
    JOURNAL_VERSION = "ERR_JOURNAL_VERSION", Replay, final, Error, 422, "A journal has a format version that this release can't read.", "Use a release that knows the version.";
    FENCED = "ERR_FENCED", Host, final, Warning, 409, "The writer no longer holds the run's lease.", "Nothing: another worker advances the run.";
    STORE_UNAVAILABLE = "ERR_STORE_UNAVAILABLE", Host, retry, Error, 503, "The store can't be reached or answered with an error.", "Check the database; work continues by itself.";
    STORE_CORRUPT = "ERR_STORE_CORRUPT", Host, final, Error, 500, "The store holds something it should not.", "Restore from a backup; the message names the row.";
    QUEUE_FULL = "ERR_QUEUE_FULL", Limit, retry, Warning, 429, "Too many runs wait.", "Try again after the time given.";
    RATE_LIMITED = "ERR_RATE_LIMITED", Limit, retry, Warning, 429, "Too many requests.", "Try again after the time given.";
    UNAUTHENTICATED = "ERR_UNAUTHENTICATED", Input, final, Warning, 401, "No valid API key was sent.", "Send a key as a bearer token.";
    FORBIDDEN = "ERR_FORBIDDEN", Input, final, Warning, 403, "The API key may not do this.", "Use a key with the scope named.";
    HTTP_BLOCKED = "ERR_HTTP_BLOCKED", Skill, final, Warning, 422, "A request to an address that is not allowed.", "Allow the host if it is meant to be reached.";
    HTTP_STATUS = "ERR_HTTP_STATUS", Skill, final, Warning, 502, "A server answered with an error status.", "See the status in the details.";
    HTTP_FAILED = "ERR_HTTP_FAILED", Skill, retry, Warning, 502, "A request could not be completed.", "See the message: name resolution, connection, TLS or transfer.";
    HTTP_TOO_LARGE = "ERR_HTTP_TOO_LARGE", Limit, final, Warning, 502, "A response was larger than the bound.", "Raise `max_bytes`, or ask for less.";
    TRANSFORM_FAILED = "ERR_TRANSFORM_FAILED", Skill, final, Warning, 422, "A JSON transformation could not be carried out.", "Correct the operation named.";
    LLM_ADAPTER_NOT_FOUND = "ERR_LLM_ADAPTER_NOT_FOUND", Llm, final, Error, 422, "No adapter has this name.", "Use one of those listed in the message.";
    LLM_ADAPTER_DISABLED = "ERR_LLM_ADAPTER_DISABLED", Operator, final, Warning, 409, "Live adapters are switched off.", "Switch them on, or use the stub.";
    LLM_AUTH_FAILED = "ERR_LLM_AUTH_FAILED", Llm, final, Error, 502, "The provider refused the API key.", "Check the key.";
    LLM_PERMISSION_DENIED = "ERR_LLM_PERMISSION_DENIED", Llm, final, Error, 502, "The API key may not use this model or feature.", "Give the key the permission, or use another model.";
    LLM_SPEND_LIMIT = "ERR_LLM_SPEND_LIMIT", Llm, final, Error, 402, "The provider's spend limit or credit is used up.", "Raise the limit, or add credit, with the provider.";
    LLM_RATE_LIMIT = "ERR_LLM_RATE_LIMIT", Limit, retry, Warning, 429, "The rate limit set here left no turn in time.", "Nothing: it is retried after the time given; raise CLAUDE_RATE_LIMIT_RPM or _TPM if the provider allows more.";
    LLM_RATE_LIMITED = "ERR_LLM_RATE_LIMITED", Llm, retry, Warning, 429, "The provider's rate limit was reached.", "Nothing: it is retried after the time given.";
    LLM_OVERLOADED = "ERR_LLM_OVERLOADED", Llm, retry, Warning, 503, "The provider is overloaded.", "Nothing: it is retried.";
    LLM_TIMEOUT = "ERR_LLM_TIMEOUT", Llm, retry, Warning, 504, "The provider did not answer in time.", "Raise the timeout, or ask for less.";
    LLM_UNREACHABLE = "ERR_LLM_UNREACHABLE", Llm, retry, Warning, 502, "The provider could not be reached; nothing was sent.", "Check the network, the proxy and the base URL; it is retried.";
    LLM_INTERRUPTED = "ERR_LLM_INTERRUPTED", Llm, retry, Warning, 502, "The connection ended before the answer did.", "Nothing: it is retried, unless a part of the answer was shown already.";
    LLM_PROVIDER_ERROR = "ERR_LLM_PROVIDER_ERROR", Llm, retry, Warning, 502, "The provider had an error of its own.", "Nothing: it is retried; give its support the request id in the details.";
    LLM_CIRCUIT_OPEN = "ERR_LLM_CIRCUIT_OPEN", Llm, retry, Warning, 503, "The adapter has failed again and again and is left alone for a while.", "Nothing: it is tried again after the time given.";
    LLM_REQUEST_TOO_LARGE = "ERR_LLM_REQUEST_TOO_LARGE", Llm, final, Warning, 413, "The request is larger than the provider takes.", "Send less.";
    LLM_CONTEXT_TOO_LONG = "ERR_LLM_CONTEXT_TOO_LONG", Llm, final, Warning, 422, "The prompt does not fit the model's context.", "Send less, or use a model with a longer context.";
    LLM_CONTENT_BLOCKED = "ERR_LLM_CONTENT_BLOCKED", Llm, final, Warning, 422, "The model declined to answer.", "Change the prompt.";
    LLM_INVALID_MODEL = "ERR_LLM_INVALID_MODEL", Llm, final, Error, 422, "The provider does not know the model.", "Use a model the provider lists.";
    LLM_INVALID_REQUEST = "ERR_LLM_INVALID_REQUEST", Llm, final, Error, 422, "The provider refused the request.", "Correct the part named.";
    LLM_INVALID_RESPONSE = "ERR_LLM_INVALID_RESPONSE", Llm, retry, Warning, 502, "The model's answer can't be used.", "See the message; ask more precisely.";
    LLM_CASSETTE_MISS = "ERR_LLM_CASSETTE_MISS", Llm, final, Error, 422, "The cassette has no answer for this request.", "Record it again; the message shows the nearest request.";
    INTERNAL = "ERR_INTERNAL", Internal, final, Error, 500, "AOS broke one of its own rules.", "Please report it with the message.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut seen = std::collections::HashSet::new();
        for info in codes::ALL {
            assert!(seen.insert(info.code), "{} twice", info.code);
            let rest = info.code.strip_prefix("ERR_").unwrap();
            assert!(rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{}", info.code);
            assert!(info.meaning.ends_with('.') && info.action.ends_with('.'), "{}", info.code);
        }
    }

    #[test]
    fn a_failure_round_trips() {
        let failure = Failure::new(codes::LLM_RATE_LIMITED, "slow down").retry_after(Duration::from_secs(2));
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), failure);
        assert!(failure.retryable);
    }
}
