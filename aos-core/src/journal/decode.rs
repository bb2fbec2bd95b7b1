//! Reading a line back: strict, so that whatever this release doesn't know is an error and not a loss.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::canonical::Hash;
use crate::error::Failure;
use crate::event::{Event, Fork, Requested, RunFinished, RunStarted, RunStatus};
use crate::id::{EffectId, RunId, TenantId};
use crate::journal::{BlobRef, Entry, EntryError, Line, WIRE_VERSION};
use crate::money::Money;
use crate::payload::Payload;
use crate::random::Seed;
use crate::skill::SkillVersion;
use crate::time::Timestamp;
use crate::workflow::WorkflowVersion;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    at: Timestamp,
    attempt: Option<u32>,
    budget: Option<Money>,
    child: Option<Hash>,
    content_hash: Option<Hash>,
    cost: Option<Money>,
    duration_ms: Option<u64>,
    effect: Option<EffectId>,
    #[serde(borrow)]
    failure: Option<Cow<'a, RawValue>>,
    forked_from: Option<WireFork>,
    index: u64,
    #[serde(borrow, default, deserialize_with = "present")]
    input: Option<&'a RawValue>,
    input_blob: Option<BlobRef>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    output: Option<&'a RawValue>,
    output_blob: Option<BlobRef>,
    plan: Option<Hash>,
    prev: Hash,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    retry_at: Option<Timestamp>,
    run: Option<RunId>,
    seed: Option<Seed>,
    seq: Option<u64>,
    skill: Option<SkillVersion>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    tenant: Option<TenantId>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    v: u64,
    workflow: Option<WorkflowVersion>,
}

/// A payload that is there, `null` included, which an `Option` alone would take for absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFork {
    effect: EffectId,
    run: RunId,
}

impl Wire<'_> {
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

/// The payloads outside the line that it refers to. A malformed line has none; [`decode`] says what is wrong with it.
pub fn blob_refs(line: &Line) -> Vec<Hash> {
    #[derive(Deserialize)]
    struct Refs {
        input_blob: Option<BlobRef>,
        output_blob: Option<BlobRef>,
    }
    // Most lines have none: a look at the text spares the parse.
    if !line.as_str().contains("put_blob\":") {
        return Vec::new();
    }
    let refs = serde_json::from_str::<Refs>(line.as_str()).ok();
    refs.into_iter().flat_map(|refs| [refs.input_blob, refs.output_blob]).flatten().map(|blob| blob.sha256).collect()
}
