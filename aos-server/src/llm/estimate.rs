//! What a request will use, before it is made.

use aos_core::llm::LlmRequest;

/// Bytes of a request's JSON for one token, at least as many tokens as it will be for text of most languages.
const BYTES_PER_TOKEN: u64 = 3;

/// Tokens that a call may use at most, by a rough count. What it did use takes its place afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

impl Estimate {
    /// Counts the request's bytes, and the most that its answer may have.
    pub fn of(request: &LlmRequest) -> Self {
        let mut bytes = Count(0);
        // A request that can't be written is refused before it comes here.
        let _ = serde_json::to_writer(&mut bytes, request);
        Self { input_tokens: bytes.0.div_ceil(BYTES_PER_TOKEN), output_tokens: u64::from(request.max_tokens) }
    }
}

/// Counts what is written into it.
struct Count(u64);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_requests_are_larger() {
        let (short, long) = (LlmRequest::new("m", "hi"), LlmRequest::new("m", "word ".repeat(1_000)));
        let (short, long) = (Estimate::of(&short), Estimate::of(&long));
        assert!(short.input_tokens < 100 && long.input_tokens > 1_000, "{short:?} {long:?}");
        assert_eq!(short.output_tokens, 1_024);
    }
}
