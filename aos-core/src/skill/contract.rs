//! What a skill promises: the part of a skill that is data.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::canonical::{Hash, push_integer};
use crate::error::{Failure, codes};
use crate::id::SkillId;
use crate::money::Money;
use crate::payload::Payload;
use crate::retry::RetryPolicy;

/// Whether the same input always gives the same output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Determinism {
    /// The output is a function of the input and the seed.
    Deterministic,
    /// The output depends on the outside; replay takes it from the journal.
    Recorded,
}

/// What may happen to an attempt whose outcome a crash has hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashClass {
    /// Touches nothing outside: recompute freely.
    Pure,
    /// May run again under the same idempotency key.
    Idempotent,
    /// Never runs twice: an intent without a result becomes `ERR_OUTCOME_UNKNOWN`.
    Once,
}

/// What an attempt costs, as declared; the journal has what it did cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostModel {
    /// Upper bound of one attempt, reserved from the budget before it starts.
    pub estimate: Money,
}

/// A skill at one exact version, `id@version` as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SkillVersion {
    /// The skill's name.
    pub id: SkillId,
    /// The exact version.
    pub version: Version,
}

impl SkillVersion {
    /// Appends `id@version` to `text`, which every entry of a call has.
    pub(crate) fn push_to(&self, text: &mut String) {
        text.push_str(self.id.as_str());
        text.push('@');
        let Version { major, minor, patch, pre, build } = &self.version;
        push_integer(text, *major);
        text.push('.');
        push_integer(text, *minor);
        text.push('.');
        push_integer(text, *patch);
        if !pre.is_empty() {
            text.push('-');
            text.push_str(pre);
        }
        if !build.is_empty() {
            text.push('+');
            text.push_str(build);
        }
    }
}

impl fmt::Display for SkillVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

impl FromStr for SkillVersion {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let error =
            |why: String| Failure::new(codes::INVALID_REQUEST, format!("{text:?} is not a skill version: {why}"));
        let (id, version) = text.split_once('@').ok_or_else(|| error("expected id@1.2.3".into()))?;
        Ok(Self {
            id: SkillId::new(id).map_err(|e| error(e.to_string()))?,
            version: version.parse().map_err(|e: semver::Error| error(e.to_string()))?,
        })
    }
}

impl Serialize for SkillVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SkillVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

/// What a skill is and promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillContract {
    /// Name and exact version.
    #[serde(rename = "skill")]
    pub version: SkillVersion,
    /// One sentence for people and models.
    #[serde(default)]
    pub description: String,
    /// JSON Schema (2020-12) of the input.
    pub input_schema: Value,
    /// JSON Schema (2020-12) of the output.
    pub output_schema: Value,
    /// Whether the same input always gives the same output.
    pub determinism: Determinism,
    /// What may happen to an attempt whose outcome a crash has hidden.
    pub crash: CrashClass,
    /// What an attempt costs.
    #[serde(default)]
    pub cost: CostModel,
    /// JSON pointers to output fields that differ from call to call without meaning (durations, dates): recorded
    /// and replayed like the rest, but not part of the content hash.
    #[serde(default)]
    pub volatile: Vec<String>,
    /// How long one attempt may take, in milliseconds, unless the workflow says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How failures are retried, unless the workflow says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
}

impl SkillContract {
    fn with_class(id: &str, version: &str, determinism: Determinism, crash: CrashClass) -> Result<Self, Failure> {
        Ok(Self {
            version: format!("{id}@{version}").parse()?,
            description: String::new(),
            input_schema: json!(true),
            output_schema: json!(true),
            determinism,
            crash,
            cost: CostModel::default(),
            volatile: Vec::new(),
            timeout_ms: None,
            retry: None,
        })
    }

    /// A deterministic skill that touches nothing outside, with schemas that allow everything.
    ///
    /// # Errors
    /// [`codes::INVALID_REQUEST`] when the id or the version is malformed.
    pub fn pure(id: &str, version: &str) -> Result<Self, Failure> {
        Self::with_class(id, version, Determinism::Deterministic, CrashClass::Pure)
    }

    /// A recorded skill that may run again under the same idempotency key.
    ///
    /// # Errors
    /// As [`SkillContract::pure`].
    pub fn idempotent(id: &str, version: &str) -> Result<Self, Failure> {
        Self::with_class(id, version, Determinism::Recorded, CrashClass::Idempotent)
    }

    /// A recorded skill that never runs twice.
    ///
    /// # Errors
    /// As [`SkillContract::pure`].
    pub fn once(id: &str, version: &str) -> Result<Self, Failure> {
        Self::with_class(id, version, Determinism::Recorded, CrashClass::Once)
    }

    /// Sets the sentence for people and models.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Sets the schemas of input and output.
    #[must_use]
    pub fn schemas(mut self, input: Value, output: Value) -> Self {
        (self.input_schema, self.output_schema) = (input, output);
        self
    }

    /// Sets the declared upper bound of one attempt's cost.
    #[must_use]
    pub fn estimate(mut self, estimate: Money) -> Self {
        self.cost.estimate = estimate;
        self
    }

    /// Names output fields (JSON pointers) that are not part of the content hash.
    #[must_use]
    pub fn volatile(mut self, pointers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.volatile = pointers.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how long one attempt may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = u64::try_from(timeout.as_millis()).ok();
        self
    }

    /// Sets how failures are retried.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// SHA-256 of the contract's canonical JSON.
    ///
    /// # Errors
    /// A schema with a number that canonical JSON can't carry.
    pub fn hash(&self) -> Result<Hash, Failure> {
        Ok(Payload::from_serialize(self)?.hash())
    }
}
