//! Our request as a body of the Messages API.

use aos_core::llm::{CacheTtl, Content, ImageSource, LlmRequest, Message, Role, Tool, ToolChoice};
use aos_core::{Failure, codes};
use reqwest::header::HeaderValue;
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::schema::closed;
use super::{EXTRA, UNREAD};

/// Fields of the API that the request has under a name of its own: as options they would contradict it.
const OWN: &[&str] = &[
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "tool_choice",
];

/// Options that are not fields of the API by that name.
const MINE: &[&str] = &["betas", "disable_parallel_tool_use", "effort", "output_config", "tools"];

/// Fields that counting tokens doesn't take (2026-11-26).
const NOT_COUNTED: &[&str] = &["container", "inference_geo", "service_tier", "top_k", "top_p"];

/// A request that can be written for the API.
pub(crate) struct Wire<'a> {
    request: &'a LlmRequest,
    output_config: Option<Map<String, Value>>,
    one_tool_at_a_time: Option<bool>,
    provider_tools: &'a [Value],
    betas: Option<HeaderValue>,
}

impl<'a> Wire<'a> {
    /// Reads the options of a request.
    ///
    /// `options` are fields of the API, passed on as they are, with these exceptions: `effort` is short for
    /// `output_config.effort`; `disable_parallel_tool_use` goes into `tool_choice`; `tools` (tools of the provider's own)
    /// come after the request's; `betas`, a list, becomes the header `anthropic-beta`.
    ///
    /// # Errors
    /// [`codes::LLM_INVALID_REQUEST`]: an option that contradicts the request, or has the wrong form; an image that is
    /// not at an address.
    pub(crate) fn new(request: &'a LlmRequest) -> Result<Self, Failure> {
        let options = &request.options;
        if let Some(own) = OWN.iter().find(|own| options.contains_key(**own)) {
            return Err(refused(format!("`options.{own}` can't be given: the request has a field for it")));
        }
        let wrong = |key: &str, expected: &str| refused(format!("`options.{key}` is not {expected}"));
        let option = |key: &str| options.get(key).filter(|value| !value.is_null());

        let mut output_config = match option("output_config") {
            None => Map::new(),
            Some(Value::Object(fields)) => fields.clone(),
            Some(_) => return Err(wrong("output_config", "an object")),
        };
        if let Some(effort) = option("effort") {
            output_config.insert("effort".into(), effort.clone());
        }
        if let Some(schema) = &request.response_schema {
            if output_config.contains_key("format") {
                return Err(refused("`response_schema` and `options.output_config.format` are both given".into()));
            }
            output_config.insert("format".into(), json!({"type": "json_schema", "schema": closed(schema)}));
        }
        let one_tool_at_a_time = match option("disable_parallel_tool_use") {
            None => None,
            Some(Value::Bool(on)) => Some(*on),
            Some(_) => return Err(wrong("disable_parallel_tool_use", "`true` or `false`")),
        };
        let provider_tools = match option("tools") {
            None => &[][..],
            Some(Value::Array(tools)) => tools,
            Some(_) => return Err(wrong("tools", "a list")),
        };
        let betas = match option("betas") {
            None => None,
            Some(list) => {
                let names: Option<Vec<&str>> =
                    list.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
                let header = names.and_then(|names| HeaderValue::from_str(&names.join(",")).ok());
                Some(header.ok_or_else(|| wrong("betas", "a list of names"))?)
            }
        };
        blocks_of(request).try_for_each(check)?;
        let output_config = Some(output_config).filter(|fields| !fields.is_empty());
        Ok(Self { request, output_config, one_tool_at_a_time, provider_tools, betas })
    }

    /// The value of the header `anthropic-beta`.
    pub(crate) fn betas(&self) -> Option<HeaderValue> {
        self.betas.clone()
    }

    /// The body of a request for an answer.
    ///
    /// # Errors
    /// None that can happen.
    pub(crate) fn message(&self, stream: bool) -> Result<Vec<u8>, Failure> {
        written(&Body { wire: self, stream: Some(stream) })
    }

    /// The body of a request for a count of tokens.
    ///
    /// # Errors
    /// None that can happen.
    pub(crate) fn count(&self) -> Result<Vec<u8>, Failure> {
        written(&Body { wire: self, stream: None })
    }

    fn tool_choice(&self) -> Option<Value> {
        let request = self.request;
        if request.tools.is_empty() && self.provider_tools.is_empty() {
            // The API takes a choice only where there is one.
            return None;
        }
        let given = request.tool_choice.as_ref();
        let choice = given.or_else(|| self.one_tool_at_a_time.map(|_| &ToolChoice::Auto))?;
        let mut wire = match choice {
            ToolChoice::Auto => json!({"type": "auto"}),
            ToolChoice::Any => json!({"type": "any"}),
            ToolChoice::None => return Some(json!({"type": "none"})),
            ToolChoice::Tool { name } => json!({"type": "tool", "name": name}),
        };
        if let (Some(on), Value::Object(fields)) = (self.one_tool_at_a_time, &mut wire) {
            fields.insert("disable_parallel_tool_use".into(), Value::Bool(on));
        }
        Some(wire)
    }
}

fn refused(why: String) -> Failure {
    Failure::new(codes::LLM_INVALID_REQUEST, why)
}

fn written(body: &Body<'_>) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body).map_err(|e| Failure::new(codes::INTERNAL, format!("a request can't be written: {e}")))
}

fn blocks_of(request: &LlmRequest) -> impl Iterator<Item = &Content> {
    request.system.iter().chain(request.messages.iter().flat_map(|message| &message.content))
}

fn check(block: &Content) -> Result<(), Failure> {
    match block {
        Content::Image { source: ImageSource::Blob { .. } } => Err(refused(
            "an image from the blob store can't be sent by this adapter yet: give the image's `url`".into(),
        )),
        Content::ToolResult { content, .. } => content.iter().try_for_each(check),
        _ => Ok(()),
    }
}

/// The whole body; `stream` is `None` for a count.
struct Body<'a> {
    wire: &'a Wire<'a>,
    stream: Option<bool>,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Wire { request, output_config, provider_tools, .. } = self.wire;
        let counting = self.stream.is_none();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", &request.model)?;
        for (key, value) in &request.options {
            let left_out = MINE.contains(&key.as_str()) || (counting && NOT_COUNTED.contains(&key.as_str()));
            if !left_out {
                map.serialize_entry(key, value)?;
            }
        }
        if !request.tools.is_empty() || !provider_tools.is_empty() {
            map.serialize_entry("tools", &Tools(&request.tools, provider_tools))?;
        }
        if let Some(choice) = self.wire.tool_choice() {
            map.serialize_entry("tool_choice", &choice)?;
        }
        if !request.system.is_empty() {
            map.serialize_entry("system", &Blocks(&request.system))?;
        }
        map.serialize_entry("messages", &Turns(&request.messages))?;
        if let Some(config) = output_config {
            map.serialize_entry("output_config", config)?;
        }
        if let Some(stream) = self.stream {
            map.serialize_entry("max_tokens", &request.max_tokens)?;
            if let Some(temperature) = request.temperature {
                map.serialize_entry("temperature", &temperature)?;
            }
            if !request.stop_sequences.is_empty() {
                map.serialize_entry("stop_sequences", &request.stop_sequences)?;
            }
            // The API knows this fact about a call and refuses all others.
            if let Some(user) = request.metadata.get("user_id") {
                map.serialize_entry("metadata", &json!({"user_id": user}))?;
            }
            if stream {
                map.serialize_entry("stream", &true)?;
            }
        }
        map.end()
    }
}

struct Tools<'a>(&'a [Tool], &'a [Value]);

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A tool's own form is the API's.
        let mut seq = serializer.serialize_seq(Some(self.0.len() + self.1.len()))?;
        self.0.iter().try_for_each(|tool| seq.serialize_element(tool))?;
        self.1.iter().try_for_each(|tool| seq.serialize_element(tool))?;
        seq.end()
    }
}

struct Turns<'a>(&'a [Message]);

impl Serialize for Turns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Turn<'a> {
            role: Role,
            content: Blocks<'a>,
        }
        serializer.collect_seq(self.0.iter().map(|turn| Turn { role: turn.role, content: Blocks(&turn.content) }))
    }
}

/// The content of a message, with what an answer had beside its blocks put back in its place.
struct Blocks<'a>(&'a [Content]);

impl Serialize for Blocks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is = |block: &Content, kind: &str| matches!(block, Content::Other(value) if value["type"] == kind);
        let extra = self.0.last().filter(|last| is(last, EXTRA));
        let extra_of = |index: usize| match extra {
            Some(Content::Other(value)) => value["of"][index.to_string()].as_object(),
            _ => None,
        };
        let mut seq = serializer.serialize_seq(None)?;
        for (index, block) in self.0.iter().enumerate() {
            // How an answer was declined is no content to be sent back.
            if !is(block, EXTRA) && !is(block, "refusal") {
                seq.serialize_element(&Block(block, extra_of(index)))?;
            }
        }
        seq.end()
    }
}

struct Block<'a>(&'a Content, Option<&'a Map<String, Value>>);

impl Serialize for Block<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Content::Other(value) = self.0 {
            let unread = value["type"] == UNREAD;
            return if unread { value["block"].serialize(serializer) } else { value.serialize(serializer) };
        }
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Content::Text { text, cache } => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
                match cache {
                    None => {}
                    Some(CacheTtl::FiveMinutes) => {
                        map.serialize_entry("cache_control", &json!({"type": "ephemeral"}))?
                    }
                    Some(CacheTtl::OneHour) => {
                        map.serialize_entry("cache_control", &json!({"type": "ephemeral", "ttl": "1h"}))?;
                    }
                }
            }
            Content::Image { source: ImageSource::Url { url } } => {
                map.serialize_entry("type", "image")?;
                map.serialize_entry("source", &json!({"type": "url", "url": url}))?;
            }
            Content::Image { source: ImageSource::Blob { .. } } => {
                return Err(S::Error::custom("an image from the blob store"));
            }
            Content::ToolUse { id, name, input } => {
                map.serialize_entry("type", "tool_use")?;
                map.serialize_entry("id", id)?;
                map.serialize_entry("name", name)?;
                map.serialize_entry("input", input)?;
            }
            Content::ToolResult { tool_use_id, content, is_error } => {
                map.serialize_entry("type", "tool_result")?;
                map.serialize_entry("tool_use_id", tool_use_id)?;
                if !content.is_empty() {
                    map.serialize_entry("content", &Blocks(content))?;
                }
                if *is_error {
                    map.serialize_entry("is_error", is_error)?;
                }
            }
            Content::Thinking { thinking, signature } => {
                map.serialize_entry("type", "thinking")?;
                map.serialize_entry("thinking", thinking)?;
                if let Some(signature) = signature {
                    map.serialize_entry("signature", signature)?;
                }
            }
            Content::Other(_) => {}
        }
        for (key, value) in self.1.into_iter().flatten() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
