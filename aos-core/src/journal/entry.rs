//! The wire form of an entry: one line of canonical JSON, each carrying the hash of the line before it.
//!
//! The fields of [`Wire`] are listed in canonical order, so that `serde_json`'s output of it *is* RFC 8785; all
//! numbers in it are integers below 2^53 and all payloads are canonical already.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::canonical::Hash;
use crate::error::{Code, Failure, codes};
use crate::event::{Event, Fork, Requested, RunFinished, RunStarted, RunStatus};
use crate::id::{EffectId, RunId, TenantId};
use crate::money::Money;
use crate::payload::Payload;
use crate::random::Seed;
use crate::skill::SkillVersion;
use crate::time::Timestamp;
use crate::workflow::WorkflowVersion;

/// The version of the wire form that this release writes.
pub const WIRE_VERSION: u64 = 1;

/// The longest payload, in bytes of canonical text, that stands in an entry itself; a longer one is a blob.
pub const INLINE_PAYLOAD_BYTES: usize = 32 * 1024;

/// One entry of a journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place, from 0.
    pub index: u64,
    /// When the host learned it.
    pub at: Timestamp,
    /// What it says.
    pub event: Event,
}

/// An entry as stored: one line of canonical JSON without a line end.
#[derive(Clone, PartialEq, Eq)]
pub struct Line(Arc<str>);

impl Line {
    /// Takes a stored text as it is; [`decode`] judges it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash that the next line carries as `prev`: SHA-256 of the text.
    pub fn hash(&self) -> Hash {
        Hash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A payload outside the entry, by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// Length of the canonical text in bytes.
    pub bytes: u64,
    /// SHA-256 of the canonical text.
    pub sha256: Hash,
}

/// Why a line is not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The line has a format version that this release doesn't know.
    #[error("the entry has format version {found}, and this release reads version {WIRE_VERSION}")]
    Version {
        /// The version found.
        found: u64,
    },
    /// The line is not a well-formed entry.
    #[error("the entry is malformed: {0}")]
    Malformed(String),
    /// A payload that the entry refers to was not there.
    #[error("the payload {0} that the entry refers to is missing")]
    MissingBlob(Hash),
}

impl EntryError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Version { .. } => codes::JOURNAL_VERSION,
            Self::Malformed(_) | Self::MissingBlob(_) => codes::JOURNAL_CORRUPT,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    child: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_hash: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<EffectId>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    failure: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forked_from: Option<WireFork>,
    index: u64,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    input: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_blob: Option<BlobRef>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    output: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_blob: Option<BlobRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Hash>,
    prev: Hash,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<Seed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skill: Option<SkillVersion>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    status: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<TenantId>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    v: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<WorkflowVersion>,
}

/// A payload that is there, `null` included, which an `Option` alone would take for absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFork {
    effect: EffectId,
    run: RunId,
}

impl<'a> Wire<'a> {
    const fn new(event_type: &'static str) -> Self {
        Self {
            at: Timestamp::EPOCH,
            attempt: None,
            budget: None,
            child: None,
            content_hash: None,
            cost: None,
            duration_ms: None,
            effect: None,
            failure: None,
            forked_from: None,
            index: 0,
            input: None,
            input_blob: None,
            kind: None,
            name: None,
            output: None,
            output_blob: None,
            plan: None,
            prev: Hash::ZERO,
            reason: None,
            retry_at: None,
            run: None,
            seed: None,
            seq: None,
            skill: None,
            status: None,
            tenant: None,
            event_type: Cow::Borrowed(event_type),
            v: WIRE_VERSION,
            workflow: None,
        }
    }

    fn set_input(&mut self, payload: &'a Payload, blobs: &mut Vec<Payload>) {
        (self.input, self.input_blob) = place(payload, blobs);
    }

    fn set_output(&mut self, payload: &'a Payload, blobs: &mut Vec<Payload>) {
        (self.output, self.output_blob) = place(payload, blobs);
    }

    /// A field that is present although no entry of this type has it.
    fn left_over(&self) -> Option<&'static str> {
        let present = [
            ("attempt", self.attempt.is_some()),
            ("budget", self.budget.is_some()),
            ("child", self.child.is_some()),
            ("content_hash", self.content_hash.is_some()),
            ("cost", self.cost.is_some()),
            ("duration_ms", self.duration_ms.is_some()),
            ("effect", self.effect.is_some()),
            ("failure", self.failure.is_some()),
            ("forked_from", self.forked_from.is_some()),
            ("input", self.input.is_some()),
            ("input_blob", self.input_blob.is_some()),
            ("kind", self.kind.is_some()),
            ("name", self.name.is_some()),
            ("output", self.output.is_some()),
            ("output_blob", self.output_blob.is_some()),
            ("plan", self.plan.is_some()),
            ("reason", self.reason.is_some()),
            ("retry_at", self.retry_at.is_some()),
            ("run", self.run.is_some()),
            ("seed", self.seed.is_some()),
            ("seq", self.seq.is_some()),
            ("skill", self.skill.is_some()),
            ("status", self.status.is_some()),
            ("tenant", self.tenant.is_some()),
            ("workflow", self.workflow.is_some()),
        ];
        present.into_iter().find_map(|(name, there)| there.then_some(name))
    }
}

fn place<'a>(payload: &'a Payload, blobs: &mut Vec<Payload>) -> (Option<&'a RawValue>, Option<BlobRef>) {
    if payload.len() <= INLINE_PAYLOAD_BYTES {
        return (Some(payload.raw()), None);
    }
    blobs.push(payload.clone());
    (None, Some(BlobRef { bytes: payload.len() as u64, sha256: payload.hash() }))
}

fn raw_failure(failure: &Failure) -> Cow<'static, RawValue> {
    // `Failure::details` normalises what callers put in, so this conversion only fails if a public field was
    // filled with something else; the code must survive even then.
    let payload = Payload::from_serialize(failure).or_else(|_| {
        Payload::from_serialize(&Failure { details: failure.details.to_string().into(), ..failure.clone() })
    });
    Cow::Owned(payload.unwrap_or_default().raw().to_owned())
}

/// Writes an entry as the line that follows the one whose hash is `prev` ([`Hash::ZERO`] for the first). Payloads
/// over [`INLINE_PAYLOAD_BYTES`] are pushed to `blobs` and referred to by hash.
pub fn encode(index: u64, at: Timestamp, event: &Event, prev: Hash, blobs: &mut Vec<Payload>) -> Line {
    let mut wire = match event {
        Event::RunStarted(started) => {
            let mut wire = Wire::new("run_started");
            wire.run = Some(started.run.clone());
            wire.tenant = Some(started.tenant.clone());
            wire.workflow = Some(started.workflow.clone());
            wire.plan = Some(started.plan);
            wire.seed = Some(started.seed);
            wire.budget = started.budget;
            wire.forked_from =
                started.forked_from.as_ref().map(|f| WireFork { effect: f.effect.clone(), run: f.run.clone() });
            wire.set_input(&started.input, blobs);
            wire
        }
        Event::EffectRequested { effect, request } => {
            let mut wire = Wire::new("effect_requested");
            wire.effect = Some(effect.clone());
            let kind = match request {
                Requested::Call { skill, input } => {
                    wire.skill = Some(skill.clone());
                    wire.set_input(input, blobs);
                    "call"
                }
                Requested::Child { workflow, input } => {
                    wire.workflow = Some(workflow.clone());
                    wire.set_input(input, blobs);
                    "child"
                }
                Requested::Sleep { duration_ms } => {
                    wire.duration_ms = Some(*duration_ms);
                    "sleep"
                }
                Requested::Signal { name } => {
                    wire.name = Some(Cow::Borrowed(name));
                    "signal"
                }
                Requested::Now => "now",
                Requested::Random => "random",
                Requested::Patched { name } => {
                    wire.name = Some(Cow::Borrowed(name));
                    "patched"
                }
            };
            wire.kind = Some(Cow::Borrowed(kind));
            wire
        }
        Event::EffectCompleted { effect, attempt, output, cost, child } => {
            let mut wire = Wire::new("effect_completed");
            wire.effect = Some(effect.clone());
            wire.attempt = Some(*attempt);
            wire.cost = (!cost.is_zero()).then_some(*cost);
            wire.child = *child;
            wire.set_output(output, blobs);
            wire
        }
        Event::AttemptFailed { effect, attempt, failure, retry_at } => {
            let mut wire = Wire::new("attempt_failed");
            wire.effect = Some(effect.clone());
            wire.attempt = Some(*attempt);
            wire.failure = Some(raw_failure(failure));
            wire.retry_at = Some(*retry_at);
            wire
        }
        Event::EffectFailed { effect, attempt, failure } => {
            let mut wire = Wire::new("effect_failed");
            wire.effect = Some(effect.clone());
            wire.attempt = Some(*attempt);
            wire.failure = Some(raw_failure(failure));
            wire
        }
        Event::SignalReceived { seq, name, payload } => {
            let mut wire = Wire::new("signal_received");
            wire.seq = Some(*seq);
            wire.name = Some(Cow::Borrowed(name));
            wire.set_input(payload, blobs);
            wire
        }
        Event::CancelRequested { seq, reason } => {
            let mut wire = Wire::new("cancel_requested");
            wire.seq = Some(*seq);
            wire.reason = Some(Cow::Borrowed(reason));
            wire
        }
        Event::RunFinished(finished) => {
            let mut wire = Wire::new("run_finished");
            wire.status = Some(Cow::Borrowed(finished.status.as_str()));
            wire.cost = (!finished.cost.is_zero()).then_some(finished.cost);
            wire.content_hash = Some(finished.content_hash);
            wire.failure = finished.failure.as_ref().map(raw_failure);
            if let Some(output) = &finished.output {
                wire.set_output(output, blobs);
            }
            wire
        }
    };
    wire.at = at;
    wire.index = index;
    wire.prev = prev;
    // Plain data with string keys: there is nothing in it that JSON can't express.
    Line(serde_json::to_string(&wire).unwrap_or_default().into())
}

/// The payloads outside the line that it refers to. A malformed line has none; [`decode`] says what is wrong with it.
pub fn blob_refs(line: &Line) -> Vec<Hash> {
    #[derive(Deserialize)]
    struct Refs {
        input_blob: Option<BlobRef>,
        output_blob: Option<BlobRef>,
    }
    // Most lines have none: a look at the text spares the parse.
    if !line.0.contains("put_blob\":") {
        return Vec::new();
    }
    let refs = serde_json::from_str::<Refs>(&line.0).ok();
    refs.into_iter().flat_map(|refs| [refs.input_blob, refs.output_blob]).flatten().map(|blob| blob.sha256).collect()
}

/// Reads a line; gives the entry and the hash of the line before it. `blob` finds payloads kept outside.
///
/// # Errors
/// [`EntryError`]; the caller knows which line it was.
pub fn decode(text: &str, blob: &dyn Fn(&Hash) -> Option<Payload>) -> Result<(Entry, Hash), EntryError> {
    let mut wire: Wire<'_> = serde_json::from_str(text).map_err(|e| malformed_or_newer(text, &e))?;
    if wire.v != WIRE_VERSION {
        return Err(EntryError::Version { found: wire.v });
    }
    let event = event(&mut wire, blob)?;
    if let Some(field) = wire.left_over() {
        return Err(EntryError::Malformed(format!("a {} entry has no field {field:?}", wire.event_type)));
    }
    Ok((Entry { index: wire.index, at: wire.at, event }, wire.prev))
}

/// A line of a later version may have fields that this one doesn't know: say so instead of naming the field.
fn malformed_or_newer(text: &str, error: &serde_json::Error) -> EntryError {
    #[derive(Deserialize)]
    struct Version {
        v: u64,
    }
    match serde_json::from_str::<Version>(text) {
        Ok(Version { v }) if v != WIRE_VERSION => EntryError::Version { found: v },
        _ => EntryError::Malformed(error.to_string()),
    }
}

fn event(wire: &mut Wire<'_>, blob: &dyn Fn(&Hash) -> Option<Payload>) -> Result<Event, EntryError> {
    Ok(match &*wire.event_type {
        "run_started" => Event::RunStarted(RunStarted {
            run: need(&mut wire.run, "run")?,
            tenant: need(&mut wire.tenant, "tenant")?,
            workflow: need(&mut wire.workflow, "workflow")?,
            plan: need(&mut wire.plan, "plan")?,
            input: need_payload(&mut wire.input, &mut wire.input_blob, "input", blob)?,
            seed: need(&mut wire.seed, "seed")?,
            budget: wire.budget.take(),
            forked_from: wire.forked_from.take().map(|f| Fork { run: f.run, effect: f.effect }),
        }),
        "effect_requested" => {
            let kind = need(&mut wire.kind, "kind")?;
            let request = match &*kind {
                "call" => Requested::Call {
                    skill: need(&mut wire.skill, "skill")?,
                    input: need_payload(&mut wire.input, &mut wire.input_blob, "input", blob)?,
                },
                "child" => Requested::Child {
                    workflow: need(&mut wire.workflow, "workflow")?,
                    input: need_payload(&mut wire.input, &mut wire.input_blob, "input", blob)?,
                },
                "sleep" => Requested::Sleep { duration_ms: need(&mut wire.duration_ms, "duration_ms")? },
                "signal" => Requested::Signal { name: need(&mut wire.name, "name")?.into_owned() },
                "now" => Requested::Now,
                "random" => Requested::Random,
                "patched" => Requested::Patched { name: need(&mut wire.name, "name")?.into_owned() },
                other => return Err(EntryError::Malformed(format!("unknown effect kind {other:?}"))),
            };
            Event::EffectRequested { effect: need(&mut wire.effect, "effect")?, request }
        }
        "effect_completed" => Event::EffectCompleted {
            effect: need(&mut wire.effect, "effect")?,
            attempt: need(&mut wire.attempt, "attempt")?,
            output: need_payload(&mut wire.output, &mut wire.output_blob, "output", blob)?,
            cost: wire.cost.take().unwrap_or_default(),
            child: wire.child.take(),
        },
        "attempt_failed" => Event::AttemptFailed {
            effect: need(&mut wire.effect, "effect")?,
            attempt: need(&mut wire.attempt, "attempt")?,
            failure: failure(&need(&mut wire.failure, "failure")?)?,
            retry_at: need(&mut wire.retry_at, "retry_at")?,
        },
        "effect_failed" => Event::EffectFailed {
            effect: need(&mut wire.effect, "effect")?,
            attempt: need(&mut wire.attempt, "attempt")?,
            failure: failure(&need(&mut wire.failure, "failure")?)?,
        },
        "signal_received" => Event::SignalReceived {
            seq: need(&mut wire.seq, "seq")?,
            name: need(&mut wire.name, "name")?.into_owned(),
            payload: need_payload(&mut wire.input, &mut wire.input_blob, "input", blob)?,
        },
        "cancel_requested" => Event::CancelRequested {
            seq: need(&mut wire.seq, "seq")?,
            reason: need(&mut wire.reason, "reason")?.into_owned(),
        },
        "run_finished" => {
            let status = match &*need(&mut wire.status, "status")? {
                "succeeded" => RunStatus::Succeeded,
                "failed" => RunStatus::Failed,
                "cancelled" => RunStatus::Cancelled,
                other => return Err(EntryError::Malformed(format!("unknown run status {other:?}"))),
            };
            let output = match status {
                RunStatus::Succeeded => Some(need_payload(&mut wire.output, &mut wire.output_blob, "output", blob)?),
                RunStatus::Failed | RunStatus::Cancelled => None,
            };
            let failure = match status {
                RunStatus::Succeeded => None,
                RunStatus::Failed | RunStatus::Cancelled => Some(failure(&need(&mut wire.failure, "failure")?)?),
            };
            Event::RunFinished(RunFinished {
                status,
                output,
                failure,
                cost: wire.cost.take().unwrap_or_default(),
                content_hash: need(&mut wire.content_hash, "content_hash")?,
            })
        }
        other => return Err(EntryError::Malformed(format!("unknown entry type {other:?}"))),
    })
}

fn need<T>(field: &mut Option<T>, name: &str) -> Result<T, EntryError> {
    field.take().ok_or_else(|| EntryError::Malformed(format!("the field {name:?} is missing")))
}

fn need_payload(
    inline: &mut Option<&RawValue>,
    outside: &mut Option<BlobRef>,
    name: &str,
    blob: &dyn Fn(&Hash) -> Option<Payload>,
) -> Result<Payload, EntryError> {
    match (inline.take(), outside.take()) {
        (Some(raw), None) => Ok(Payload::from_journal(raw)),
        (None, Some(reference)) => {
            let payload = blob(&reference.sha256).ok_or(EntryError::MissingBlob(reference.sha256))?;
            if payload.len() as u64 == reference.bytes && payload.hash() == reference.sha256 {
                return Ok(payload);
            }
            Err(EntryError::Malformed(format!("the blob {} is not what {name}_blob says", reference.sha256)))
        }
        (None, None) => Err(EntryError::Malformed(format!("the field {name:?} is missing"))),
        (Some(_), Some(_)) => Err(EntryError::Malformed(format!("{name:?} is there both inline and as a blob"))),
    }
}

fn failure(raw: &RawValue) -> Result<Failure, EntryError> {
    serde_json::from_str(raw.get()).map_err(|e| EntryError::Malformed(format!("the failure is malformed: {e}")))
}
