//! The fields of a scenario file.

use std::path::PathBuf;

use aos_core::canonical::Hash;
use aos_core::llm::{Content, StopReason};
use aos_core::money::Money;
use aos_core::runs::RunState;
use serde::Deserialize;
use serde_json::Value;

/// A scenario as its file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, for people.
    pub story: String,
    /// A definition file.
    #[serde(default)]
    pub workflow: Option<PathBuf>,
    /// A Rust workflow, `id@version`. It may call every skill of the stage.
    #[serde(default)]
    pub flow: Option<String>,
    /// Workflows that it may start as children: definition files for a definition, `id@version` for a Rust workflow.
    #[serde(default)]
    pub children: Vec<String>,
    /// The run's input.
    #[serde(default)]
    pub input: Value,
    /// The run's seed.
    #[serde(default)]
    pub seed: u64,
    /// What the run may spend.
    #[serde(default)]
    pub budget: Option<Money>,
    /// What `http_call` serves.
    #[serde(default)]
    pub pages: Vec<PageFile>,
    /// Skills that answer as written down.
    #[serde(default)]
    pub scripts: Vec<Script>,
    /// What the model answers; without any, the stub is the only model.
    #[serde(default)]
    pub model: Vec<ModelTurn>,
    /// Whether every call of a model goes to the stub all the same, as `FORCE_STUB_ADAPTER` has it.
    #[serde(default)]
    pub force_stub_adapter: bool,
    /// Skills that agents of a Rust workflow may offer to a model, by id.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Signals that come.
    #[serde(default)]
    pub signals: Vec<SignalAt>,
    /// Requests to stop.
    #[serde(default)]
    pub cancels: Vec<CancelAt>,
    /// Workers that die.
    #[serde(default)]
    pub crashes: Vec<CrashAt>,
    /// What is to come of it.
    pub expect: Expectation,
    /// Where the file is: paths in it are relative to this.
    #[serde(skip)]
    pub directory: PathBuf,
}

/// A page that `http_call` serves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageFile {
    /// Its URL. The same URL again is the next answer.
    pub url: String,
    /// A file with its body.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Its body.
    #[serde(default)]
    pub body: Option<String>,
    /// Its content type; JSON is parsed.
    #[serde(default = "json_type")]
    pub content_type: String,
    /// Its status.
    #[serde(default = "ok")]
    pub status: u16,
}

/// A skill that answers as written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The skill, `id@version`. It is idempotent and takes and gives anything.
    pub skill: String,
    /// Its answers.
    pub turns: Vec<ScriptTurn>,
}

/// One answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptTurn {
    /// The output.
    #[serde(default)]
    pub give: Option<Value>,
    /// The failure.
    #[serde(default)]
    pub fail: Option<ScriptFailure>,
    /// Only for calls of this effect.
    #[serde(default)]
    pub effect: Option<String>,
    /// How long it takes.
    #[serde(default)]
    pub after_ms: u64,
    /// What it costs.
    #[serde(default)]
    pub cost_cents: u64,
}

/// One answer of the model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTurn {
    /// The blocks of the answer.
    #[serde(default)]
    pub say: Vec<Content>,
    /// Why the model stops.
    #[serde(default = "end_turn")]
    pub stop: StopReason,
    /// The failure, in place of an answer.
    #[serde(default)]
    pub fail: Option<ScriptFailure>,
    /// Only for calls of this effect.
    #[serde(default)]
    pub effect: Option<String>,
    /// How long it takes.
    #[serde(default)]
    pub after_ms: u64,
    /// What it costs.
    #[serde(default)]
    pub cost_cents: u64,
}

/// A failure as a script has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptFailure {
    /// The stable code.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// Whether another attempt may help.
    #[serde(default)]
    pub retryable: bool,
}

/// A signal that comes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalAt {
    /// When, after the start.
    pub after_ms: u64,
    /// Its name.
    pub name: String,
    /// What it carries.
    #[serde(default)]
    pub payload: Value,
}

/// A request to stop.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelAt {
    /// When, after the start.
    pub after_ms: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// A worker that dies, as `{before: n}` or `{after: n}`, by the number of the simulation's append.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashAt {
    /// Before the append is durable.
    Before(u64),
    /// After it is durable, before the writer knows.
    After(u64),
}

/// What is to come of a scenario. What is not given is not looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// How the run ends.
    pub status: RunState,
    /// Its output.
    #[serde(default)]
    pub output: Option<Value>,
    /// The code of its failure.
    #[serde(default)]
    pub code: Option<String>,
    /// Its content hash.
    #[serde(default)]
    pub hash: Option<Hash>,
}

const fn end_turn() -> StopReason {
    StopReason::EndTurn
}

fn json_type() -> String {
    "application/json".into()
}

const fn ok() -> u16 {
    200
}
