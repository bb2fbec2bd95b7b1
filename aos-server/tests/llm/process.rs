//! A whole process with a key: which adapter answers, what the switches do, and the way through a proxy.

use std::process::Command;

use aos_core::llm::LlmAdapter;
use serde_json::Value;

use crate::support::*;

/// A workflow that asks whichever adapter is the default one.
const ASK: &str = r#"{"id": "ask", "steps": [{"id": "a", "skill": "llm_invoke", "retry": {"max_attempts": 1},
    "params": {"model": "claude-opus-4-6", "prompt": "hi"}}], "output": "{{ steps.a.output.text }}"}"#;

/// Runs the workflow in a process of its own with these settings; gives its output, or the failure's code.
async fn run(settings: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ask.json");
    std::fs::write(&file, ASK).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aos-server"));
    command.arg("run").arg(&file).current_dir(dir.path()).env_clear().envs(settings.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!stdout.contains(KEY) && !stderr.contains(KEY), "{stdout}{stderr}");
    match serde_json::from_str::<Value>(&stdout) {
        Ok(Value::String(text)) => text,
        _ => {
            let code = stderr.split_whitespace().find_map(|word| word.find("ERR_").map(|at| &word[at..]));
            code.unwrap_or_else(|| panic!("{stdout}{stderr}")).trim_end_matches([':', ',', '.']).to_owned()
        }
    }
}

async fn claude() -> Server {
    Server::always(json_reply(200, &[], &message("from claude"))).await
}

#[tokio::test]
async fn with_a_key_claude_answers() {
    let server = claude().await;
    let url = server.url().to_string();
    assert_eq!(run(&[("ANTHROPIC_API_KEY", KEY), ("ANTHROPIC_BASE_URL", &url)]).await, "from claude");
    assert_eq!(server.asked()[0].header("x-api-key"), Some(KEY));
    let stub = run(&[("ANTHROPIC_BASE_URL", &url)]).await;
    assert_ne!(stub, "from claude");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn switched_off_nothing_is_sent() {
    let server = claude().await;
    let url = server.url().to_string();
    let with = |switch| [("ANTHROPIC_API_KEY", KEY), ("ANTHROPIC_BASE_URL", url.as_str()), (switch, "true")];
    assert_eq!(run(&with("DISABLE_LIVE_ADAPTERS")).await, "ERR_LLM_ADAPTER_DISABLED");
    assert_ne!(run(&with("FORCE_STUB_ADAPTER")).await, "from claude");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_used() {
    // It answers itself, as it would pass the answer on.
    let proxy = claude().await;
    let url = proxy.url().to_string();
    let settings =
        [("ANTHROPIC_API_KEY", KEY), ("ANTHROPIC_BASE_URL", "http://claude.invalid"), ("HTTP_PROXY", url.as_str())];
    assert_eq!(run(&settings).await, "from claude");
    assert_eq!(proxy.asked()[0].line, "POST http://claude.invalid/v1/messages HTTP/1.1");
    // For TLS it is asked for a tunnel, and sees no key.
    let refusing = Server::always(reply(403, &[], "")).await;
    let url = format!("http://{}", refusing.address);
    let settings =
        [("ANTHROPIC_API_KEY", KEY), ("ANTHROPIC_BASE_URL", "https://claude.invalid"), ("HTTPS_PROXY", url.as_str())];
    assert_eq!(run(&settings).await, "ERR_LLM_UNREACHABLE");
    let asked = refusing.asked();
    assert!(asked.iter().all(|asked| asked.line == "CONNECT claude.invalid:443 HTTP/1.1"), "{asked:?}");
    assert!(!asked.is_empty() && !format!("{asked:?}").contains(KEY));
}

#[test]
fn adapters_connect_to_nobody_before_they_are_asked() {
    // No runtime here: whatever tried to connect would fail.
    let url = url::Url::parse("http://192.0.2.1:9").unwrap();
    let adapter = aos_server::backend::claude::ClaudeAdapter::new(&url, &key(), Default::default()).unwrap();
    assert_eq!((adapter.name(), adapter.is_live()), ("claude", true));
}
