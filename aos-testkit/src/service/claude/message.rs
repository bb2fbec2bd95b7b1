//! A message as the API sends it: in one piece, or as server-sent events.

use serde_json::{Value, json};

use super::account::Usage;
use super::reply::Script;
use super::tokens;

/// Characters of text or JSON to a delta.
const DELTA_CHARS: usize = 24;

/// A message that the model made.
pub(super) struct Message {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) content: Vec<Value>,
    pub(super) stop_reason: String,
    pub(super) stop_sequence: Option<String>,
    pub(super) usage: Usage,
}

/// A server-sent event.
pub(super) struct Event {
    pub(super) text: String,
    /// Bytes of output in it.
    output: usize,
}

impl Message {
    /// The body of a plain answer.
    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": self.content,
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "stop_details": self.stop_details(),
            "container": null,
            "usage": self.usage.json()
        })
    }

    fn stop_details(&self) -> Value {
        match self.stop_reason.as_str() {
            "refusal" => json!({"type": "refusal", "category": null, "explanation": null}),
            _ => Value::Null,
        }
    }

    /// The events of a streamed answer, and what is billed for them.
    pub(super) fn events(&self, script: &Script, request_id: &str) -> (Vec<Event>, Usage) {
        let mut events = vec![self.start(script), event("ping", &json!({"type": "ping"}))];
        events.extend(script.extra_events.iter().map(|(name, data)| event(name, data)));
        for (index, block) in self.content.iter().enumerate() {
            block_events(index, block, &mut events);
        }
        let delta = json!({
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "stop_details": self.stop_details()
        });
        let usage = if script.usage_in_delta_only { self.usage.json() } else { self.usage.delta_json() };
        events.push(event("message_delta", &json!({"type": "message_delta", "delta": delta, "usage": usage})));
        events.push(event("message_stop", &json!({"type": "message_stop"})));
        let Some((after, error)) = &script.error_after else { return (events, self.usage) };
        events.truncate(*after);
        let output_tokens = tokens::of_bytes(events.iter().map(|event| event.output).sum());
        let usage = match events.is_empty() {
            true => Usage::default(),
            false => Usage { output_tokens, thinking_tokens: 0, ..self.usage },
        };
        events.push(event("error", &error.body(request_id)));
        (events, usage)
    }

    fn start(&self, script: &Script) -> Event {
        let usage = match script.usage_in_delta_only {
            true => json!({"input_tokens": 0, "output_tokens": 0}),
            // One token is there before the first delta.
            false => Usage { output_tokens: self.usage.output_tokens.min(1), thinking_tokens: 0, ..self.usage }.json(),
        };
        let mut message = self.json();
        message["content"] = json!([]);
        message["stop_reason"] = Value::Null;
        message["stop_sequence"] = Value::Null;
        message["stop_details"] = Value::Null;
        message["usage"] = usage;
        event("message_start", &json!({"type": "message_start", "message": message}))
    }
}

fn event(name: &str, data: &Value) -> Event {
    Event { text: format!("event: {name}\ndata: {data}\n\n"), output: 0 }
}

/// The events of one block: blocks of which nothing is known begin whole and have no deltas.
fn block_events(index: usize, block: &Value, events: &mut Vec<Event>) {
    let (mut begin, mut deltas) = (block.clone(), Vec::new());
    let mut add = |kind: &str, field: &str, value: Value, output: usize| {
        let delta = json!({"type": kind, field: value});
        let data = json!({"type": "content_block_delta", "index": index, "delta": delta});
        deltas.push(Event { output, ..event("content_block_delta", &data) });
    };
    match (block["type"].as_str(), block["text"].as_str(), block["thinking"].as_str()) {
        (Some("text"), Some(text), _) => {
            begin["text"] = "".into();
            pieces(text).for_each(|piece| add("text_delta", "text", piece.into(), piece.len()));
            for citation in block["citations"].as_array().into_iter().flatten() {
                begin["citations"] = json!([]);
                add("citations_delta", "citation", citation.clone(), 0);
            }
        }
        (Some("thinking"), _, Some(thinking)) => {
            begin["thinking"] = "".into();
            begin["signature"] = "".into();
            pieces(thinking).for_each(|piece| add("thinking_delta", "thinking", piece.into(), piece.len()));
            if let Some(signature) = block["signature"].as_str() {
                add("signature_delta", "signature", signature.into(), 0);
            }
        }
        (Some("tool_use" | "server_tool_use"), ..) => {
            begin["input"] = json!({});
            let input = block["input"].to_string();
            add("input_json_delta", "partial_json", "".into(), block["name"].as_str().map_or(0, str::len));
            pieces(&input).for_each(|piece| add("input_json_delta", "partial_json", piece.into(), piece.len()));
        }
        _ => {}
    }
    let data = json!({"type": "content_block_start", "index": index, "content_block": begin});
    events.push(event("content_block_start", &data));
    events.append(&mut deltas);
    events.push(event("content_block_stop", &json!({"type": "content_block_stop", "index": index})));
}

/// The parts of a text that are sent one by one.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.char_indices().nth(DELTA_CHARS).map_or(rest.len(), |(end, _)| end);
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text() {
        for text in ["", "a", "ä", &"ä".repeat(24), &"äö€".repeat(30)] {
            assert_eq!(pieces(text).collect::<String>(), text);
            assert!(pieces(text).all(|piece| (1..=DELTA_CHARS).contains(&piece.chars().count())));
        }
    }
}
