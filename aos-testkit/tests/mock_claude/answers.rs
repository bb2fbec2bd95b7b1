//! What comes when nobody has written an answer, plain and streamed.

use aos_testkit::service::MockClaude;
use serde_json::{Value, json};

use super::client::{Client, ask};

/// A message from the events of a stream, put together as a client has to.
fn collected(events: &[(String, Value)]) -> Value {
    let mut message = Value::Null;
    let mut inputs = vec![String::new(); 8];
    for (name, data) in events {
        assert_eq!(data["type"], **name);
        let index = data["index"].as_u64().unwrap_or_default() as usize;
        match name.as_str() {
            "message_start" => message = data["message"].clone(),
            "content_block_start" => message["content"].as_array_mut().unwrap().push(data["content_block"].clone()),
            "content_block_delta" => {
                let block = &mut message["content"][index];
                let mut append = |field: &str| {
                    block[field] =
                        (block[field].as_str().unwrap().to_owned() + data["delta"][field].as_str().unwrap()).into();
                };
                match data["delta"]["type"].as_str().unwrap() {
                    "text_delta" => append("text"),
                    "thinking_delta" => append("thinking"),
                    "signature_delta" => append("signature"),
                    "input_json_delta" => inputs[index] += data["delta"]["partial_json"].as_str().unwrap(),
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" if !inputs[index].is_empty() => {
                message["content"][index]["input"] = serde_json::from_str(&inputs[index]).unwrap();
            }
            "message_delta" => {
                for (part, field) in [("delta", "stop_reason"), ("delta", "stop_sequence"), ("delta", "stop_details")] {
                    message[field] = data[part][field].clone();
                }
                for (field, value) in data["usage"].as_object().unwrap() {
                    message["usage"][field] = value.clone();
                }
            }
            _ => {}
        }
    }
    message
}

#[test]
fn a_stream_makes_the_message_of_the_plain_answer() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    let schema = json!({
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
        "required": ["city", "days"], "additionalProperties": false
    });
    let tools = json!([{"name": "weather", "input_schema": schema}]);
    for (fields, stop_reason, types) in [
        (json!({}), "end_turn", vec!["text"]),
        (json!({"stop_sequences": ["three", "two"]}), "stop_sequence", vec!["text"]),
        (json!({"max_tokens": 2}), "max_tokens", vec!["text"]),
        (json!({"max_tokens": 0}), "max_tokens", vec![]),
        (json!({"thinking": {"type": "adaptive"}}), "end_turn", vec!["thinking", "text"]),
        (json!({"tools": tools}), "end_turn", vec!["text"]),
        (json!({"tools": tools, "tool_choice": {"type": "any"}}), "tool_use", vec!["tool_use"]),
        (json!({"tools": tools, "tool_choice": {"type": "tool", "name": "weather"}}), "tool_use", vec!["tool_use"]),
        (json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}), "end_turn", vec!["text"]),
    ] {
        let body = ask("one, two, three: ärger", fields);
        let answer = client.messages(&body);
        assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let mut plain = answer.json();
        assert_eq!(plain["stop_reason"], stop_reason, "{plain}");
        let found: Vec<_> =
            plain["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
        assert_eq!(found, types, "{plain}");

        let mut streaming = body.clone();
        streaming["stream"] = true.into();
        let answer = client.messages(&streaming);
        assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let mut streamed = collected(&answer.events());
        // Each message and tool use has an id of its own.
        for message in [&mut plain, &mut streamed] {
            assert!(message["id"].as_str().unwrap().starts_with("msg_01"));
            message["id"] = Value::Null;
            for block in
                message["content"].as_array_mut().unwrap().iter_mut().filter(|block| block["type"] == "tool_use")
            {
                assert!(block["id"].as_str().unwrap().starts_with("toolu_01"));
                block["id"] = Value::Null;
                assert!(block["input"]["city"].is_string() && block["input"]["days"].as_i64() >= Some(3), "{block}");
            }
        }
        assert_eq!(plain, streamed);
    }
}

#[test]
fn texts_are_repeated_and_cut() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    let tool_result = json!([
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "sun"}]}]}
    ]);
    for (fields, text, stop_sequence, output_tokens) in [
        (json!({}), "Echo: one, two, three", Value::Null, 6),
        (json!({"stop_sequences": ["three", "two"]}), "Echo: one, ", "two".into(), 3),
        (json!({"max_tokens": 2}), "Echo: on", Value::Null, 2),
        (json!({"messages": tool_result}), "Echo: sun", Value::Null, 3),
    ] {
        let message = client.messages(&ask("one, two, three", fields)).json();
        assert_eq!(message["content"][0]["text"], text);
        assert_eq!(message["stop_sequence"], stop_sequence);
        assert_eq!(message["usage"]["output_tokens"], output_tokens);
    }
}

#[test]
fn events_are_in_the_api_s_order() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    let answer = client.messages(&ask("hi", json!({"stream": true, "thinking": {"type": "adaptive"}})));
    assert_eq!(
        answer.event_names(),
        "message_start ping content_block_start content_block_delta content_block_delta content_block_stop \
         content_block_start content_block_delta content_block_stop message_delta message_stop"
    );
    let events = answer.events();
    assert_eq!(events[0].1["message"]["usage"]["output_tokens"], 1);
    assert_eq!(events[0].1["message"]["stop_reason"], Value::Null);
    let delta = &events[9].1;
    assert_eq!(delta["delta"]["stop_reason"], "end_turn");
    assert_eq!(delta["usage"]["output_tokens"].as_u64().unwrap() - 2, 5);
    assert_eq!(delta["usage"]["output_tokens_details"]["thinking_tokens"], 5);
}

#[test]
fn tokens_are_counted_as_they_are_billed() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    let body = ask("how many?", json!({}));
    let usage = client.messages(&body).json()["usage"].clone();
    let mut counted = body.clone();
    counted.as_object_mut().unwrap().remove("max_tokens");
    let count = client.call("POST", "/v1/messages/count_tokens", &counted.to_string()).unwrap();
    assert_eq!(count.json(), json!({"input_tokens": usage["input_tokens"]}));
    // The brackets, the braces, and `"role":"user","content":"how many?"`.
    assert_eq!(usage["input_tokens"], r#"[{"role":"user","content":"how many?"}]"#.len().div_ceil(4));
}

#[test]
fn models_come_in_pages() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    let mut get = |path: &str| client.call("GET", path, "").unwrap();
    let first = get("/v1/models?limit=2").json();
    assert_eq!((&first["has_more"], first["data"].as_array().unwrap().len()), (&json!(true), 2));
    let mut seen = vec![first["data"][0]["id"].clone(), first["data"][1]["id"].clone()];
    let mut last = first["last_id"].as_str().unwrap().to_owned();
    loop {
        let page = get(&format!("/v1/models?limit=5&after_id={last}")).json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|model| model["id"].clone()));
        last = page["last_id"].as_str().unwrap().to_owned();
        if page["has_more"] == false {
            break;
        }
    }
    let all = get("/v1/models?limit=1000").json();
    assert_eq!(seen, all["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect::<Vec<_>>());
    let before = get(&format!("/v1/models?limit=1&before_id={last}")).json();
    assert_eq!((&before["data"][0]["id"], &before["has_more"]), (&seen[seen.len() - 2], &json!(true)));
    let one = get("/v1/models/claude-opus-5-5").json();
    assert_eq!((&one["type"], &one["max_tokens"]), (&json!("model"), &json!(128_000)));
    assert_eq!(one["capabilities"]["thinking"]["types"]["disabled"]["supported"], false);
    for (path, status) in
        [("/v1/models/claude-none", 404), ("/v1/models?limit=0", 400), ("/v1/models?after_id=claude-none", 400)]
    {
        assert_eq!(get(path).status, status, "{path}");
    }
}

#[test]
fn what_is_not_there_is_said_so() {
    let claude = MockClaude::start().unwrap();
    for (method, path, body, status, kind) in [
        ("POST", "/v1/messages/batches", "{}", 404, "not_found_error"),
        ("GET", "/v1/messages", "", 405, "invalid_request_error"),
        ("POST", "/v1/messages", "{", 400, "invalid_request_error"),
        ("POST", "/v1/messages", "[]", 400, "invalid_request_error"),
        (
            "POST",
            "/v1/messages",
            r#"{"model": "claude-none", "max_tokens": 1, "messages": []}"#,
            404,
            "not_found_error",
        ),
    ] {
        let answer = Client::new(&claude).call(method, path, body).unwrap();
        let error = answer.json();
        assert_eq!((answer.status, &error["type"]), (status, &json!("error")), "{method} {path} {body}");
        assert_eq!(error["error"]["type"], kind);
        assert_eq!(error["request_id"], *answer.header("request-id").unwrap());
    }
    let large = format!(r#"{{"model": "{}"}}"#, "x".repeat(32 << 20));
    let mut client = Client::new(&claude);
    // The answer may come before all of it is sent.
    let _ = client.send("POST", "/v1/messages", &large);
    let answer = client.receive().unwrap();
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (413, &json!("request_too_large")));
}
