//! What happens to answers on their way.

use std::time::Duration;

use aos_testkit::service::MockClaude;
use aos_testkit::service::claude::{ApiError, Latency, Reply, Rule};
use serde_json::json;

use super::client::{Client, ask};

#[test]
fn a_body_ends_where_the_script_says() {
    let claude = MockClaude::start().unwrap();
    for stream in [false, true] {
        let body = ask("one, two, three", json!({"stream": stream}));
        let whole = Client::new(&claude).messages(&body);
        assert!(whole.whole);
        // The ids have the number of the request in them.
        let same = |part: &str| part.replace(|c: char| c.is_ascii_digit(), "#");
        for bytes in [0, 1, 100, whole.body.len() - 1] {
            claude.push(Reply::echo().cut_after(bytes));
            let mut client = Client::new(&claude);
            let cut = client.messages(&body);
            assert_eq!((cut.status, cut.whole, cut.body.len()), (200, false, bytes), "{stream}");
            assert!(same(&whole.body).starts_with(&same(&cut.body)));
            assert!(client.is_over());
            assert!(!claude.records().last().unwrap().whole);
        }
        claude.push(Reply::echo().reset_after(100));
        let mut client = Client::new(&claude);
        client.send("POST", "/v1/messages", &body.to_string()).unwrap();
        // A reset may take along what was sent before.
        let reset = client.receive();
        assert!(reset.is_err() || !reset.unwrap().whole);
        assert!(client.is_over());
    }
}

#[test]
fn a_connection_can_end_without_an_answer() {
    let claude = MockClaude::start().unwrap();
    for reply in [Reply::echo().close(), Reply::echo().reset(), Reply::error(ApiError::overloaded()).reset()] {
        claude.push(reply);
        let mut client = Client::new(&claude);
        assert!(client.call("POST", "/v1/messages", &ask("x", json!({})).to_string()).is_err());
        assert!(client.is_over());
        let record = claude.records().pop().unwrap();
        assert_eq!((record.status, record.whole), (None, false));
    }
    // What was made is billed, although it was lost; errors are not.
    let one = Client::new(&claude).messages(&ask("x", json!({}))).json()["usage"]["output_tokens"].as_u64().unwrap();
    assert_eq!(claude.account().total().output_tokens, 3 * one);
}

#[test]
fn connections_can_be_reset_before_anything_is_read() {
    let claude = MockClaude::start().unwrap();
    claude.reset_connections(2);
    for reset in [true, true, false] {
        let answer = Client::new(&claude).call("POST", "/v1/messages", &ask("x", json!({})).to_string());
        assert_eq!(answer.is_err(), reset);
    }
    assert_eq!(claude.account().requests, 1);
}

#[test]
fn bodies_can_come_slowly_and_in_pieces() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    let body = ask("slow", json!({"stream": true}));
    let millisecond = Duration::from_millis(1);
    for reply in [
        Reply::echo().delay(millisecond),
        Reply::echo().event_delay(millisecond),
        Reply::echo().trickle(50, millisecond),
    ] {
        claude.push(reply);
        let answer = client.messages(&body);
        assert!(answer.whole);
        assert!(answer.event_names().ends_with("message_delta message_stop"));
    }
}

#[test]
fn a_stream_can_stall_until_the_client_goes() {
    let claude = MockClaude::start().unwrap();
    claude.push(Reply::echo().stall_after(100));
    let mut client = Client::new(&claude);
    client.send("POST", "/v1/messages", &ask("x", json!({"stream": true})).to_string()).unwrap();
    while claude.records().is_empty() {
        std::thread::yield_now();
    }
    drop(client);
    // Others are served meanwhile.
    assert_eq!(Client::new(&claude).messages(&ask("y", json!({}))).status, 200);
    let whole: Vec<_> = claude.records().iter().map(|record| record.whole).collect();
    assert_eq!(whole, [false, true]);
}

#[test]
fn an_error_can_come_in_a_stream() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    claude.on(Rule::new(Reply::text("x".repeat(100)).error_after(4, ApiError::overloaded())));
    let streamed = client.messages(&ask("x", json!({"stream": true})));
    assert_eq!((streamed.status, streamed.whole), (200, true));
    assert_eq!(streamed.event_names(), "message_start ping content_block_start content_block_delta error");
    assert_eq!(streamed.events()[4].1["error"]["type"], "overloaded_error");
    // Billed as far as it came: 24 characters.
    assert_eq!(claude.account().total().output_tokens, 6);
    let plain = client.messages(&ask("x", json!({})));
    assert_eq!(plain.status, 529);
    assert_eq!(claude.account().total().output_tokens, 6);
}

#[test]
fn a_client_that_goes_pays_all_the_same() {
    let claude = MockClaude::builder().latency(Latency::Fixed(Duration::from_secs(3_600))).start().unwrap();
    let mut client = Client::new(&claude);
    client.send("POST", "/v1/messages", &ask("x", json!({})).to_string()).unwrap();
    while claude.records().is_empty() {
        std::thread::yield_now();
    }
    drop(client);
    let record = claude.records().pop().unwrap();
    assert!(record.usage.output_tokens > 0 && !record.whole);
    assert_eq!(claude.account().total(), record.usage);
}

#[test]
fn random_latencies_end() {
    let latency = Latency::Uniform { least: Duration::ZERO, most: Duration::from_millis(3), seed: 1 };
    let claude = MockClaude::builder().latency(latency).start().unwrap();
    let mut client = Client::new(&claude);
    for _ in 0..10 {
        assert_eq!(client.messages(&ask("x", json!({}))).status, 200);
    }
}
