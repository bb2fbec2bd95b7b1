//! Streams that were tampered with: whatever comes, there is an outcome, and no report of usage is lost.

use aos_core::random::{Rng, Seed};

use super::*;
use crate::backend::llm_http::{Sse, hear};

const ROUNDS: u64 = 10_000;

/// A stream with a bit of everything, one event to an element.
fn events() -> Vec<Vec<u8>> {
    [
        r#"{"type":"message_start","message":{"id":"msg_1","model":"m","content":[],"usage":{"input_tokens":25,"output_tokens":1,"cache_read_input_tokens":7,"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_1h_input_tokens":4}}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"let me see"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Okay, \u00e4\ud83d\ude00"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"add","input":{}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\": "}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"[1, 2]}"}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":50,"input_tokens":26}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":89}}"#,
        r#"{"type":"message_stop"}"#,
    ]
    .map(|data| format!("event: x\ndata: {data}\n\n").into_bytes())
    .to_vec()
}

fn tampered(rng: &mut Rng) -> Vec<u8> {
    let mut events = events();
    let below = |rng: &mut Rng, bound: usize| rng.below(bound as u64) as usize;
    for _ in 0..rng.below(3) {
        let (a, b) = (below(rng, events.len()), below(rng, events.len()));
        match rng.below(4) {
            0 => events.swap(a, b),
            1 => events.insert(b, events[a].clone()),
            2 => drop(events.remove(a)),
            _ => events.insert(
                a,
                b": nothing\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}\n\n"
                    .to_vec(),
            ),
        }
    }
    let mut bytes = events.concat();
    for _ in 0..rng.below(4) {
        let at = below(rng, bytes.len());
        match rng.below(4) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = b"\r\n{}[]\",:0\x80"[below(rng, 11)],
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, rng.below(256) as u8),
        }
    }
    if rng.below(3) == 0 {
        bytes.truncate(below(rng, bytes.len() + 1));
    }
    bytes
}

/// The data of events, read in the simplest way there is, without regard to pieces.
fn plainly(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    let mut rest = bytes.iter().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'\r' => {
                rest.next_if(|next| **next == b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            byte => lines.last_mut().unwrap().push(*byte),
        }
    }
    lines.pop();
    let (mut events, mut data) = (Vec::new(), None::<Vec<u8>>);
    for line in lines {
        if line.is_empty() {
            events.extend(data.take());
        } else if let Some(value) = line.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            let data = data.get_or_insert_default();
            if !data.is_empty() {
                data.push(b'\n');
            }
            data.extend_from_slice(value);
        }
    }
    events
}

/// What the first `count` events report of the usage.
fn reported(events: &[Vec<u8>], count: usize) -> Option<Usage> {
    let mut usage = None::<Usage>;
    for event in &events[..count] {
        let value: Value = serde_json::from_str(&String::from_utf8_lossy(event)).unwrap_or_default();
        for report in [&value["message"]["usage"], &value["usage"]] {
            if !report.is_object() {
                continue;
            }
            let usage = usage.get_or_insert_default();
            let take = |to: &mut u64, report: &Value| *to = report.as_u64().unwrap_or(*to);
            take(&mut usage.input_tokens, &report["input_tokens"]);
            take(&mut usage.output_tokens, &report["output_tokens"]);
            take(&mut usage.cache_read_tokens, &report["cache_read_input_tokens"]);
            take(&mut usage.cache_write_tokens, &report["cache_creation_input_tokens"]);
            take(&mut usage.cache_write_1h_tokens, &report["cache_creation"]["ephemeral_1h_input_tokens"]);
        }
    }
    usage.map(|usage| Usage {
        cache_write_1h_tokens: usage.cache_write_1h_tokens.min(usage.cache_write_tokens),
        ..usage
    })
}

/// Counts the events that reach the stream within.
struct Counted(Assembly, usize);

impl Stream for Counted {
    fn event(&mut self, data: &[u8], deltas: Option<&Deltas>) -> Result<(), Broken> {
        self.1 += 1;
        self.0.event(data, deltas)
    }

    fn end(&mut self) -> bool {
        self.0.end()
    }

    fn is_done(&self) -> bool {
        self.0.is_done()
    }

    fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    fn is_shown(&self) -> bool {
        self.0.is_shown()
    }

    fn usage(&self) -> Option<Usage> {
        self.0.usage()
    }
}

#[test]
fn no_report_of_usage_is_lost_whatever_happens_to_a_stream() {
    let (mut whole, mut broken, mut cut) = (0, 0, 0);
    for round in 0..ROUNDS {
        let mut rng = Rng::new(Seed::default(), &format!("stream/{round}"));
        let bytes = tampered(&mut rng);
        let events = plainly(&bytes);
        let mut stream = Counted(Assembly::default(), 0);
        let mut sse = Sse::new(1 << 20);
        let mut rest = &bytes[..];
        let mut outcome = Ok(());
        while !rest.is_empty() && outcome.is_ok() && !stream.is_done() {
            let (piece, more) = rest.split_at((1 + rng.below(200) as usize).min(rest.len()));
            rest = more;
            outcome = hear(&mut sse, &mut stream, piece, None);
        }
        let Counted(stream, count) = stream;
        assert_eq!(stream.usage(), reported(&events, count), "round {round}: {}", String::from_utf8_lossy(&bytes));
        if outcome.is_err() {
            broken += 1;
        } else if stream.is_done() {
            whole += 1;
            let usage = stream.usage();
            if let Ok(message) = stream.into_message()
                && let Ok(response) = super::super::wire::answer(message, "m")
            {
                assert_eq!(Some(response.usage), usage);
            }
        } else {
            cut += 1;
            assert_eq!(count, events.len(), "round {round}: every whole event was read");
        }
    }
    assert!(whole > 500 && broken > 500 && cut > 500, "{whole} whole, {broken} broken, {cut} cut");
}

#[test]
fn the_stream_that_nobody_tampered_with_is_whole() {
    let mut stream = Assembly::default();
    hear(&mut Sse::new(1 << 20), &mut stream, &events().concat(), None).unwrap();
    assert!(stream.is_done());
    let usage = Usage {
        input_tokens: 26,
        output_tokens: 89,
        cache_read_tokens: 7,
        cache_write_tokens: 9,
        cache_write_1h_tokens: 4,
    };
    assert_eq!(stream.usage(), Some(usage));
    assert_eq!(stream.into_message().unwrap().content.len(), 3);
}
