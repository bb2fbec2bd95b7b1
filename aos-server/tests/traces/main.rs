//! Traces: one request is one trace, over the server that accepts a run, the worker that advances it, the service and the
//! model that its steps ask; and is found by the trace's id in the logs of all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod collector;
#[path = "../operator_support/mod.rs"]
mod operator_support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aos_testkit::service::Postgres;
use aos_testkit::service::claude::{MockClaude, Reply};
use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use collector::{Collector, Span};
use operator_support::{Api, Process};
use serde_json::{Value, json};

const MODEL: &str = "claude-haiku-4-5";

/// The caller's own span.
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// An installation of a server that only answers and a worker, with all that its runs ask.
struct Place {
    collector: Collector,
    downstream: Downstream,
    claude: MockClaude,
    server: Process,
    worker: Process,
    _postgres: Postgres,
}

impl Place {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let (collector, to) = Collector::start().await;
        let downstream = Downstream::start().await;
        let (postgres, claude) = (Postgres::start(&["fsync=off"]).unwrap(), MockClaude::start().unwrap());
        let (database, base_url) = (postgres.database().unwrap().url, claude.base_url());
        let (endpoint, allow) = (format!("http://{to}/"), downstream.address.to_string());
        let all = [
            ("DATABASE_URL", database.as_str()),
            ("ANTHROPIC_BASE_URL", &base_url),
            ("ANTHROPIC_API_KEY", claude.key()),
            ("AOS_HTTP_ALLOW", &allow),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("LOG_LEVEL", "DEBUG"),
            ("LOG_FORMAT", "json"),
        ];
        let settings = [&all, settings].concat();
        let server = Process::serve(&[&settings[..], &[("WORKER_CONCURRENCY", "0")]].concat());
        let worker = Process::start(&["worker"], &settings);
        let below = json!({"id": "below", "steps": [{"id": "say", "skill": "echo", "params": 1}]});
        server.api().post("/v1/workflows", &below).await;
        Self { collector, downstream, claude, server, worker, _postgres: postgres }
    }

    fn workflow(&self) -> Value {
        json!({
            "id": "traced",
            "steps": [
                {"id": "fetch", "skill": "http_call", "params": {"url": format!("http://{}/", self.downstream.address)}},
                {"id": "ask", "skill": "llm_invoke", "params": {
                    "adapter": "claude", "model": MODEL, "max_tokens": 50, "prompt": "hello"
                }},
                {"id": "below", "workflow": "below", "params": {}},
            ]
        })
    }

    async fn run(&self, trace: Option<&str>) -> Value {
        let Api { http, url } = self.server.api();
        let body = json!({"workflow": self.workflow(), "input": {}});
        let mut request = http.post(format!("{url}/v1/runs?wait=60s")).json(&body).header("x-request-id", "abc123");
        if let Some(trace) = trace {
            request = request.header("traceparent", trace);
        }
        let run: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(run["state"], "succeeded", "{run}\n{}", self.worker.log());
        run
    }
}

/// A service that notes which traces it is asked within.
#[derive(Clone)]
struct Downstream {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Option<String>>>>,
}

impl Downstream {
    async fn start() -> Self {
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let noted = Arc::clone(&heard);
        let answer = move |headers: HeaderMap| async move {
            let trace = headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned());
            noted.lock().unwrap().push(trace);
            "fine"
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/", get(answer))).await });
        Self { address, heard }
    }
}

/// The one span with a name.
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

fn has(spans: &[Span], names: &[&str]) -> bool {
    names.iter().all(|name| spans.iter().any(|span| span.name == *name))
}

const ALL: &[&str] = &[
    "POST /v1/runs",
    "queue",
    "run traced",
    "skill http_call",
    "skill llm_invoke",
    "chat claude-haiku-4-5",
    "run below",
    "skill echo",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_trace_over_all_processes_and_in_their_logs() {
    let mut place = Place::start(&[]).await;
    let run = place.run(Some(CALLER)).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    assert_eq!(run["trace_id"], trace);
    let spans = place.collector.trace(trace, |spans| has(spans, ALL)).await;

    // Each below the one that asked for it.
    let request = named(&spans, "POST /v1/runs");
    let top = named(&spans, "run traced");
    let (fetch, ask, chat) =
        (named(&spans, "skill http_call"), named(&spans, "skill llm_invoke"), named(&spans, "chat claude-haiku-4-5"));
    assert_eq!(request.parent, "00f067aa0ba902b7");
    assert_eq!(top.parent, request.id);
    assert!(
        spans.iter().filter(|span| span.name == "queue").all(|span| span.parent == request.id || span.parent == top.id)
    );
    assert_eq!((&fetch.parent, &ask.parent, &chat.parent), (&top.id, &top.id, &ask.id));
    assert_eq!(named(&spans, "run below").parent, top.id);
    assert_eq!(named(&spans, "skill echo").parent, named(&spans, "run below").id);
    // What is below begins later.
    for (outer, inner) in [(request, top), (top, fetch), (top, ask), (ask, chat)] {
        assert!(outer.began <= inner.began + 1_000_000 && inner.ended >= inner.began, "{outer:?}\n{inner:?}");
    }
    // From two processes.
    assert!(request.instance != top.instance && top.instance == chat.instance, "{spans:#?}");
    assert!(spans.iter().all(|span| span.service == "aos-server" && !span.failed));

    // What each says.
    let id = run["id"].as_str().unwrap();
    for (span, key, value) in [
        (request, "aos.request_id", "abc123"),
        (request, "http.route", "/v1/runs"),
        (request, "http.response.status_code", "201"),
        (top, "aos.request_id", "abc123"),
        (top, "aos.run", id),
        (top, "aos.outcome", "succeeded"),
        (fetch, "aos.run", id),
        (chat, "gen_ai.operation.name", "chat"),
        (chat, "gen_ai.provider.name", "anthropic"),
        (chat, "gen_ai.request.model", MODEL),
        (chat, "gen_ai.request.max_tokens", "50"),
        (chat, "gen_ai.response.finish_reasons", "end_turn"),
    ] {
        assert_eq!(span.attributes.get(key).map(String::as_str), Some(value), "{key}: {span:#?}");
    }
    assert_eq!((request.kind, top.kind, chat.kind), (2, 5, 3), "server, consumer, client");
    let used = place.claude.account().total();
    assert_eq!(chat.attributes["gen_ai.usage.input_tokens"], used.input_tokens.to_string());
    assert_eq!(chat.attributes["gen_ai.usage.output_tokens"], used.output_tokens.to_string());

    // What was asked is told of the span that asks.
    let told = place.downstream.heard.lock().unwrap().clone();
    assert_eq!(told, [Some(format!("00-{trace}-{}-01", fetch.id))]);
    let requests = place.claude.requests();
    assert_eq!(requests[0].header("traceparent"), Some(format!("00-{trace}-{}-01", chat.id).as_str()));

    // And the logs of both have lines of it, each with the request's id.
    for (process, says) in [(&place.server, "answered"), (&place.worker, "run ended")] {
        let log = process.log();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let line = lines.iter().find(|line| line["trace_id"] == trace && line["message"] == says);
        assert_eq!(line.unwrap_or_else(|| panic!("{says:?} is not in {log}"))["request_id"], "abc123");
    }

    // A caller that asks again under the same id has spans of its own.
    place.run(Some(CALLER)).await;
    let requests =
        |spans: &[Span]| spans.iter().filter(|span| span.name == "POST /v1/runs").cloned().collect::<Vec<_>>();
    let spans = place.collector.trace(trace, |spans| requests(spans).len() == 2).await;
    let [first, second] = &requests(&spans)[..] else { panic!("{spans:#?}") };
    assert!(first.id != second.id && first.parent == second.parent);

    // What is sent at last is not lost with the process.
    let mut sent = place.collector.all().len();
    let other = place.run(None).await;
    assert_ne!(other["trace_id"], trace);
    place.worker.terminate();
    place.server.terminate();
    sent = place.collector.all().len() - sent;
    let spans = place.collector.trace(other["trace_id"].as_str().unwrap(), |spans| has(spans, ALL)).await;
    assert!(sent > 0 && named(&spans, "POST /v1/runs").parent.is_empty(), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_call_is_a_failed_span_by_its_code_and_nothing_said_is_in_it() {
    let place = Place::start(&[]).await;
    place.claude.push(Reply::raw(
        400,
        "application/json",
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"canary"}}"#,
    ));
    let Api { http, url } = place.server.api();
    let body = json!({"workflow": place.workflow(), "input": {}});
    let request = http.post(format!("{url}/v1/runs?wait=60s")).json(&body).header("traceparent", CALLER);
    let run: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(run["state"], "failed", "{run}");
    let names = ["POST /v1/runs", "run traced", "skill llm_invoke", "chat claude-haiku-4-5"];
    let spans = place.collector.trace(&CALLER[3..35], |spans| has(spans, &names)).await;
    for name in &names[1..] {
        let span = named(&spans, name);
        assert!(span.failed && span.attributes["error.type"] == run["error"]["code"].as_str().unwrap(), "{span:#?}");
    }
    assert!(!named(&spans, names[0]).failed);
    assert!(!format!("{:?}", place.collector.all()).contains("canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sampled_goes_nowhere() {
    let place = Place::start(&[("OTEL_TRACES_SAMPLER_ARG", "0")]).await;
    let unsampled = CALLER.replace("b7-01", "b7-00");
    for caller in [None, Some(unsampled.as_str())] {
        let run = place.run(caller).await;
        assert_eq!(run["trace_id"].as_str().unwrap().len(), 32);
    }
    // Whoever asks within a sampled trace is heard all the same.
    let sampled = CALLER.replace("4bf92f", "aaaaaa");
    place.run(Some(&sampled)).await;
    place.collector.trace(&sampled[3..35], |spans| has(spans, ALL)).await;
    assert!(place.collector.all().iter().all(|span| span.trace == sampled[3..35]));
    let heard = place.downstream.heard.lock().unwrap().clone();
    assert!(heard[..2] == [None, None] && heard[2].is_some(), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_gone_holds_nothing_up_and_is_said_once() {
    // Nobody listens there.
    let place =
        Place::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_BSP_SCHEDULE_DELAY", "50")]).await;
    for _ in 0..10 {
        place.run(None).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let mut place = place;
    for process in [&mut place.worker, &mut place.server] {
        process.terminate();
        let log = process.log();
        assert_eq!(log.matches("the collector of traces takes no spans").count(), 1, "{log}");
        assert!(!log.contains("BatchSpanProcessor"), "{log}");
    }
}
