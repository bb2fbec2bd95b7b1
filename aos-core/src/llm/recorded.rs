//! The adapter that answers from a cassette, and the wrapper that records one.

use std::sync::{Arc, Mutex, PoisonError};

use super::adapter::{LlmAdapter, LlmAnswer, LlmCall};
use super::cassette::Cassette;
use super::failure::{LlmFailure, Sent};
use crate::BoxFuture;
use crate::money::Money;

/// Answers from a [`Cassette`], without cost; what was never recorded is
/// [`codes::LLM_CASSETTE_MISS`](crate::codes::LLM_CASSETTE_MISS). It is not live.
#[derive(Clone, Debug)]
pub struct RecordedAdapter {
    name: String,
    cassette: Cassette,
}

impl RecordedAdapter {
    /// The adapter `recorded`.
    pub fn new(cassette: Cassette) -> Self {
        Self::named("recorded", cassette)
    }

    /// An adapter under the name of another one, so that workflows that name that one run on its recordings.
    pub fn named(name: impl Into<String>, cassette: Cassette) -> Self {
        Self { name: name.into(), cassette }
    }
}

impl LlmAdapter for RecordedAdapter {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        let answer = self.cassette.answer(&call.request).map(|response| {
            let mut response = response.clone();
            response.adapter.clone_from(&self.name);
            LlmAnswer::new(response, Some(Money::ZERO))
        });
        Box::pin(std::future::ready(answer.map_err(LlmFailure::from)))
    }
}

/// Passes calls on to another adapter and records its answers; failures are not recorded.
///
/// It keeps them in memory: the host takes [`Recorder::cassette`] and writes its text where it belongs.
pub struct Recorder {
    inner: Arc<dyn LlmAdapter>,
    cassette: Mutex<Cassette>,
}

impl Recorder {
    /// Records what `inner` answers, under its name.
    pub fn new(inner: Arc<dyn LlmAdapter>) -> Self {
        Self::continued(inner, Cassette::default())
    }

    /// Records into a cassette that has answers already; these stay.
    pub fn continued(inner: Arc<dyn LlmAdapter>, cassette: Cassette) -> Self {
        Self { inner, cassette: Mutex::new(cassette) }
    }

    /// What was recorded so far.
    pub fn cassette(&self) -> Cassette {
        // An entry is added in one call, so a panic elsewhere leaves the cassette whole.
        self.cassette.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl LlmAdapter for Recorder {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        Box::pin(async move {
            let request = Arc::clone(&call.request);
            let answer = self.inner.invoke(call).await?;
            let mut cassette = self.cassette.lock().unwrap_or_else(PoisonError::into_inner);
            // The answer is paid for, so a trouble with recording must not lose what it cost.
            cassette
                .record(&request, answer.response.clone())
                .map_err(|failure| LlmFailure::new(Sent::Answered, failure).usage(Some(answer.response.usage)))?;
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Failure;
    use crate::codes;
    use crate::llm::{LlmRequest, StubAdapter};
    use crate::random::Seed;

    fn ask(adapter: &dyn LlmAdapter, prompt: &str) -> Result<LlmAnswer, Failure> {
        Ok(pollster::block_on(adapter.invoke(LlmCall::new(LlmRequest::new("m", prompt), Seed::new(1))))?)
    }

    fn recorded(prompts: &[&str]) -> Cassette {
        let recorder = Recorder::new(Arc::new(StubAdapter));
        for prompt in prompts {
            ask(&recorder, prompt).unwrap();
        }
        recorder.cassette()
    }

    #[test]
    fn what_was_recorded_is_answered_again() {
        let cassette = recorded(&["one", "two", "one"]);
        assert_eq!(cassette.len(), 2);
        let text = cassette.to_string();
        assert_eq!(Cassette::parse(&text).unwrap(), cassette);
        assert_eq!(Cassette::parse(&format!("\n{text}\n\n")).unwrap(), cassette);
        assert_eq!(recorded(&["two", "one"]).to_string(), text, "the order of recording does not show");
        let adapter = RecordedAdapter::new(cassette.clone());
        let (live, again) = (ask(&StubAdapter, "two").unwrap(), ask(&adapter, "two").unwrap());
        assert_eq!(again.response.content, live.response.content);
        assert_eq!((again.response.adapter.as_str(), again.cost), ("recorded", Some(Money::ZERO)));
        assert!(!adapter.is_live());
        assert_eq!(ask(&RecordedAdapter::named("claude", cassette), "one").unwrap().response.adapter, "claude");
    }

    #[test]
    fn lines_are_canonical_and_fixed() {
        // Cassettes in the field are read for ever.
        let text = recorded(&["hi"]).to_string();
        let expected = concat!(
            r#"{"request":{"max_tokens":1024,"messages":[{"content":[{"text":"hi","type":"text"}],"role":"user"}],"model":"m"},"#,
            r#""response":{"adapter":"stub","content":[{"text":"stub answer 8e2b2d95 to \"hi\"","type":"text"}],"model":"m","#,
            r#""stop_reason":"end_turn","usage":{"cache_read_tokens":0,"cache_write_tokens":0,"input_tokens":25,"output_tokens":7}}}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_miss_shows_the_nearest_request() {
        let adapter = RecordedAdapter::new(recorded(&["What is Rust?", "Where is Oslo?"]));
        let failure = ask(&adapter, "Where is Oslo!").unwrap_err();
        assert_eq!(failure.code, codes::LLM_CASSETTE_MISS);
        assert_eq!(
            failure.message,
            "the cassette has no answer to this request (2 recorded); where the nearest recorded one differs:\n\
             /messages/0/content/0/text\n  expected \"Where is Oslo?\"\n  actual   \"Where is Oslo!\""
        );
        assert_eq!(failure.details["places"], serde_json::json!(["/messages/0/content/0/text"]));
        assert!(!failure.retryable);
        let failure = ask(&RecordedAdapter::new(Cassette::default()), "x").unwrap_err();
        assert_eq!(failure.message, "the cassette has no answer to this request (0 recorded)");
    }

    #[test]
    fn bad_lines_are_named() {
        let good = recorded(&["hi"]).to_string();
        let good = good.trim_end();
        for (text, message) in [
            (format!("{good}\nnonsense"), "line 2: expected ident"),
            (format!("{good}\n\n{{\"request\":1}}"), "line 3: invalid type"),
            (good.replace("\"model\":\"m\",\"stop", "\"modle\":\"m\",\"stop"), "line 1: unknown field `modle`"),
            (good.replace("1024", "0"), "line 1: the request: `max_tokens` is 0"),
            (
                format!("{good}\n{}", good.replace("stub answer", "other")),
                "line 2: another answer to the request of line 1",
            ),
            ("x\n".repeat(20), "line 10: expected value at line 1 column 1; and more"),
        ] {
            let failure = Cassette::parse(&text).unwrap_err();
            assert_eq!(failure.code, codes::INVALID_REQUEST);
            assert!(failure.message.contains(message), "{failure}");
        }
        assert_eq!(Cassette::parse(&format!("{good}\n{good}")).unwrap().len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(edits in proptest::collection::vec((0_usize..400, proptest::char::any()), 1..6)) {
            let mut chars: Vec<char> = recorded(&["hi", "ho"]).to_string().chars().collect();
            for (at, c) in edits {
                let at = at % chars.len();
                chars[at] = c;
            }
            let text: String = chars.into_iter().collect();
            if let Ok(cassette) = Cassette::parse(&text) {
                proptest::prop_assert_eq!(Cassette::parse(&cassette.to_string()).unwrap(), cassette);
            }
        }
    }
}
