//! The content hash: SHA-256 over what a run meant, and nothing else.
//!
//! The hashed text is canonical JSON of
//! `{"effects":[…],"input":H,"output":H,"plan":H,"seed":n,"status":s,"v":1}`, where `H` are hashes in hex and each
//! effect, in the byte order of the effect ids, is
//! `{"attempts":[codes…],"cost":"…","effect":id,"input":H,"kind":k,"output":H|null,"target":name|null}`.
//! docs/src/journal.md defines each member so that it can be computed from a journal's entries and the plan alone;
//! tests/engine/content_hash.rs does.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::canonical::{Hash, push_string};
use crate::engine::effect::{Effects, Pending, stable_hash};
use crate::error::Code;
use crate::event::{Requested, RunStarted, RunStatus};
use crate::id::EffectId;
use crate::money::Money;
use crate::payload::Payload;
use crate::skill::SkillVersion;
use crate::workflow::WorkflowVersion;

/// The version of the content hash's definition.
pub const CONTENT_VERSION: u64 = 1;

/// What an ended effect contributes to the content hash.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    failed: Vec<Code>,
    cost: Money,
    kind: &'static str,
    target: Target,
    input: Hash,
    /// The output's hash; `None` when the effect failed.
    output: Option<Hash>,
}

#[derive(Clone, Debug, PartialEq)]
enum Target {
    None,
    Skill(SkillVersion),
    Workflow(WorkflowVersion),
    Name(String),
}

impl Leaf {
    pub(super) fn completed(pending: Pending, output: &Payload, child: Option<Hash>) -> Self {
        let mut hash = stable_hash(output, &pending.policy.volatile);
        if let Some(child) = child {
            hash = Hash::of(format!("{child}{hash}"));
        }
        Self::new(pending, Some(hash))
    }

    pub(super) fn failed(mut pending: Pending, code: Code) -> Self {
        pending.failed.push(code);
        Self::new(pending, None)
    }

    /// An effect that was refused before it was requested.
    pub(super) fn refused(code: Code) -> Self {
        Self {
            failed: vec![code],
            cost: Money::ZERO,
            kind: "refused",
            target: Target::None,
            input: Hash::of("null"),
            output: None,
        }
    }

    fn new(pending: Pending, output: Option<Hash>) -> Self {
        let (kind, target, input) = match pending.request {
            Requested::Call { skill, input } => ("call", Target::Skill(skill), input.hash()),
            Requested::Child { workflow, input } => ("child", Target::Workflow(workflow), input.hash()),
            Requested::Sleep { duration_ms } => ("sleep", Target::None, Hash::of(duration_ms.to_string())),
            Requested::Signal { name } => ("signal", Target::Name(name), Hash::of("null")),
            Requested::Now => ("now", Target::None, Hash::of("null")),
            Requested::Random => ("random", Target::None, Hash::of("null")),
            Requested::Patched { name } => ("patched", Target::Name(name), Hash::of("null")),
        };
        Self { failed: pending.failed, cost: pending.spent, kind, target, input, output }
    }

    fn write(&self, effect: &EffectId, text: &mut String) {
        text.push_str("{\"attempts\":[");
        for code in &self.failed {
            push_string(text, code.as_str());
            text.push(',');
        }
        match self.output {
            Some(_) => text.push_str("\"ok\""),
            None => drop(text.pop()),
        }
        text.push_str("],\"cost\":\"");
        if self.cost.is_zero() {
            text.push('0');
        } else {
            // Writing into a String never fails.
            let _ = write!(text, "{}", self.cost);
        }
        text.push_str("\",\"effect\":");
        push_string(text, effect.as_str());
        push_hash(text, ",\"input\":\"", self.input);
        text.push_str("\",\"kind\":\"");
        text.push_str(self.kind);
        text.push_str("\",\"output\":");
        match self.output {
            Some(hash) => {
                push_hash(text, "\"", hash);
                text.push('"');
            }
            None => text.push_str("null"),
        }
        text.push_str(",\"target\":");
        match &self.target {
            Target::None => text.push_str("null"),
            Target::Skill(skill) => {
                text.push('"');
                skill.push_to(text);
                text.push('"');
            }
            Target::Workflow(workflow) => {
                let _ = write!(text, "\"{workflow}\"");
            }
            Target::Name(name) => push_string(text, name),
        }
        text.push('}');
    }
}

fn push_hash(text: &mut String, before: &str, hash: Hash) {
    text.push_str(before);
    text.push_str(hash.to_hex().as_str());
}

/// The content hash of a run that ended with `status`; `output` is the hash of its output, or of its failure's code.
pub(super) fn of_run(started: &RunStarted, effects: &Effects, status: RunStatus, output: Hash) -> Hash {
    let leaves = effects.leaves();
    let mut hasher = Sha256::new();
    let mut text = String::with_capacity(512);
    text.push_str("{\"effects\":[");
    for (index, (effect, leaf)) in leaves.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        leaf.write(effect, &mut text);
        hasher.update(&text);
        text.clear();
    }
    push_hash(&mut text, "],\"input\":\"", started.input.hash());
    push_hash(&mut text, "\",\"output\":\"", output);
    push_hash(&mut text, "\",\"plan\":\"", started.plan);
    let _ = write!(text, "\",\"seed\":{},\"status\":\"{}\",\"v\":{CONTENT_VERSION}}}", started.seed, status.as_str());
    hasher.update(&text);
    Hash::from(<[u8; 32]>::from(hasher.finalize()))
}
