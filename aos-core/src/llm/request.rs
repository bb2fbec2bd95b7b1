//! What is asked of a model, in terms that every provider can be spoken to with.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use super::content::{Content, blocks};
use crate::canonical::{self, Hash};
use crate::error::{Failure, codes};

/// One request to a language model.
///
/// The JSON form is strict: unknown fields are errors. Where it has a list of content blocks, a plain string is read
/// as one text block; written are always lists, so that one request has one text and one [hash](LlmRequest::hash).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmRequest {
    /// The provider's name of the model.
    pub model: String,
    /// The system prompt.
    #[serde(default, deserialize_with = "blocks", skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<Content>,
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// What the model may ask to be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Whether it may, must or must not ask; [`ToolChoice::Auto`] when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// JSON Schema (2020-12) that the answer's text must be an instance of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<Value>,
    /// The most tokens the answer may have.
    pub max_tokens: u32,
    /// How much chance there is in the answer, from 0; the provider's default when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Texts at which the answer ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<String>,
    /// Parameters of one provider (`thinking`, `effort`, …): passed on as they are by an adapter that knows them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// Facts about the call for the provider's records; no part of the request's identity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl LlmRequest {
    /// A request of one user message, for an answer of at most 1,024 tokens.
    pub fn new(model: impl Into<String>, prompt: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            system: Vec::new(),
            messages: vec![Message { role: Role::User, content: vec![Content::text(prompt)] }],
            tools: Vec::new(),
            tool_choice: None,
            response_schema: None,
            max_tokens: 1_024,
            temperature: None,
            stop_sequences: Vec::new(),
            options: Map::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// The request as a JSON value without its metadata: what two equal questions have in common.
    ///
    /// # Errors
    /// A number that canonical JSON can't carry, or a value that nests too deep.
    pub fn identity(&self) -> Result<Value, Failure> {
        let mut value =
            serde_json::to_value(self).map_err(|error| Failure::new(codes::INVALID_JSON, error.to_string()))?;
        if let Value::Object(fields) = &mut value {
            fields.remove("metadata");
        }
        canonical::normalize(&mut value)?;
        Ok(value)
    }

    /// SHA-256 of the canonical text of the [identity](LlmRequest::identity): the key of the stub's answers, of
    /// cassettes and of caches.
    ///
    /// # Errors
    /// As [`LlmRequest::identity`].
    pub fn hash(&self) -> Result<Hash, Failure> {
        Ok(Hash::of(canonical::write(&self.identity()?)))
    }

    /// Looks for what no provider would take.
    ///
    /// # Errors
    /// [`codes::LLM_INVALID_REQUEST`] naming the field: an empty model or conversation, no tokens for the answer, a
    /// temperature below zero, two tools of one name, a tool choice without its tool.
    pub fn check(&self) -> Result<(), Failure> {
        let refuse = |why: String| Err(Failure::new(codes::LLM_INVALID_REQUEST, why));
        if self.model.is_empty() {
            return refuse("`model` is empty".into());
        }
        if self.messages.is_empty() {
            return refuse("`messages` is empty: a request needs at least one message".into());
        }
        if self.max_tokens == 0 {
            return refuse("`max_tokens` is 0: the answer needs at least one token".into());
        }
        if let Some(temperature) = self.temperature.filter(|t| !t.is_finite() || *t < 0.0) {
            return refuse(format!("`temperature` is {temperature}: expected a number from 0"));
        }
        let mut names = BTreeSet::new();
        for (index, tool) in self.tools.iter().enumerate() {
            if tool.name.is_empty() {
                return refuse(format!("`tools[{index}].name` is empty"));
            }
            if !names.insert(tool.name.as_str()) {
                return refuse(format!("`tools[{index}]` has the name of an earlier tool, {:?}", tool.name));
            }
        }
        match &self.tool_choice {
            Some(ToolChoice::Any) if names.is_empty() => {
                refuse("`tool_choice` demands a tool call, and `tools` is empty".into())
            }
            Some(ToolChoice::Tool { name }) if !names.contains(name.as_str()) => {
                let offered: Vec<_> = names.into_iter().collect();
                refuse(format!(
                    "`tool_choice` names the tool {name:?}, which is not offered: `tools` has [{}]",
                    offered.join(", ")
                ))
            }
            _ => Ok(()),
        }
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Whose turn it is.
    pub role: Role,
    /// What was said; a plain string is read as one text block.
    #[serde(deserialize_with = "blocks")]
    pub content: Vec<Content>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Whoever asks; tool results too.
    User,
    /// The model.
    Assistant,
}

/// Something that the model may ask to be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does and when to use it, for the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// JSON Schema (2020-12) of its input.
    pub input_schema: Value,
}

/// Whether a model asks for tools; `{"type": "auto"}` and so on as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// For at least one.
    Any,
    /// For none.
    None,
    /// For this one.
    Tool {
        /// The tool's name.
        name: String,
    },
}

// By hand, because the derived form would let unknown fields pass beside a type that has no field.
impl<'de> Deserialize<'de> for ToolChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            r#type: String,
            name: Option<String>,
        }

        let Wire { r#type: kind, name } = Wire::deserialize(deserializer)?;
        match (kind.as_str(), name) {
            ("auto", None) => Ok(Self::Auto),
            ("any", None) => Ok(Self::Any),
            ("none", None) => Ok(Self::None),
            ("tool", Some(name)) => Ok(Self::Tool { name }),
            ("tool", None) => Err(de::Error::missing_field("name")),
            ("auto" | "any" | "none", Some(_)) => Err(de::Error::unknown_field("name", &["type"])),
            (other, _) => Err(de::Error::unknown_variant(other, &["auto", "any", "none", "tool"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> LlmRequest {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn strings_and_blocks_are_one_request() {
        let short = parse(json!({
            "model": "m", "system": "be brief", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]
        }));
        let long = parse(json!({
            "model": "m", "system": [{"type": "text", "text": "be brief"}], "max_tokens": 10,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
        }));
        assert_eq!(short, long);
        assert_eq!(short.hash().unwrap(), long.hash().unwrap());
        assert_eq!(parse(serde_json::to_value(&short).unwrap()), short);
    }

    #[test]
    fn everything_but_metadata_is_identity() {
        let base = LlmRequest::new("m", "hi");
        let hash = base.hash().unwrap();
        let mut same = base.clone();
        same.metadata.insert("user".into(), "u1".into());
        assert_eq!(same.hash().unwrap(), hash);
        let changes: [fn(&mut LlmRequest); 10] = [
            |r| r.model = "n".into(),
            |r| r.system = vec![Content::text("s")],
            |r| r.messages[0].role = Role::Assistant,
            |r| r.tools = vec![Tool { name: "t".into(), description: String::new(), input_schema: json!({}) }],
            |r| r.tool_choice = Some(ToolChoice::None),
            |r| r.response_schema = Some(json!(true)),
            |r| r.max_tokens += 1,
            |r| r.temperature = Some(0.5),
            |r| r.stop_sequences = vec!["END".into()],
            |r| drop(r.options.insert("effort".into(), json!("high"))),
        ];
        let mut hashes = BTreeSet::from([hash]);
        for (index, change) in changes.iter().enumerate() {
            let mut other = base.clone();
            change(&mut other);
            assert!(hashes.insert(other.hash().unwrap()), "change {index} has the hash of another request");
        }
    }

    #[test]
    fn the_hash_is_fixed_for_ever() {
        // Cassettes and caches in the field are keyed by it.
        let request = parse(
            json!({"model": "m", "max_tokens": 10, "temperature": 1.0, "messages": [{"role": "user", "content": "hi"}]}),
        );
        let text = r#"{"max_tokens":10,"messages":[{"content":[{"text":"hi","type":"text"}],"role":"user"}],"model":"m","temperature":1}"#;
        assert_eq!(request.hash().unwrap(), Hash::of(text));
    }

    #[test]
    fn unknown_fields_are_refused() {
        for choice in ["auto", "any", "none"] {
            let value = json!({"type": choice});
            let parsed: ToolChoice = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(parsed).unwrap(), value);
        }
        for value in [
            json!({"model": "m", "max_tokens": 1, "messages": [], "tool_choice": {"type": "tool"}}),
            json!({"model": "m", "max_tokens": 1, "messages": [], "tool_choice": {"type": "some"}}),
            json!({"model": "m", "max_tokens": 1, "messages": [], "tempreature": 1}),
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "", "name": "x"}]}),
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "system", "content": ""}]}),
            json!({"model": "m", "max_tokens": 1, "messages": [], "tool_choice": {"type": "auto", "name": "x"}}),
        ] {
            assert!(serde_json::from_value::<LlmRequest>(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn check_names_the_field() {
        let tool = |name: &str| Tool { name: name.into(), description: String::new(), input_schema: json!({}) };
        type Break = Box<dyn Fn(&mut LlmRequest)>;
        let table: [(&str, Break); 8] = [
            ("`model` is empty", Box::new(|r| r.model.clear())),
            ("`messages` is empty", Box::new(|r| r.messages.clear())),
            ("`max_tokens` is 0", Box::new(|r| r.max_tokens = 0)),
            ("`temperature` is -1", Box::new(|r| r.temperature = Some(-1.0))),
            ("`tools[0].name` is empty", Box::new(move |r| r.tools = vec![tool("")])),
            ("`tools[1]` has the name", Box::new(move |r| r.tools = vec![tool("a"), tool("a")])),
            ("`tools` is empty", Box::new(|r| r.tool_choice = Some(ToolChoice::Any))),
            (
                "\"b\", which is not offered: `tools` has [a]",
                Box::new(move |r| {
                    r.tools = vec![tool("a")];
                    r.tool_choice = Some(ToolChoice::Tool { name: "b".into() });
                }),
            ),
        ];
        assert!(LlmRequest::new("m", "hi").check().is_ok());
        for (message, change) in table {
            let mut request = LlmRequest::new("m", "hi");
            change(&mut request);
            let failure = request.check().unwrap_err();
            assert_eq!(failure.code, codes::LLM_INVALID_REQUEST);
            assert!(failure.message.contains(message), "{failure}");
        }
    }
}
