//! Trouble and refusals as failures of an adapter.

use aos_core::llm::{LlmFailure, Sent, Usage};
use aos_core::{Code, Failure, codes};
use serde_json::{Value, json};

use super::transport::Trouble;

/// The most characters of a provider's own words that a failure repeats.
const MAX_WORDS: usize = 500;

impl Trouble {
    /// The failure, with `who` as the provider's name in messages.
    pub(super) fn into_failure(self, who: &str) -> LlmFailure {
        let (code, sent, message) = match self {
            Self::NotSent(why) => {
                (codes::LLM_UNREACHABLE, Sent::No, format!("{who} can't be reached; nothing was sent: {why}"))
            }
            Self::BrokeOff(why) => (
                codes::LLM_INTERRUPTED,
                Sent::Unknown,
                format!("the exchange with {who} broke off before the answer was complete: {why}"),
            ),
            Self::Late(phase, longest) => {
                let seconds = longest.as_secs_f64();
                (codes::LLM_TIMEOUT, Sent::Unknown, format!("{who}: the {phase} did not come within {seconds} s"))
            }
            Self::Deadline { sent } => {
                let sent = if sent { Sent::Unknown } else { Sent::No };
                (codes::LLM_TIMEOUT, sent, format!("{who} had not answered when the call's deadline came"))
            }
            Self::TooLarge(max) => {
                (codes::LLM_INVALID_RESPONSE, Sent::Unknown, format!("the answer of {who} has more than {max} bytes"))
            }
        };
        LlmFailure::new(sent, Failure::new(code, message))
    }
}

/// A provider's refusal, as its adapter understands it.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The failure's code.
    pub code: Code,
    /// Whether the request was refused, or may have been worked on.
    pub sent: Sent,
    /// The HTTP status; `None` for an error inside a stream.
    pub status: Option<u16>,
    /// The provider's word for the kind of error.
    pub kind: Option<String>,
    /// The provider's own words, of any length.
    pub words: String,
    /// The provider's name of the request, if the error has it.
    pub request_id: Option<String>,
}

impl Refusal {
    /// The failure; `redact` takes keys out of the provider's words.
    pub(super) fn into_failure(self, who: &str, redact: impl Fn(String) -> String) -> LlmFailure {
        let Self { code, sent, status, kind, words, request_id } = self;
        let by = match (status, &kind) {
            (Some(status), Some(kind)) => format!("{status} {}", excerpt(kind)),
            (Some(status), None) => status.to_string(),
            (None, Some(kind)) => format!("{} inside the stream", excerpt(kind)),
            (None, None) => "an error inside the stream".to_owned(),
        };
        // Shortened last: half a key would not be recognised.
        let words = excerpt(&redact(words));
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        let failure = Failure::new(code, redact(format!("{who} answered with {by}{words}")))
            .details(json!({"status": status, "type": kind.map(|kind| excerpt(&redact(kind)))}));
        LlmFailure::new(sent, failure).request_id(request_id)
    }
}

/// The failure of an attempt of which something was shown already.
pub(super) fn shown(mut failure: LlmFailure) -> LlmFailure {
    failure.failure.retryable = false;
    failure.failure.retry_after_ms = None;
    failure.failure.message.push_str("; a part of the answer was shown already, so it is not tried again");
    failure
}

/// The failure of an attempt that the provider answered, if it said what that used.
pub(super) fn answered(mut failure: LlmFailure, usage: Option<Usage>) -> LlmFailure {
    if usage.is_some() {
        failure.sent = Sent::Answered;
    }
    failure.usage(usage)
}

/// The failure with the provider's name of the request, which the workflow gets among the details.
pub(super) fn named(mut failure: LlmFailure, id: Option<&str>) -> LlmFailure {
    let id = failure.request_id.take().or_else(|| id.map(str::to_owned));
    if let Some(id) = &id {
        match &mut failure.failure.details {
            Value::Object(details) => drop(details.insert("request_id".into(), Value::String(id.clone()))),
            details => *details = json!({"request_id": id}),
        }
    }
    failure.request_id(id)
}

/// A provider's words for a message: one line, bounded. Keys are taken out of them before, so that none is cut; what
/// comes late in long words is left out in any case, for it may have been cut already.
pub(super) fn excerpt(words: &str) -> String {
    let words = words.get(..words.floor_char_boundary(4_096)).unwrap_or(words);
    let mut line: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    if let Some((cut, _)) = line.char_indices().nth(MAX_WORDS - 1)
        && line.chars().nth(MAX_WORDS).is_some()
    {
        line.truncate(cut);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_one_bounded_line() {
        assert_eq!(excerpt(" a\r\n b\u{1b}[0m\tc "), "a b[0m c");
        assert_eq!(excerpt(&"é".repeat(500)), "é".repeat(500));
        let cut = excerpt(&"é".repeat(5_000));
        assert!(cut.ends_with('…') && cut.chars().count() == 500, "{cut}");
    }

    #[test]
    fn a_key_at_the_cut_is_redacted_whole() {
        let words = format!("{} sk-secret-key and more", "x".repeat(490));
        let redact = |text: String| text.replace("sk-secret-key", "[redacted]");
        let refusal = Refusal {
            code: codes::LLM_INVALID_REQUEST,
            sent: Sent::Refused,
            status: Some(400),
            kind: Some("sk-secret-key".into()),
            words,
            request_id: None,
        };
        let text = format!("{:?}", refusal.into_failure("X", redact));
        assert!(!text.contains("sk-"), "{text}");
    }
}
