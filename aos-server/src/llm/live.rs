//! Answers while they are being written, to those who follow the run, in this process and in others.

use std::sync::Arc;
use std::time::Duration;

use aos_core::id::{EffectId, RunId};
use aos_core::llm::{Adapters, Delta, Deltas, LlmCall};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::hub::Hub;

/// What is written within this time is passed on together.
const GATHER: Duration = Duration::from_millis(25);

/// Pieces of an answer that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pieces {
    /// The run that asks.
    pub run: RunId,
    /// The effect that asks.
    pub effect: EffectId,
    /// Its attempt, from 1: what an earlier one has shown no longer counts.
    pub attempt: u32,
    /// Rises within the attempt, from 0; one that is missing was lost.
    pub seq: u64,
    /// The pieces, as JSON: a list of deltas.
    pub deltas: String,
}

/// Has pieces of answers shown to those who follow the run that asks.
pub fn watched(adapters: Adapters, hub: &Arc<Hub>) -> Adapters {
    let hub = Arc::clone(hub);
    adapters.watched_by(move |call: &LlmCall| {
        let (sender, pieces) = mpsc::unbounded_channel();
        if let (Some(run), Some(effect)) = (&call.run, &call.effect) {
            tokio::spawn(pass_on(Arc::clone(&hub), run.clone(), effect.clone(), call.attempt, pieces));
        }
        // Nobody listens to a call outside of runs.
        Deltas::new(move |delta| drop(sender.send(delta)))
    })
}

async fn pass_on(
    hub: Arc<Hub>,
    run: RunId,
    effect: EffectId,
    attempt: u32,
    mut pieces: mpsc::UnboundedReceiver<Delta>,
) {
    let mut seq = 0;
    while let Some(first) = pieces.recv().await {
        // The first one at once: it is what a person waits for.
        if seq > 0 {
            tokio::time::sleep(GATHER).await;
        }
        let mut deltas = vec![first];
        while let Ok(more) = pieces.try_recv() {
            append(&mut deltas, more);
        }
        // A list of texts and numbers can be written.
        let Ok(deltas) = serde_json::to_string(&deltas) else { return };
        hub.written(Pieces { run: run.clone(), effect: effect.clone(), attempt, seq, deltas });
        seq += 1;
    }
}

/// Adds a piece, to the last one if it goes on with that.
fn append(deltas: &mut Vec<Delta>, more: Delta) {
    match (deltas.last_mut(), &more) {
        (Some(Delta::Text { block, text }), Delta::Text { block: same, text: rest })
        | (Some(Delta::Thinking { block, text }), Delta::Thinking { block: same, text: rest })
            if block == same =>
        {
            text.push_str(rest);
        }
        (Some(Delta::ToolInput { block, json, .. }), Delta::ToolInput { block: same, json: rest, .. })
            if block == same =>
        {
            json.push_str(rest);
        }
        _ => deltas.push(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_block_become_one() {
        let text = |block, text: &str| Delta::Text { block, text: text.into() };
        let input = |json: &str| Delta::ToolInput { block: 2, name: "t".into(), json: json.into() };
        let mut deltas = Vec::new();
        for delta in [text(0, "a"), text(0, "b"), text(1, "c"), input("{"), input("}"), text(1, "d")] {
            append(&mut deltas, delta);
        }
        assert_eq!(deltas, [text(0, "ab"), text(1, "c"), input("{}"), text(1, "d")]);
    }
}
