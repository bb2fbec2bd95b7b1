//! The adapter that makes answers up: deterministic, free, and reaching nobody.

use serde_json::Value;

use super::adapter::{LlmAdapter, LlmAnswer, LlmCall};
use super::adapters::STUB;
use super::content::Content;
use super::failure::LlmFailure;
use super::request::{LlmRequest, Role, Tool, ToolChoice};
use super::response::{LlmResponse, StopReason, Usage};
use super::sample::sample;
use crate::BoxFuture;
use crate::canonical::{self, Hash};
use crate::error::{Failure, codes};
use crate::money::Money;
use crate::random::{Rng, Seed};

/// How many different tools the stub calls in one conversation when it is free to choose.
const MAX_TOOLS: usize = 3;

/// How much of the last question an answer quotes, in characters.
const QUOTED_CHARS: usize = 60;

/// An adapter whose answer is a function of the request's [hash](LlmRequest::hash) and the call's seed.
///
/// - With a `response_schema` the answer is JSON text that conforms to it. When none can be made up, the call fails
///   with [`codes::LLM_INVALID_REQUEST`] and says what in the schema is the reason.
/// - With tools it calls each of them once, in the order offered and with input that conforms to the tool's schema,
///   at most three in one conversation; then it answers, so that an agent's loop ends. A `tool_choice` that demands a
///   call is obeyed.
/// - Otherwise it answers with a line that quotes the last question.
///
/// `max_tokens` and `stop_sequences` cut text as a model's would be. Usage is derived from the lengths of the texts
/// (about four characters to a token); the cost is zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct StubAdapter;

impl StubAdapter {
    /// The answer to `request` under `seed`.
    ///
    /// # Errors
    /// [`codes::LLM_INVALID_REQUEST`] as described above, or a request without canonical form.
    pub fn answer(request: &LlmRequest, seed: Seed) -> Result<LlmResponse, Failure> {
        let identity = canonical::write(&request.identity()?);
        let hash = Hash::of(&identity);
        let mut rng = Rng::new(seed, &format!("stub/{hash}"));
        let (content, stop_reason) = match next_tool(request) {
            Some(tool) => (vec![tool_use(tool, &hash, &mut rng)?], StopReason::ToolUse),
            None => match &request.response_schema {
                Some(schema) => (vec![Content::text(json_text(schema, request, &mut rng)?)], StopReason::EndTurn),
                None => {
                    let (text, reason) = cut(plain_text(request, &hash), request);
                    (vec![Content::text(text)], reason)
                }
            },
        };
        let written = content.iter().map(|block| tokens(&written_text(block))).sum();
        let usage = Usage { input_tokens: tokens(&identity), output_tokens: written, ..Usage::default() };
        Ok(LlmResponse { content, stop_reason, usage, model: request.model.clone(), adapter: STUB.into() })
    }
}

impl LlmAdapter for StubAdapter {
    fn name(&self) -> &str {
        STUB
    }

    fn is_live(&self) -> bool {
        false
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        Box::pin(async move {
            let response = Self::answer(&call.request, call.seed)?;
            Ok(LlmAnswer::new(response, Some(Money::ZERO)))
        })
    }
}

/// The tool to call now, if any.
fn next_tool(request: &LlmRequest) -> Option<&Tool> {
    let blocks = request.messages.iter().flat_map(|message| &message.content);
    let used: Vec<&str> = blocks
        .filter_map(|block| match block {
            Content::ToolUse { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let unused = request.tools.iter().take(MAX_TOOLS).find(|tool| !used.contains(&tool.name.as_str()));
    match request.tool_choice.as_ref().unwrap_or(&ToolChoice::Auto) {
        ToolChoice::Auto => unused,
        ToolChoice::Any => unused.or(request.tools.first()),
        ToolChoice::Tool { name } => request.tools.iter().find(|tool| tool.name == *name),
        ToolChoice::None => None,
    }
}

fn tool_use(tool: &Tool, hash: &Hash, rng: &mut Rng) -> Result<Content, Failure> {
    let input = sample(&tool.input_schema, rng)
        .map_err(|error| refused(format!("the input schema of the tool {:?}: {error}", tool.name)))?;
    let id = Hash::of(format!("{hash}/{}", tool.name)).to_string();
    Ok(Content::ToolUse { id: format!("stub_{}", &id[..24]), name: tool.name.clone(), input })
}

fn json_text(schema: &Value, request: &LlmRequest, rng: &mut Rng) -> Result<String, Failure> {
    let value = sample(schema, rng).map_err(|error| refused(format!("`response_schema`: {error}")))?;
    let text = canonical::write(&value);
    // A text cut in the middle would not conform, and half an answer is worse than none.
    if tokens(&text) > u64::from(request.max_tokens) {
        return Err(refused(format!(
            "`max_tokens` is {}, and the stub's answer to `response_schema` takes {}",
            request.max_tokens,
            tokens(&text)
        )));
    }
    Ok(text)
}

fn refused(why: String) -> Failure {
    Failure::new(codes::LLM_INVALID_REQUEST, format!("the stub adapter can't answer: {why}"))
}

fn plain_text(request: &LlmRequest, hash: &Hash) -> String {
    let questions = request.messages.iter().rev().filter(|message| message.role == Role::User);
    let question = questions.flat_map(|message| message.content.iter().rev()).find_map(Content::as_text);
    let short = &hash.to_string()[..8];
    match question.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty()) {
        None => format!("stub answer {short}"),
        Some(text) if text.chars().count() <= QUOTED_CHARS => format!("stub answer {short} to \"{text}\""),
        Some(text) => {
            let start: String = text.chars().take(QUOTED_CHARS).collect();
            format!("stub answer {short} to \"{}…\"", start.trim_end())
        }
    }
}

/// Ends `text` where a model would have to.
fn cut(mut text: String, request: &LlmRequest) -> (String, StopReason) {
    let stops = request.stop_sequences.iter().filter(|stop| !stop.is_empty());
    let mut reason = StopReason::EndTurn;
    if let Some(end) = stops.filter_map(|stop| text.find(stop)).min() {
        text.truncate(end);
        reason = StopReason::StopSequence;
    }
    if tokens(&text) > u64::from(request.max_tokens) {
        // Fits: the text has more characters than this.
        text = text.chars().take(request.max_tokens as usize * CHARS_PER_TOKEN).collect();
        reason = StopReason::MaxTokens;
    }
    (text, reason)
}

fn written_text(block: &Content) -> String {
    match block {
        Content::Text { text, .. } => text.clone(),
        Content::ToolUse { name, input, .. } => format!("{name}{input}"),
        _ => String::new(),
    }
}

const CHARS_PER_TOKEN: usize = 4;

fn tokens(text: &str) -> u64 {
    text.chars().count().div_ceil(CHARS_PER_TOKEN) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Message;
    use serde_json::json;

    fn answer(request: &LlmRequest) -> LlmResponse {
        StubAdapter::answer(request, Seed::new(7)).unwrap()
    }

    fn tool(name: &str) -> Tool {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        Tool { name: name.into(), description: String::new(), input_schema: schema }
    }

    fn called(response: &LlmResponse) -> Option<&str> {
        match &response.content[..] {
            [Content::ToolUse { name, input, .. }] => {
                assert!(input["city"].is_string(), "{input}");
                assert_eq!(response.stop_reason, StopReason::ToolUse);
                Some(name)
            }
            _ => None,
        }
    }

    #[test]
    fn quotes_the_last_question() {
        for (prompt, end) in [
            ("What is  Rust?\n", " to \"What is Rust?\""),
            ("  ", ""),
            (&"word ".repeat(30), " to \"word word word word word word word word word word word word…\""),
        ] {
            let response = answer(&LlmRequest::new("m", prompt));
            let text = response.text();
            let rest = text.strip_prefix("stub answer ").unwrap();
            assert_eq!(&rest[8..], end);
            assert_eq!(response.stop_reason, StopReason::EndTurn);
            assert_eq!((response.model.as_str(), response.adapter.as_str()), ("m", "stub"));
            assert_eq!(response.usage.output_tokens, text.chars().count().div_ceil(4) as u64);
            assert!(response.usage.input_tokens > 20);
        }
    }

    #[test]
    fn is_a_function_of_request_and_seed() {
        let mut request = LlmRequest::new("m", "hi");
        request.response_schema = Some(json!({"type": "integer", "minimum": 0, "maximum": 1_000_000_000}));
        let first = answer(&request);
        assert_eq!(answer(&request), first);
        request.metadata.insert("user".into(), "u".into());
        assert_eq!(answer(&request).content, first.content);
        assert_ne!(StubAdapter::answer(&request, Seed::new(8)).unwrap().content, first.content);
        request.model = "n".into();
        assert_ne!(answer(&request).content, first.content);
    }

    #[test]
    fn is_the_same_for_ever() {
        // Golden files of workflows on the stub depend on it.
        let mut request = LlmRequest::new("m", "hi");
        assert_eq!(answer(&request).text(), TEXT);
        request.response_schema = Some(json!({
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}}}
        }));
        assert_eq!(answer(&request).text(), JSON);
    }

    const TEXT: &str = "stub answer 8e2b2d95 to \"hi\"";
    const JSON: &str = r#"{"age":47,"name":"stub name 61","tags":["a"]}"#;

    #[test]
    fn an_agent_loop_ends() {
        let mut request = LlmRequest::new("m", "weather?");
        request.tools = ["a", "b", "c", "d"].map(tool).to_vec();
        let mut calls = Vec::new();
        for _ in 0..10 {
            let response = answer(&request);
            let Some(name) = called(&response) else {
                assert_eq!(response.stop_reason, StopReason::EndTurn);
                break;
            };
            calls.push(name.to_owned());
            let [Content::ToolUse { id, .. }] = &response.content[..] else { unreachable!() };
            let result =
                Content::ToolResult { tool_use_id: id.clone(), content: vec![Content::text("sun")], is_error: false };
            request.messages.push(Message { role: Role::Assistant, content: response.content.clone() });
            request.messages.push(Message { role: Role::User, content: vec![result] });
        }
        assert_eq!(calls, ["a", "b", "c"]);
    }

    #[test]
    fn obeys_the_tool_choice() {
        let used = vec![
            Message {
                role: Role::Assistant,
                content: vec![Content::ToolUse { id: "1".into(), name: "a".into(), input: json!({}) }],
            },
            Message { role: Role::User, content: vec![] },
        ];
        for (choice, after_use, expected) in [
            (None, false, Some("a")),
            (None, true, Some("b")),
            (Some(ToolChoice::None), false, None),
            (Some(ToolChoice::Any), true, Some("b")),
            (Some(ToolChoice::Tool { name: "a".into() }), true, Some("a")),
            (Some(ToolChoice::Tool { name: "b".into() }), false, Some("b")),
        ] {
            let mut request = LlmRequest::new("m", "hi");
            request.tools = vec![tool("a"), tool("b")];
            request.tool_choice = choice.clone();
            if after_use {
                request.messages.extend(used.clone());
            }
            assert_eq!(called(&answer(&request)), expected, "{choice:?}");
        }
        let mut request = LlmRequest::new("m", "hi");
        request.tools = vec![tool("a")];
        request.tool_choice = Some(ToolChoice::Any);
        request.messages.extend(used);
        assert_eq!(called(&answer(&request)), Some("a"));
    }

    #[test]
    fn bounds_cut_the_text() {
        let mut request = LlmRequest::new("m", "hi");
        request.max_tokens = 2;
        let response = answer(&request);
        assert_eq!(
            (response.text().as_str(), response.stop_reason, response.usage.output_tokens),
            ("stub ans", StopReason::MaxTokens, 2)
        );
        request.max_tokens = 100;
        request.stop_sequences = vec!["".into(), "answer".into(), "zzz".into()];
        let response = answer(&request);
        assert_eq!((response.text().as_str(), response.stop_reason), ("stub ", StopReason::StopSequence));
    }

    #[test]
    fn never_gives_a_wrong_answer() {
        for (schema, why) in [
            (json!(false), "no value that conforms"),
            (json!({"type": "string", "pattern": "(?=a)b"}), "/pattern \"(?=a)b\" is not supported: look-around"),
            (json!({"$ref": "https://example.com/s.json"}), "only references within the schema"),
            (json!({"properties": {"a": {"unevaluatedItems": false}}}), "/properties/a/unevaluatedItems"),
            (
                json!({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}),
                "no value that conforms",
            ),
            (json!({"type": "string", "minLength": 1_000}), "takes 251"),
            (json!(1), "is not a schema"),
        ] {
            let mut request = LlmRequest::new("m", "hi");
            request.max_tokens = 200;
            request.response_schema = Some(schema.clone());
            let failure = StubAdapter::answer(&request, Seed::new(1)).unwrap_err();
            assert_eq!(failure.code, codes::LLM_INVALID_REQUEST);
            assert!(failure.message.contains(why), "{schema}: {failure}");
        }
        let mut request = LlmRequest::new("m", "hi");
        request.tools = vec![Tool { name: "t".into(), description: String::new(), input_schema: json!(false) }];
        let failure = StubAdapter::answer(&request, Seed::new(1)).unwrap_err();
        assert!(failure.message.contains("the input schema of the tool \"t\""), "{failure}");
    }
}
