//! Roles, blocks and what must follow what.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Subject, Wrong, list, one_of};

/// Blocks of which the fields are checked: type, and each field with whether it must be an object.
const BLOCKS: [(&str, &[(&str, bool)]); 6] = [
    ("text", &[("text", false)]),
    ("image", &[("source", true)]),
    ("document", &[("source", true)]),
    ("tool_use", &[("id", false), ("name", false), ("input", true)]),
    ("tool_result", &[("tool_use_id", false)]),
    ("thinking", &[("thinking", false), ("signature", false)]),
];

/// Blocks that are taken as they are.
const OTHER_BLOCKS: [&str; 13] = [
    "redacted_thinking",
    "search_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "container_upload",
    "compaction",
    "mcp_tool_use",
    "mcp_tool_result",
];

const ROLES: [&str; 3] = ["user", "assistant", "system"];

/// The most cache breakpoints.
const BREAKPOINTS: usize = 4;

pub(super) fn roles(subject: &Subject<'_>) -> Wrong {
    let messages = list(subject.body, "messages");
    if messages.is_empty() {
        return Err("messages: at least one message is required".into());
    }
    for (index, message) in messages.iter().enumerate() {
        if !message.is_object() {
            return Err(format!("messages.{index}: Input should be a valid dictionary"));
        }
        for field in ["role", "content"] {
            if message.get(field).is_none() {
                return Err(format!("messages.{index}.{field}: Field required"));
            }
        }
        if !message["role"].as_str().is_some_and(|role| ROLES.contains(&role)) {
            return Err(format!("messages.{index}.role: Input should be {}", one_of(&ROLES)));
        }
        if !message["content"].is_string() && !message["content"].is_array() {
            return Err(format!("messages.{index}.content: Input should be a valid list"));
        }
    }
    if messages[0]["role"] != "user" {
        return Err("messages: first message must use the \"user\" role".into());
    }
    Ok(())
}

pub(super) fn blocks(subject: &Subject<'_>) -> Wrong {
    for (at, role, block) in all_blocks(subject) {
        fields(&at, block)?;
        let kind = block["type"].as_str().unwrap_or_default();
        let other = match (kind, role) {
            ("tool_use" | "thinking", "user" | "system") => "assistant",
            ("tool_result", "assistant" | "system") => "user",
            _ => continue,
        };
        let message = at.split(".content").next().unwrap_or_default();
        return Err(format!("{message}: `{kind}` blocks can only be in `{other}` messages"));
    }
    match subject.body.get("system") {
        None | Some(Value::String(_)) => Ok(()),
        Some(Value::Array(blocks)) => blocks.iter().enumerate().try_for_each(|(index, block)| {
            if block["type"] != "text" {
                return Err(format!("system.{index}.type: Input should be 'text'"));
            }
            fields(&format!("system.{index}"), block)
        }),
        Some(_) => Err("system: Input should be a valid list".into()),
    }
}

/// A block has a type that is known, and the fields of that type.
fn fields(at: &str, block: &Value) -> Wrong {
    if !block.is_object() {
        return Err(format!("{at}: Input should be a valid dictionary"));
    }
    let Some(kind) = block.get("type").and_then(Value::as_str) else {
        return Err(format!("{at}.type: Field required"));
    };
    let Some((_, fields)) = BLOCKS.iter().find(|(known, _)| *known == kind) else {
        if OTHER_BLOCKS.contains(&kind) {
            return Ok(());
        }
        let tags: Vec<_> = BLOCKS.iter().map(|(known, _)| *known).chain(OTHER_BLOCKS).collect();
        return Err(format!(
            "{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {}",
            tags.iter().map(|tag| format!("'{tag}'")).collect::<Vec<_>>().join(", ")
        ));
    };
    for (field, object) in *fields {
        match block.get(field) {
            None => return Err(format!("{at}.{kind}.{field}: Field required")),
            Some(value) if *object && !value.is_object() => {
                return Err(format!("{at}.{kind}.{field}: Input should be a valid dictionary"));
            }
            Some(value) if !*object && !value.is_string() => {
                return Err(format!("{at}.{kind}.{field}: Input should be a valid string"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Every block of the messages, with where it is and the role of its message.
fn all_blocks<'b>(subject: &'b Subject<'_>) -> impl Iterator<Item = (String, &'b str, &'b Value)> {
    list(subject.body, "messages").iter().enumerate().flat_map(|(index, message)| {
        let role = message["role"].as_str().unwrap_or_default();
        let blocks = message["content"].as_array().map_or(&[][..], Vec::as_slice);
        blocks
            .iter()
            .enumerate()
            .map(move |(block_index, block)| (format!("messages.{index}.content.{block_index}"), role, block))
    })
}

pub(super) fn content(subject: &Subject<'_>) -> Wrong {
    let messages = list(subject.body, "messages");
    for (index, message) in messages.iter().enumerate() {
        let empty = match &message["content"] {
            Value::String(text) => text.is_empty(),
            Value::Array(blocks) => blocks.is_empty(),
            _ => false,
        };
        let may_be_empty = message["role"] == "assistant" && index + 1 == messages.len();
        if empty && !may_be_empty {
            return Err(match message["role"].as_str() {
                Some("user") => format!("messages.{index}: user messages must have non-empty content"),
                _ => format!(
                    "messages.{index}: all messages must have non-empty content except for the optional final assistant \
                     message"
                ),
            });
        }
    }
    let blocks = all_blocks(subject).map(|(_, _, block)| block).chain(list(subject.body, "system"));
    for text in blocks.filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str()) {
        if text.is_empty() {
            return Err("messages: text content blocks must be non-empty".into());
        }
        if text.trim().is_empty() {
            return Err("messages: text content blocks must contain non-whitespace text".into());
        }
    }
    Ok(())
}

pub(super) fn cache(subject: &Subject<'_>) -> Wrong {
    let mut found = 0;
    let blocks = all_blocks(subject).map(|(_, _, block)| block);
    let marked = blocks.chain(list(subject.body, "system")).chain(list(subject.body, "tools"));
    let marks = marked.filter_map(|block| block.get("cache_control")).chain(subject.body.get("cache_control"));
    for mark in marks.filter(|mark| !mark.is_null()) {
        if mark["type"] != "ephemeral" {
            return Err("cache_control.type: Input should be 'ephemeral'".into());
        }
        if mark.get("ttl").is_some_and(|ttl| ttl != "5m" && ttl != "1h") {
            return Err("cache_control.ephemeral.ttl: Input should be '5m' or '1h'".into());
        }
        found += 1;
    }
    if found > BREAKPOINTS {
        return Err(format!("A maximum of {BREAKPOINTS} blocks with cache_control may be provided. Found {found}."));
    }
    Ok(())
}

/// Each `tool_use` has its `tool_result` in the next message, and the other way round.
pub(super) fn tool_pairs(subject: &Subject<'_>) -> Wrong {
    let turns = turns(list(subject.body, "messages"));
    let mut seen = BTreeSet::new();
    for (position, turn) in turns.iter().enumerate() {
        let uses: Vec<_> = ids(turn, "tool_use", "id").map(|(_, _, id)| id).collect();
        if uses.iter().any(|id| !seen.insert(*id)) {
            return Err("messages: `tool_use` ids must be unique".into());
        }
        let next = turns.get(position + 1);
        let answered: BTreeSet<_> =
            next.into_iter().flat_map(|next| ids(next, "tool_result", "tool_use_id")).map(|(_, _, id)| id).collect();
        let missing: Vec<_> = uses.iter().filter(|id| !answered.contains(*id)).copied().collect();
        if !missing.is_empty() {
            let index = turn.last().map_or(0, |(index, _)| *index);
            return Err(format!(
                "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
                 `tool_use` block must have a corresponding `tool_result` block in the next message.",
                missing.join(", ")
            ));
        }
        let before: BTreeSet<_> = match position.checked_sub(1) {
            Some(before) => ids(&turns[before], "tool_use", "id").map(|(_, _, id)| id).collect(),
            None => BTreeSet::new(),
        };
        for (index, block, id) in ids(turn, "tool_result", "tool_use_id") {
            if !before.contains(id) {
                return Err(format!(
                    "messages.{index}.content.{block}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                     `tool_result` block must have a corresponding `tool_use` block in the previous message."
                ));
            }
        }
    }
    Ok(())
}

/// Messages with their indices; those of one role that follow each other are one turn.
fn turns(messages: &[Value]) -> Vec<Vec<(usize, &Value)>> {
    let mut turns: Vec<Vec<(usize, &Value)>> = Vec::new();
    for (index, message) in messages.iter().enumerate().filter(|(_, message)| message["role"] != "system") {
        match turns.last_mut().filter(|turn| turn[0].1["role"] == message["role"]) {
            Some(turn) => turn.push((index, message)),
            None => turns.push(vec![(index, message)]),
        }
    }
    turns
}

/// The ids in a turn's blocks of one type, with the indices of message and block.
fn ids<'t>(
    turn: &'t [(usize, &'t Value)],
    kind: &'t str,
    field: &'t str,
) -> impl Iterator<Item = (usize, usize, &'t str)> {
    turn.iter().flat_map(move |(index, message)| {
        let blocks = message["content"].as_array().map_or(&[][..], Vec::as_slice).iter().enumerate();
        blocks
            .filter(move |(_, block)| block["type"] == kind)
            .filter_map(move |(block_index, block)| Some((*index, block_index, block[field].as_str()?)))
    })
}

pub(super) fn prefill(subject: &Subject<'_>) -> Wrong {
    let Some(last) = list(subject.body, "messages").last().filter(|last| last["role"] == "assistant") else {
        return Ok(());
    };
    if !subject.model.prefill {
        return Err("This model does not support assistant message prefill. The conversation must end with a user \
                    message."
            .into());
    }
    let text = match &last["content"] {
        Value::String(text) => Some(text.as_str()),
        Value::Array(blocks) => blocks.last().and_then(|block| block["text"].as_str()),
        _ => None,
    };
    if text.is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return Err("messages: final assistant content cannot end with trailing whitespace".into());
    }
    Ok(())
}

/// What the newest version of the API refuses.
pub(super) fn by_version(subject: &Subject<'_>) -> Wrong {
    if !subject.newest {
        return Ok(());
    }
    for (at, role, block) in all_blocks(subject) {
        if role == "assistant" && block["type"] == "document" {
            return Err(format!("{at}: `document` blocks are not permitted in `assistant` messages"));
        }
        if role == "user"
            && block["type"] == "text"
            && block["citations"].as_array().is_some_and(|list| !list.is_empty())
        {
            return Err(format!("{at}.text.citations: Extra inputs are not permitted"));
        }
    }
    Ok(())
}
