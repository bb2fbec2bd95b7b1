//! The conversation of an agent with its model, as providers take it: turn about, and every tool use with its result.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::canonical;
use crate::error::Failure;
use crate::llm::{Content, Message, Role};

pub(super) struct Conversation {
    messages: Vec<Message>,
    /// The ids of all tool uses so far.
    ids: BTreeSet<String>,
}

/// A tool that the model wants to be called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    /// The id that the result refers to.
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) input: Value,
    /// Whether the model gave the call no id, or one that another call of this turn has.
    pub(super) nameless: bool,
}

impl Conversation {
    pub(super) fn new(goal: &str) -> Self {
        Self { messages: vec![Message { role: Role::User, content: vec![Content::text(goal)] }], ids: BTreeSet::new() }
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Whether the model is to go on with its own words.
    pub(super) fn ends_with_model(&self) -> bool {
        self.messages.last().is_some_and(|message| message.role == Role::Assistant)
    }

    /// Tells the model something.
    pub(super) fn tell(&mut self, content: Vec<Content>) {
        self.add(Role::User, content);
    }

    /// Keeps what the model said. No two tool uses have one id: providers would refuse the conversation.
    pub(super) fn hear(&mut self, mut content: Vec<Content>) -> Vec<Wish> {
        let (mut wishes, mut here) = (Vec::new(), BTreeSet::new());
        for block in &mut content {
            let Content::ToolUse { id, name, input } = block else { continue };
            let nameless = id.is_empty() || !here.insert(id.clone());
            if nameless || self.ids.contains(id) {
                *id = self.new_id();
            }
            self.ids.insert(id.clone());
            wishes.push(Wish { id: id.clone(), tool: name.clone(), input: input.clone(), nameless });
        }
        self.add(Role::Assistant, content);
        wishes
    }

    fn new_id(&self) -> String {
        let mut number = self.ids.len();
        loop {
            let id = format!("call_{number}");
            if !self.ids.contains(&id) {
                return id;
            }
            number += 1;
        }
    }

    fn add(&mut self, role: Role, content: Vec<Content>) {
        match self.messages.last_mut() {
            _ if content.is_empty() => {}
            Some(last) if last.role == role => last.content.extend(content),
            _ => self.messages.push(Message { role, content }),
        }
    }
}

/// What the model reads of a tool's result: its output, or code and message of its failure.
pub(super) fn told(id: &str, result: Result<Value, Failure>) -> Content {
    let is_error = result.is_err();
    let value = result.unwrap_or_else(|failure| json!({"code": failure.code, "message": failure.message}));
    let text = match value {
        Value::String(text) => text,
        other => canonical::write(&other),
    };
    // Providers refuse an empty text.
    let content = if text.trim().is_empty() { Vec::new() } else { vec![Content::text(text)] };
    Content::ToolResult { tool_use_id: id.to_owned(), content, is_error }
}
