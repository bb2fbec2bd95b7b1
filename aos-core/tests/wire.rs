//! Every kind of entry: its line is canonical JSON, and reads back as what was written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use aos_core::canonical::{self, Hash};
use aos_core::event::{Event, Fork, Requested, RunFinished, RunStarted, RunStatus};
use aos_core::id::{EffectId, RunId, TenantId};
use aos_core::journal::{INLINE_PAYLOAD_BYTES, decode, encode};
use aos_core::money::Money;
use aos_core::random::Seed;
use aos_core::time::Timestamp;
use aos_core::{Failure, Payload, codes};
use serde_json::{Value, json};

/// Texts that need every kind of escape, and names with whatever their types allow.
const NASTY: &str = "a \"b\" \\ c\n\t\u{1}\u{7f} é 😀 </script>";

fn events() -> Vec<Event> {
    let effect = || EffectId::new(r#"step["x\y"]/e"#).unwrap();
    let payload = || Payload::new(json!({"é": NASTY, "b": [1, 2.5, null, true], "a": {}})).unwrap();
    let large = || Payload::new(json!("x".repeat(INLINE_PAYLOAD_BYTES))).unwrap();
    let failure = || {
        Failure::new(codes::TIMEOUT, NASTY)
            .cost("0.000000000001".parse().unwrap())
            .details(json!({"why": NASTY, "n": 1}))
    };
    let started = |budget: Option<Money>, fork: Option<Fork>, input| {
        Event::RunStarted(RunStarted {
            run: RunId::new("Run_1.a-b").unwrap(),
            tenant: TenantId::default(),
            workflow: "w.x@1.2.3-rc.1+b".parse().unwrap(),
            plan: Hash::of("plan"),
            input,
            seed: Seed::new(u64::MAX),
            budget,
            forked_from: fork,
        })
    };
    let fork = Fork { run: RunId::new("r0").unwrap(), effect: effect() };
    let finished = |status, output: Option<Payload>, failure| {
        let cost = "12.5".parse().unwrap();
        Event::RunFinished(RunFinished { status, output, failure, cost, content_hash: Hash::of("content") })
    };
    let mut events = vec![
        started(None, None, Payload::null()),
        started(Some("1.25".parse().unwrap()), Some(fork), large()),
        Event::EffectFailed { effect: effect(), attempt: 0, failure: failure() },
        Event::AttemptFailed { effect: effect(), attempt: 2, failure: failure(), retry_at: Timestamp::MAX },
        Event::SignalReceived { seq: 1, name: NASTY.into(), payload: payload() },
        Event::SignalReceived { seq: 2, name: String::new(), payload: large() },
        Event::CancelRequested { seq: 3, reason: NASTY.into() },
        finished(RunStatus::Succeeded, Some(payload()), None),
        finished(RunStatus::Failed, None, Some(failure())),
        finished(RunStatus::Cancelled, None, Some(Failure::new(codes::CANCELLED, ""))),
    ];
    for (output, child) in [(payload(), None), (large(), Some(Hash::of("child"))), (Payload::null(), None)] {
        for cost in ["0", "0.25"] {
            let (output, cost) = (output.clone(), cost.parse().unwrap());
            events.push(Event::EffectCompleted { effect: effect(), attempt: u32::MAX, output, cost, child });
        }
    }
    let requests = [
        Requested::Call { skill: "s@1.0.0-a.b+c.d".parse().unwrap(), input: payload() },
        Requested::Call { skill: "s@0.10.200".parse().unwrap(), input: large() },
        Requested::Child { workflow: "w@1.0.0".parse().unwrap(), input: payload() },
        Requested::Sleep { duration_ms: 86_400_000 },
        Requested::Signal { name: NASTY.into() },
        Requested::Now,
        Requested::Random,
        Requested::Patched { name: NASTY.into() },
    ];
    events.extend(requests.map(|request| Event::EffectRequested { effect: effect(), request }));
    events
}

#[test]
fn lines_are_canonical_and_read_back() {
    let mut prev = Hash::ZERO;
    for (index, event) in events().into_iter().enumerate() {
        let at = Timestamp::from_millis(1_767_225_600_000 + index as u64);
        let mut blobs = Vec::new();
        let line = encode(index as u64, at, &event, prev, &mut blobs);
        let value: Value = serde_json::from_str(line.as_str()).unwrap();
        assert_eq!(line.as_str(), canonical::to_string(value).unwrap());

        let (entry, found) = decode(line.as_str(), &|hash| blobs.iter().find(|blob| blob.hash() == *hash).cloned())
            .unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!((entry.index, entry.at, entry.event, found), (index as u64, at, event, prev));
        prev = line.hash();
    }
}
