//! Streams of the Messages API: whole ones, and ones that break off.

use aos_core::codes;
use aos_core::llm::{Content, Delta, LlmAdapter, Sent, Usage};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_stream_gives_what_a_plain_answer_gives() {
    let server = Server::new(|asked, _| {
        if asked.body["stream"] == json!(true) {
            stream(&message_events("one two three"))
        } else {
            json_reply(200, &[], &message("one two three"))
        }
    })
    .await;
    let adapter = server.claude();
    let plain = ask(&adapter, request()).await.unwrap().response;
    let (asked, seen) = watched(request());
    let streamed = adapter.invoke(asked).await.unwrap();
    assert_eq!(streamed.response, plain);
    assert_eq!(streamed.request_id.as_deref(), Some("req_stream"));
    let words: Vec<Delta> = ["one ", "two ", "three"].map(|text| Delta::Text { block: 0, text: text.into() }).into();
    assert_eq!(*seen.lock().unwrap(), words);
    // An answer that may be long is streamed although nobody watches.
    let long = aos_core::llm::LlmRequest { max_tokens: 64_000, ..request() };
    assert_eq!(ask(&adapter, long).await.unwrap().response, plain);
    let streamed: Vec<bool> = server.asked().iter().map(|asked| asked.body["stream"] == json!(true)).collect();
    assert_eq!(streamed, [false, true, true]);
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::new(|asked, _| {
        if asked.body["stream"] == json!(true) {
            stream(&message_events("a b"))
        } else {
            json_reply(200, &[], &message("a"))
        }
    })
    .await;
    let adapter = server.claude();
    for _ in 0..3 {
        adapter.invoke(call(request())).await.unwrap();
        adapter.invoke(watched(request()).0).await.unwrap();
    }
    // A connection may still be about to end its answer when the next call begins.
    let connections = server.asked().iter().map(|asked| asked.connection).max();
    assert!(connections <= Some(1), "{connections:?}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_keeps_what_it_said() {
    let events = message_events("one two");
    let started = Usage { input_tokens: 11, output_tokens: 1, ..Usage::default() };
    for after in 0..events.len() {
        for end in [Act::Send(b"0\r\n\r\n".to_vec()), Act::Close, Act::Reset] {
            let mut acts = vec![stream_head()];
            acts.extend(events[..after].iter().map(|data| chunk(event(data).as_bytes())));
            // Half an event more.
            let half = event(&events[after]);
            acts.push(chunk(&half.as_bytes()[..half.len() / 2]));
            // A reset throws away what is still on the way.
            acts.push(Act::Pause(std::time::Duration::from_millis(20)));
            acts.push(end.clone());
            let server = Server::always(acts).await;
            let (asked, seen) = watched(request());
            let failure = server.claude().invoke(asked).await.unwrap_err();
            let name = format!("{after} events, then {end:?}: {failure}");
            let shown = !seen.lock().unwrap().is_empty();
            assert_eq!(*failure.code(), codes::LLM_INTERRUPTED, "{name}");
            assert_eq!(failure.failure.retryable, !shown, "{name}");
            assert_eq!(shown, after > 3, "{name}");
            // The last report is final; before it, more may have been used than is known.
            let (usage, sent) = match after {
                0 => (None, Sent::Unknown),
                7 => (Some(Usage { output_tokens: 3, ..started }), Sent::Answered),
                _ => (Some(started), Sent::Unknown),
            };
            assert_eq!((failure.usage, failure.sent), (usage, sent), "{name}");
        }
    }
}

#[tokio::test]
async fn all_kinds_of_blocks_are_put_together() {
    let events = [
        json!({"type": "message_start", "message": {"model": "m-1", "usage": {"input_tokens": 4, "output_tokens": 1,
            "cache_creation_input_tokens": 100, "cache_read_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40}}}}),
        json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm, "}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "so"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "It ", "citations": []}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "is."}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": {"cited_text": "x"}}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "sparkle_delta", "text": 1}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "hologram_start", "message": "other than one knows", "index": -1, "delta": 3}),
        json!({"type": "content_block_start", "index": 2,
            "content_block": {"type": "tool_use", "id": "t1", "name": "add", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":"}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": " [1]}"}}),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "t2", "name": "now", "input": {}}}),
        json!({"type": "content_block_start", "index": 4,
            "content_block": {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}}),
        json!({"type": "content_block_delta", "index": 4, "delta": {"type": "input_json_delta", "partial_json": "{\"q\":1}"}}),
        json!({"type": "content_block_start", "index": 5, "content_block": {"type": "hologram", "points": [1, 2]}}),
        json!({"type": "content_block_delta", "index": 5, "delta": {"type": "hologram_delta", "points": [3]}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "nap"}, "usage": {"output_tokens": 20}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tea_break"},
            "usage": {"output_tokens": 30, "input_tokens": 9, "cache_read_input_tokens": null}}),
        json!({"type": "message_stop"}),
    ];
    let server = Server::always(stream(&events)).await;
    let (asked, seen) = watched(request());
    let response = server.claude().invoke(asked).await.unwrap().response;
    assert_eq!(
        response.content,
        [
            Content::Thinking { thinking: "hm, so".into(), signature: Some("sig".into()) },
            Content::text("It is."),
            Content::ToolUse { id: "t1".into(), name: "add".into(), input: json!({"a": [1]}) },
            Content::ToolUse { id: "t2".into(), name: "now".into(), input: json!({}) },
            Content::Other(json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": 1}})),
            Content::Other(json!({"type": "hologram", "points": [1, 2],
                "deltas": [{"type": "hologram_delta", "points": [3]}]})),
            Content::Other(json!({"type": "extra_fields", "of": {"1": {
                "citations": [{"cited_text": "x"}], "deltas": [{"type": "sparkle_delta", "text": 1}]}}})),
        ]
    );
    assert_eq!((response.stop_reason.as_str(), response.model.as_str()), ("tea_break", "m-1"));
    // The later report replaces what it names, and leaves the rest.
    let usage = Usage {
        input_tokens: 9,
        output_tokens: 30,
        cache_read_tokens: 50,
        cache_write_tokens: 100,
        cache_write_1h_tokens: 40,
    };
    assert_eq!(response.usage, usage);
    let tool = |json: &str| Delta::ToolInput { block: 2, name: "add".into(), json: json.into() };
    assert_eq!(
        *seen.lock().unwrap(),
        [
            Delta::Thinking { block: 0, text: "hm, ".into() },
            Delta::Thinking { block: 0, text: "so".into() },
            Delta::Text { block: 1, text: "It ".into() },
            Delta::Text { block: 1, text: "is.".into() },
            tool("{\"a\":"),
            tool(" [1]}"),
        ]
    );
    // It survives the journal, and what our terms have no place for goes back as it came.
    let stored = serde_json::to_string(&response).unwrap();
    let again: aos_core::llm::LlmResponse = serde_json::from_str(&stored).unwrap();
    assert_eq!(again, response);
    let mut next = request();
    next.messages.push(aos_core::llm::Message { role: aos_core::llm::Role::Assistant, content: again.content });
    let _ = ask(&server.claude(), next).await.unwrap();
    let sent = &server.asked()[1].body["messages"][1]["content"];
    assert_eq!(sent.as_array().map(Vec::len), Some(6));
    assert_eq!(sent[0], json!({"type": "thinking", "thinking": "hm, so", "signature": "sig"}));
    assert_eq!(sent[1]["citations"], json!([{"cited_text": "x"}]));
    assert_eq!(sent[5]["type"], "hologram");
}

#[tokio::test]
async fn the_input_of_a_tool_that_was_cut_is_kept_as_text() {
    for (reason, usable) in [("max_tokens", true), ("model_context_window_exceeded", true), ("tool_use", false)] {
        let events = [
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0,
                "content_block": {"type": "tool_use", "id": "t", "name": "add", "input": {}}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\"a\": [1"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}}),
            json!({"type": "message_stop"}),
        ];
        let server = Server::always(stream(&events)).await;
        let (asked, _) = watched(request());
        match server.claude().invoke(asked).await {
            Ok(answer) if usable => {
                let cut = Content::ToolUse { id: "t".into(), name: "add".into(), input: json!("{\"a\": [1") };
                assert_eq!(answer.response.content, [cut]);
            }
            Err(failure) if !usable => {
                assert_eq!((failure.code(), failure.sent), (&codes::LLM_INVALID_RESPONSE, Sent::Answered));
                assert_eq!(failure.usage.unwrap().output_tokens, 5);
                assert!(!failure.failure.retryable, "it was shown");
            }
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_watched_call_takes_a_plain_answer_too() {
    // Some gateways don't stream.
    let server = Server::always(json_reply(200, &[], &message("all at once"))).await;
    let (asked, _) = watched(request());
    assert_eq!(server.claude().invoke(asked).await.unwrap().response.text(), "all at once");
}
