//! A research agent on a provider: recorded, replayed without one, forked from a turn, and on the stub.

use std::net::SocketAddr;
use std::process::Command;

use aos_testkit::service::claude::{MockClaude, Reply, Request, Rule};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::fleet::MODEL;
use crate::operator_support::Process;

/// Turns of the model.
const TURNS: usize = 10;

/// Pages that the agent reads.
async fn pages() -> SocketAddr {
    let page = async |Path(page): Path<String>| format!("page {page}: the warranty is {page} years");
    let app = Router::new().route("/pages/{page}", get(page)).route("/search/{words}", get(page));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn workflow() -> Value {
    let tool = |name: &str, skill: &str| json!({"skill": skill, "name": name, "description": name});
    json!({
        "id": "research",
        "steps": [{"id": "research", "agent": {
            "goal": "How long is the warranty? {{ input.question }}",
            "adapter": "claude", "model": MODEL, "max_turns": 12, "max_tokens": 256,
            "tools": [tool("search", "http_call@^1"), tool("fetch", "http_call@^1"), tool("note", "echo@^1")],
            "answer_schema": {"type": "object", "required": ["years"], "properties": {"years": {"type": "integer"}}}
        }}],
        "output": "{{ steps.research.output.answer }}"
    })
}

/// What the model says, by how often it has spoken: it searches, reads two pages at once, reads and notes by turns, asks
/// for a tool that there is not, and answers.
fn says(request: &Request, pages: SocketAddr) -> Reply {
    let messages = request.body()["messages"].as_array().unwrap();
    let turn = messages.iter().filter(|message| message["role"] == "assistant").count();
    let call = |n: usize, name: &str, input: Value| json!({"type": "tool_use", "id": format!("t{turn}_{n}"), "name": name, "input": input});
    let fetch = |n: usize, page: usize| {
        call(n, "fetch", json!({"method": "GET", "url": format!("http://{pages}/pages/{page}")}))
    };
    let blocks = match turn {
        0 => vec![call(0, "search", json!({"method": "GET", "url": format!("http://{pages}/search/warranty")}))],
        1 => vec![fetch(0, 1), fetch(1, 2)],
        2 => vec![call(0, "browse", json!({}))],
        turn if turn + 1 >= TURNS => return Reply::text(r#"{"years": 5}"#),
        turn if turn % 2 == 0 => vec![fetch(0, turn)],
        turn => vec![call(0, "note", json!({"turn": turn}))],
    };
    Reply::blocks(blocks).stop_reason("tool_use")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_recorded_replayed_and_forked() {
    let (claude, place, pages) = (MockClaude::start().unwrap(), TempDir::new().unwrap(), pages().await);
    claude.on(Rule::answer(move |request| says(request, pages)));
    let database = format!("sqlite://{}", place.path().join("aos.db").display());
    let server = Process::serve(&[
        ("DATABASE_URL", &database),
        ("ANTHROPIC_BASE_URL", &claude.base_url()),
        ("ANTHROPIC_API_KEY", claude.key()),
        ("AOS_HTTP_ALLOW", &pages.to_string()),
    ]);
    let api = server.api();
    let run = api.begin(&workflow(), &json!({"question": "Please look it up."})).await;
    let ended = api.ended(&run).await;
    assert_eq!((&ended["state"], &ended["output"]), (&json!("succeeded"), &json!({"years": 5})), "{ended}");
    assert!(ended["cost_cents"].as_f64() > Some(0.0), "{ended}");
    assert_eq!(claude.account().requests, TURNS as u64);

    // Without a network, to the same hash.
    let golden = place.path().join("agent.jsonl");
    let url = format!("{}/v1/runs/{run}/golden", server.url);
    std::fs::write(&golden, api.http.get(url).send().await.unwrap().text().await.unwrap()).unwrap();
    let replay = Command::new("unshare")
        .args(["-rn", env!("CARGO_BIN_EXE_aos-server"), "replay"])
        .arg(&golden)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&replay.stdout);
    assert!(replay.status.success(), "{text}");
    assert_eq!(text.trim(), format!("Hash: {}", ended["content_hash"].as_str().unwrap()));

    // From the fifth turn on, as if a page had said something else.
    let body =
        json!({"effect": "research/turn[4]/tool[0]", "output": {"status": 200, "body": "the warranty is 10 years"}});
    let fork = api.post(&format!("/v1/runs/{run}/fork"), &body).await;
    let forked = api.ended(fork["id"].as_str().unwrap()).await;
    assert_eq!(forked["state"], "succeeded", "{forked}");
    let again = claude.requests().split_off(TURNS);
    assert_eq!(again.len(), TURNS - 5, "the turns before are not asked for again");
    let asked: Vec<_> = again.iter().map(|request| request.body().to_string()).collect();
    assert!(asked.iter().all(|body| body.contains("the warranty is 10 years")), "{asked:?}");
    assert!(!asked[0].contains("the warranty is 4 years"), "{}", asked[0]);
    assert_ne!(forked["content_hash"], ended["content_hash"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_agent_ends_on_the_stub() {
    let (place, pages) = (TempDir::new().unwrap(), pages().await);
    let database = format!("sqlite://{}", place.path().join("aos.db").display());
    let server = Process::serve(&[
        ("DATABASE_URL", &database),
        ("ANTHROPIC_API_KEY", "sk-ant-none"),
        ("FORCE_STUB_ADAPTER", "true"),
        ("AOS_HTTP_ALLOW", &pages.to_string()),
    ]);
    let run = server.api().begin(&workflow(), &json!({"question": "Please look it up."})).await;
    let ended = server.api().ended(&run).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert!(ended["output"]["years"].is_i64(), "{ended}");
    let replayed = server.api().post(&format!("/v1/runs/{run}/replay"), &Value::Null).await;
    assert_eq!(replayed["content_hash"], ended["content_hash"], "{replayed}");
}
