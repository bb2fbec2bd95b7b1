//! Names of things: one small type each, so that a run's id can't be passed where a worker's is meant.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::canonical::Hash;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a valid {what}: expected {expected}")]
pub struct IdError {
    what: &'static str,
    found: String,
    expected: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $valid:expr, $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Checks and takes a text as a ", $what, ".")]
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    return Ok(Self(text.into()));
                }
                Err(IdError { what: $what, found: text.chars().take(80).collect(), expected: $expected })
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::text::deserialize(deserializer)
            }
        }
    )*};
}

ids! {
    /// One execution of a plan. The host makes it (a UUIDv7, say); a child run's is `<parent>.<effect>`-derived.
    RunId: "run id", |s| word(s, 128, b"-_."), "1 to 128 letters, digits, '-', '_' or '.'";
    /// One process (or thread) that advances runs.
    WorkerId: "worker id", |s| word(s, 128, b"-_.:"), "1 to 128 letters, digits, '-', '_', '.' or ':'";
    /// The owner of runs, keys and limits; `default` until keys say otherwise.
    TenantId: "tenant id", |s| word(s, 64, b"-_"), "1 to 64 letters, digits, '-' or '_'";
    /// The name of a skill, without its version.
    SkillId: "skill id", name, "1 to 64 of a-z, 0-9, '_', '-', '.', starting with a letter";
    /// The name of a workflow, without its version.
    WorkflowId: "workflow id", name, "1 to 64 of a-z, 0-9, '_', '-', '.', starting with a letter";
    /// The name of a schedule.
    ScheduleId: "schedule id", |s| word(s, 64, b"-_."), "1 to 64 letters, digits, '-', '_' or '.'";
    /// One call of a model's provider, as the ledger knows it. The host makes it (a UUIDv7, say), anew for each.
    CallId: "call id", |s| word(s, 64, b"-_"), "1 to 64 letters, digits, '-' or '_'";
    /// The name of an API key; not the key.
    ApiKeyId: "API key id", |s| word(s, 64, b"-_."), "1 to 64 letters, digits, '-', '_' or '.'";
    /// The structural name of one effect of a run: steps, loop indices and branches, `/`-separated
    /// (`fetch`, `enrich[3]`, `review/approve`); independent of who finished first.
    EffectId: "effect id", effect, "1 to 256 printable ASCII characters without spaces";
}

impl Default for TenantId {
    fn default() -> Self {
        Self("default".into())
    }
}

impl EffectId {
    /// `self` followed by a loop index: `enrich` and 3 give `enrich[3]`.
    pub fn index(&self, index: usize) -> Result<Self, IdError> {
        Self::new(format!("{}[{index}]", self.0))
    }

    /// 32 hex digits for what belongs to this effect of `run` and to nothing else: the start of SHA-256 of both names
    /// with a line feed between them.
    pub fn key_in(&self, run: &RunId) -> String {
        Hash::of([run.as_str(), self.as_str()].join("\n")).to_hex().as_str()[..32].to_owned()
    }

    /// `name` within the scope of `self`: `review` and `approve` give `review/approve`.
    pub fn child(&self, name: &str) -> Result<Self, IdError> {
        Self::new(format!("{}/{name}", self.0))
    }
}

fn word(text: &str, max: usize, also: &[u8]) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

fn name(text: &str) -> bool {
    word(text, 64, b"_-.")
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.bytes().any(|b| b.is_ascii_uppercase())
}

fn effect(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic())
}
