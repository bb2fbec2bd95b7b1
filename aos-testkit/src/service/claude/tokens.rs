//! How the mock counts tokens: a token is four bytes, begun ones count.

use std::io;

use serde::Serialize;
use serde_json::Value;

/// Bytes to a token.
pub(super) const BYTES_PER_TOKEN: usize = 4;

/// The tokens of a text.
pub(super) const fn of_bytes(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// The input tokens of a request: those of its `system`, `messages` and `tools` as JSON without spaces, together.
pub(super) fn of_request(body: &Value) -> u64 {
    let parts = ["system", "messages", "tools"];
    of_bytes(parts.iter().filter_map(|part| body.get(part)).map(json_bytes).sum())
}

/// The output tokens of a content block: those of its text, of its thinking, or of a tool's name and input.
pub(super) fn of_block(block: &Value) -> u64 {
    let text = |field| block.get(field).and_then(Value::as_str).map(str::len);
    let bytes = match block.get("type").and_then(Value::as_str) {
        Some("text") => text("text"),
        Some("thinking") => text("thinking"),
        Some("tool_use") => text("name").zip(block.get("input").map(json_bytes)).map(|(name, input)| name + input),
        _ => None,
    };
    of_bytes(bytes.unwrap_or_else(|| json_bytes(block)))
}

fn json_bytes(value: &Value) -> usize {
    let mut counter = Counter(0);
    // Nothing can fail: the counter takes everything, and a value is always JSON.
    let _ = value.serialize(&mut serde_json::Serializer::new(&mut counter));
    counter.0
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn four_bytes_are_a_token() {
        assert_eq!([0, 1, 4, 5].map(of_bytes), [0, 1, 1, 2]);
        let body = json!({"model": "m", "system": "", "messages": [{"role": "user", "content": ""}], "tools": []});
        assert_eq!(of_request(&body), of_bytes(r#"""[{"role":"user","content":""}][]"#.len()));
        for (block, tokens) in [
            (json!({"type": "text", "text": "12345"}), 2),
            (json!({"type": "thinking", "thinking": "1234", "signature": "not counted"}), 1),
            (json!({"type": "tool_use", "id": "not counted", "name": "ab", "input": {}}), 1),
            (json!({"type": "x"}), of_bytes(r#"{"type":"x"}"#.len())),
        ] {
            assert_eq!(of_block(&block), tokens, "{block}");
        }
    }
}
