//! Where a run stands in a distributed trace, as [W3C Trace Context](https://www.w3.org/TR/trace-context/) has it.
//!
//! Ids of spans are derived, not drawn: a run's place in its trace follows from what is recorded of it, so that the
//! worker that goes on with it, another process, or an engineer with the record in hand names the same spans.
//!
//! ```
//! use aos_core::trace::TraceParent;
//!
//! let asked: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
//! let attempt = asked.child("fetch#1");
//! assert_eq!(attempt.trace_id(), asked.trace_id());
//! assert_eq!(attempt, asked.child("fetch#1"));
//! # Ok::<(), aos_core::trace::TraceParentError>(())
//! ```

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use crate::canonical::Hash;
use crate::id::RunId;

/// A span of a trace: what the header `traceparent` says, and what the spans below it refer to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: NonZeroU128,
    span: NonZeroU64,
    sampled: bool,
}

/// Why a text is not a `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a traceparent: expected 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, no id all zeros")]
pub struct TraceParentError {
    found: String,
}

impl TraceParent {
    /// A span by its ids, of which 0 is none.
    pub const fn new(trace: NonZeroU128, span: NonZeroU64, sampled: bool) -> Self {
        Self { trace, span, sampled }
    }

    /// Where a run begins a trace that nobody asked for within another one: the same for the same run, everywhere. Nobody
    /// wants its spans.
    pub fn of_run(run: &RunId) -> Self {
        let hash = Hash::of(format!("trace\n{run}"));
        let (first, second) = hash.as_bytes().split_at(16);
        let trace = u128::from_be_bytes(first.try_into().unwrap_or([1; 16]));
        let span = u64::from_be_bytes(second[..8].try_into().unwrap_or([1; 8]));
        // No hash of anything known begins with that many zeros; 1 is as good an id as any.
        let (trace, span) = (NonZeroU128::new(trace), NonZeroU64::new(span));
        Self::new(trace.unwrap_or(NonZeroU128::MIN), span.unwrap_or(NonZeroU64::MIN), false)
    }

    /// A span below this one. The same name gives the same span.
    pub fn child(&self, name: &str) -> Self {
        let hash = Hash::of(format!("span\n{self}\n{name}"));
        let span = hash.as_bytes().first_chunk().map_or(1, |bytes| u64::from_be_bytes(*bytes));
        Self { span: NonZeroU64::new(span).unwrap_or(NonZeroU64::MIN), ..*self }
    }

    /// The id of the trace; 32 hex digits as text.
    pub const fn trace_id(&self) -> u128 {
        self.trace.get()
    }

    /// The id of the span; 16 hex digits as text.
    pub const fn span_id(&self) -> u64 {
        self.span.get()
    }

    /// Whether the spans of the trace are kept.
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The id of the trace as logs and records show it.
    pub fn trace_text(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// Takes versions to come as well, of which the first four fields are known.
    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        parse(text).ok_or_else(|| TraceParentError { found: text.chars().take(80).collect() })
    }
}

fn parse(text: &str) -> Option<TraceParent> {
    let mut fields = text.split('-');
    let version = hex(fields.next()?, 2)?;
    let (trace, span, flags) = (hex(fields.next()?, 32)?, hex(fields.next()?, 16)?, hex(fields.next()?, 2)?);
    if version == 0xff || version == 0 && fields.next().is_some() {
        return None;
    }
    let span = NonZeroU64::new(u64::try_from(span).ok()?)?;
    Some(TraceParent::new(NonZeroU128::new(trace)?, span, flags & 1 == 1))
}

/// A number of exactly `digits` lower-case hex digits, as the specification wants them.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn texts_are_taken_as_the_specification_has_it() {
        for (text, taken) in [
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-00"), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-03"), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01"), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-what-comes"), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-01-what-comes"), false),
            (format!("ff-{TRACE}-00f067aa0ba902b7-01"), false),
            (format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()), false),
            (format!("00-{TRACE}-0000000000000000-01"), false),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-00f067aa0ba902b7"), false),
            (format!("00-{TRACE}-00f067aa0ba902b7-1"), false),
            (format!("00-{TRACE}-+0f067aa0ba902b7-01"), false),
            (format!(" 00-{TRACE}-00f067aa0ba902b7-01"), false),
            ("ä".repeat(55), false),
            (String::new(), false),
        ] {
            let parsed = text.parse::<TraceParent>();
            assert_eq!(parsed.is_ok(), taken, "{text:?}");
            if let Ok(parsed) = parsed {
                assert_eq!(parsed.to_string().parse(), Ok(parsed));
                assert_eq!(parsed.trace_text(), TRACE);
                assert_eq!(parsed.is_sampled(), !text.contains("b7-00"));
            }
        }
    }

    #[test]
    fn spans_are_derived() {
        let (a, b) = (RunId::new("a").unwrap(), RunId::new("b").unwrap());
        let run = TraceParent::of_run(&a);
        assert_eq!(run, TraceParent::of_run(&a));
        assert_ne!(run.trace_id(), TraceParent::of_run(&b).trace_id());
        let (first, second) = (run.child("fetch#1"), run.child("fetch#2"));
        assert!(first != second && first != run && first == run.child("fetch#1"));
        assert_ne!(first.child("x"), second.child("x"));
        let sampled = TraceParent { sampled: true, ..run };
        assert!(!run.child("x").is_sampled() && sampled.child("x").is_sampled());
    }
}
