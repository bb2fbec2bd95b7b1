//! A streamed answer, put together event by event.

use aos_core::llm::{Delta, Deltas, Usage};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error;
use super::wire::{Message, Tokens};
use crate::backend::llm_http::{Broken, Stream};

/// An answer in the making.
#[derive(Default)]
pub(super) struct Assembly {
    began: bool,
    done: bool,
    shown: bool,
    model: Option<String>,
    usage: Option<Tokens>,
    stop_reason: Option<String>,
    stop_details: Option<Value>,
    blocks: Vec<Block>,
}

/// A block in the making: the fields it began with, and what was added.
struct Block {
    fields: Map<String, Value>,
    text: String,
    thinking: String,
    signature: String,
    json: String,
    citations: Vec<Value>,
    /// Additions of kinds that this release does not know.
    unknown: Vec<Value>,
}

/// The kinds of events that have a meaning here.
const EVENTS: &[&str] =
    &["content_block_delta", "content_block_start", "error", "message_delta", "message_start", "message_stop"];

/// The kinds of additions to a block that have a meaning here.
const ADDITIONS: &[&str] = &["citations_delta", "input_json_delta", "signature_delta", "text_delta", "thinking_delta"];

/// One event; of unknown ones only the kind is read.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    message: Option<Start>,
    #[serde(default)]
    content_block: Option<Map<String, Value>>,
    #[serde(default)]
    delta: Option<Added>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Added {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    partial_json: String,
    #[serde(default)]
    citation: Option<Value>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    stop_details: Option<Value>,
}

impl Stream for Assembly {
    fn event(&mut self, data: &[u8], deltas: Option<&Deltas>) -> Result<(), Broken> {
        let event: Event = match serde_json::from_slice(data) {
            Ok(event) => event,
            Err(e) => return self.odd_event(data, &e),
        };
        let Event { kind, index, message, content_block, delta, usage } = event;
        self.used(message.as_ref().and_then(|message| message.usage));
        self.used(usage);
        match (kind.as_str(), message, content_block, delta) {
            ("message_start", Some(start), ..) => {
                if self.began {
                    return malformed("the answer begins twice");
                }
                self.began = true;
                self.model = start.model;
            }
            ("error", ..) => {
                return Err(match serde_json::from_slice(data) {
                    Ok(body) => Broken::Refused(error::in_stream(body, self.began)),
                    Err(e) => Broken::Malformed(format!("an error can't be read: {e}")),
                });
            }
            ("content_block_start", _, Some(fields), _) => {
                if !self.began || index != Some(self.blocks.len()) {
                    return malformed("a block begins out of order");
                }
                let block = Block::new(fields);
                self.pass_on_start(&block, deltas);
                self.blocks.push(block);
            }
            ("content_block_delta", _, _, Some(added)) => {
                let block = index.and_then(|index| Some((u32::try_from(index).ok()?, self.blocks.get_mut(index)?)));
                let Some((index, block)) = block else { return malformed("a block goes on that has not begun") };
                if let (Some(delta), Some(deltas)) = (block.add(added, index, data, deltas.is_some()), deltas) {
                    self.shown = true;
                    deltas.send(delta);
                }
            }
            ("message_delta", _, _, Some(added)) => {
                self.stop_reason = added.stop_reason.or(self.stop_reason.take());
                self.stop_details = added.stop_details.or(self.stop_details.take());
            }
            ("message_stop", ..) => {
                if !self.has_ended() {
                    return malformed("the answer ends without a reason");
                }
                self.done = true;
            }
            ("message_start" | "content_block_start" | "content_block_delta" | "message_delta", ..) => {
                return malformed("an event has no content");
            }
            // A ping, the end of a block, and what may come in later versions.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) -> bool {
        self.done
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn has_ended(&self) -> bool {
        self.stop_reason.is_some()
    }

    fn is_shown(&self) -> bool {
        self.shown
    }

    fn usage(&self) -> Option<Usage> {
        self.usage.map(Tokens::usage)
    }
}

impl Assembly {
    /// Takes an event that does not have the form of those that are known: it may be of a kind that is new, and what it
    /// says of the usage must not be lost in any case.
    fn odd_event(&mut self, data: &[u8], error: &serde_json::Error) -> Result<(), Broken> {
        let mut event: Value = serde_json::from_str(&String::from_utf8_lossy(data)).unwrap_or_default();
        for usage in [&event["message"]["usage"], &event["usage"]] {
            self.used(Tokens::deserialize(usage).ok());
        }
        let is_new = |kind: &Value, known: &[&str]| kind.as_str().is_some_and(|kind| !known.contains(&kind));
        if is_new(&event["type"], EVENTS) {
            return Ok(());
        }
        if event["type"] == "content_block_delta" && is_new(&event["delta"]["type"], ADDITIONS) {
            let index = event["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            if let Some(block) = index.and_then(|index| self.blocks.get_mut(index)) {
                block.unknown.push(event["delta"].take());
                return Ok(());
            }
        }
        Err(Broken::Malformed(format!("an event can't be read: {error}")))
    }

    /// The answer, once it is complete.
    pub(super) fn into_message(self) -> Result<Message, String> {
        let cut = self.stop_reason.as_deref() == Some("max_tokens")
            || self.stop_reason.as_deref() == Some("model_context_window_exceeded");
        let content = self.blocks.into_iter().map(|block| block.into_value(cut)).collect::<Result<_, _>>()?;
        Ok(Message {
            content,
            model: self.model,
            stop_reason: self.stop_reason,
            stop_details: self.stop_details,
            usage: self.usage,
        })
    }

    fn used(&mut self, usage: Option<Tokens>) {
        if let Some(later) = usage {
            self.usage.get_or_insert_default().update(later);
        }
    }

    /// A block may begin with some of its text.
    fn pass_on_start(&mut self, block: &Block, deltas: Option<&Deltas>) {
        let (Some(deltas), Ok(index)) = (deltas, u32::try_from(self.blocks.len())) else { return };
        let delta = if !block.text.is_empty() {
            Delta::Text { block: index, text: block.text.clone() }
        } else if !block.thinking.is_empty() {
            Delta::Thinking { block: index, text: block.thinking.clone() }
        } else {
            return;
        };
        self.shown = true;
        deltas.send(delta);
    }
}

fn malformed<T>(why: &str) -> Result<T, Broken> {
    Err(Broken::Malformed(why.to_owned()))
}

impl Block {
    fn new(mut fields: Map<String, Value>) -> Self {
        let mut text = |key: &str| match fields.get_mut(key) {
            Some(Value::String(text)) => std::mem::take(text),
            _ => String::new(),
        };
        Self {
            text: text("text"),
            thinking: text("thinking"),
            signature: text("signature"),
            json: String::new(),
            citations: Vec::new(),
            unknown: Vec::new(),
            fields,
        }
    }

    fn kind(&self) -> Option<&str> {
        self.fields.get("type")?.as_str()
    }

    /// Adds to the block; gives what watchers see of it.
    fn add(&mut self, added: Added, block: u32, event: &[u8], watched: bool) -> Option<Delta> {
        match added.kind.as_str() {
            "text_delta" => {
                self.text.push_str(&added.text);
                (watched && !added.text.is_empty()).then_some(Delta::Text { block, text: added.text })
            }
            "thinking_delta" => {
                self.thinking.push_str(&added.thinking);
                (watched && !added.thinking.is_empty()).then_some(Delta::Thinking { block, text: added.thinking })
            }
            "input_json_delta" => {
                self.json.push_str(&added.partial_json);
                let shown = watched && !added.partial_json.is_empty() && self.kind() == Some("tool_use");
                shown.then(|| Delta::ToolInput {
                    block,
                    name: self.fields.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                    json: added.partial_json,
                })
            }
            "signature_delta" => {
                self.signature.push_str(&added.signature);
                None
            }
            "citations_delta" => {
                self.citations.extend(added.citation);
                None
            }
            _ => {
                let event: Option<Value> = serde_json::from_slice(event).ok();
                self.unknown.extend(event.and_then(|mut event| event.get_mut("delta").map(Value::take)));
                None
            }
        }
    }

    /// The block as the API gives it in an answer that is not streamed. When the answer was `cut`, the input of a tool
    /// may be the beginning of one: it is kept as text.
    fn into_value(self, cut: bool) -> Result<Value, String> {
        let Self { mut fields, text, thinking, signature, json, citations, unknown } = self;
        for (key, text) in [("text", text), ("thinking", thinking), ("signature", signature)] {
            if fields.contains_key(key) || !text.is_empty() {
                fields.insert(key.into(), Value::String(text));
            }
        }
        if !json.is_empty() {
            let input = match serde_json::from_str(&json) {
                Ok(input) => input,
                Err(_) if cut => Value::String(json),
                Err(e) => return Err(format!("the input of a tool is not JSON: {e}")),
            };
            fields.insert("input".into(), input);
        }
        for (key, added) in [("citations", citations), ("deltas", unknown)] {
            if !added.is_empty() {
                match fields.get_mut(key) {
                    Some(Value::Array(list)) => list.extend(added),
                    _ => drop(fields.insert(key.into(), Value::Array(added))),
                }
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests;
