//! A streamed completion, put together chunk by chunk.

use aos_core::llm::{Delta, Deltas, Usage};
use serde::Deserialize;
use serde_json::Value;

use super::{Choice, Completion, Function, Said, ToolCall, Used, error};
use crate::backend::llm_http::{Broken, Stream};

/// A completion in the making.
#[derive(Default)]
pub(super) struct Assembly {
    began: bool,
    done: bool,
    shown: bool,
    model: Option<String>,
    usage: Option<Used>,
    finish_reason: Option<String>,
    stop_reason: Value,
    reasoning: String,
    content: String,
    refusal: String,
    calls: Vec<Calling>,
}

/// A tool call in the making.
#[derive(Default)]
struct Calling {
    /// The server's number of the call.
    index: Option<u64>,
    id: Option<String>,
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Piece>,
    #[serde(default)]
    usage: Option<Used>,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    delta: Added,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    stop_reason: Value,
}

#[derive(Default, Deserialize)]
struct Added {
    #[serde(default, alias = "reasoning")]
    reasoning_content: Option<String>,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionPiece>,
}

#[derive(Deserialize)]
struct FunctionPiece {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

impl Stream for Assembly {
    fn event(&mut self, data: &[u8], deltas: Option<&Deltas>) -> Result<(), Broken> {
        if data.trim_ascii() == b"[DONE]" {
            self.done = self.finish_reason.is_some();
            return if self.done { Ok(()) } else { Err(Broken::Malformed("it ends without a reason".into())) };
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(|e| {
            // What it says of the usage must not be lost with it.
            let value: Value = serde_json::from_str(&String::from_utf8_lossy(data)).unwrap_or_default();
            self.usage = Used::deserialize(&value["usage"]).ok().or(self.usage);
            Broken::Malformed(format!("a chunk can't be read: {e}"))
        })?;
        self.usage = chunk.usage.or(self.usage);
        if !chunk.error.is_null() {
            let said = serde_json::from_slice(data).unwrap_or_default();
            return Err(Broken::Refused(error::in_stream(&said, self.began)));
        }
        self.began = true;
        self.model = chunk.model.or(self.model.take());
        if let Some(piece) = chunk.choices.into_iter().next() {
            self.add(piece.delta, deltas)?;
            self.finish_reason = piece.finish_reason.or(self.finish_reason.take());
            if !piece.stop_reason.is_null() {
                self.stop_reason = piece.stop_reason;
            }
        }
        Ok(())
    }

    /// Not every server says `[DONE]`.
    fn end(&mut self) -> bool {
        self.done = self.finish_reason.is_some();
        self.done
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn has_ended(&self) -> bool {
        self.finish_reason.is_some()
    }

    fn is_shown(&self) -> bool {
        self.shown
    }

    fn usage(&self) -> Option<Usage> {
        self.usage.map(Used::usage)
    }
}

impl Assembly {
    fn add(&mut self, added: Added, deltas: Option<&Deltas>) -> Result<(), Broken> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(text) = given(added.reasoning_content) {
            self.reasoning.push_str(&text);
            self.pass_on(Delta::Thinking { block: 0, text }, deltas);
        }
        if let Some(text) = given(added.content) {
            self.content.push_str(&text);
            self.pass_on(Delta::Text { block: self.place(0)?, text }, deltas);
        }
        if let Some(text) = given(added.refusal) {
            self.refusal.push_str(&text);
        }
        for piece in added.tool_calls.unwrap_or_default() {
            self.add_call(piece, deltas)?;
        }
        Ok(())
    }

    fn add_call(&mut self, piece: CallPiece, deltas: Option<&Deltas>) -> Result<(), Broken> {
        let CallPiece { index, id, function } = piece;
        let id = id.filter(|id| !id.is_empty());
        // Servers that don't number calls begin each with its id.
        let same = |call: &Calling| match index {
            Some(_) => call.index == index,
            None => id.is_none() || call.id == id,
        };
        let at = match self.calls.iter().rposition(same) {
            Some(at) => at,
            None => {
                self.calls.push(Calling { index, ..Calling::default() });
                self.calls.len() - 1
            }
        };
        let place = self.place(1 + at)?;
        let Some(call) = self.calls.get_mut(at) else { return Ok(()) };
        call.id = call.id.take().or(id);
        let Some(FunctionPiece { name, arguments }) = function else { return Ok(()) };
        // Some servers repeat the name with every piece.
        if call.name.is_empty() {
            call.name = name.unwrap_or_default();
        }
        let json = arguments.unwrap_or_default();
        call.arguments.push_str(&json);
        let name = call.name.clone();
        if !json.is_empty() {
            self.pass_on(Delta::ToolInput { block: place, name, json }, deltas);
        }
        Ok(())
    }

    /// The place in the answer of text (0) or of a tool call (from 1): reasoning comes before, and text if there is any.
    fn place(&self, nth: usize) -> Result<u32, Broken> {
        let before = usize::from(!self.reasoning.is_empty());
        let text = usize::from(!self.content.is_empty() || !self.refusal.is_empty());
        let place = if nth == 0 { before } else { before + text + nth - 1 };
        u32::try_from(place).map_err(|_| Broken::Malformed("it has too many blocks".into()))
    }

    fn pass_on(&mut self, delta: Delta, deltas: Option<&Deltas>) {
        if let Some(deltas) = deltas {
            self.shown = true;
            deltas.send(delta);
        }
    }

    /// The completion as the API gives one that is not streamed.
    pub(super) fn into_completion(self) -> Completion {
        let Self { model, usage, finish_reason, stop_reason, reasoning, content, refusal, calls, .. } = self;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let call = |Calling { id, name, arguments, .. }| ToolCall {
            id,
            function: Function { name, arguments: Value::String(arguments) },
        };
        let message = Said {
            reasoning_content: given(reasoning),
            content: given(content),
            refusal: given(refusal),
            tool_calls: Some(calls.into_iter().map(call).collect()),
        };
        Completion { model, choices: vec![Choice { message, finish_reason, stop_reason }], usage }
    }
}
