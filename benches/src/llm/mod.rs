//! What AOS adds to a call of a model: calls through `llm_invoke` on a running server, beside direct calls of the same
//! provider, which answers at once.

mod place;

use std::path::PathBuf;
use std::time::Duration;

use aos_core::BoxFuture;
use aos_testkit::service::claude::MockClaude;
use clap::Args;
use serde_json::{Value, json};

use crate::load::{Failed, Summary, load};
use place::Place;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The model that is asked for.
const MODEL: &str = "claude-haiku-4-5";

/// Calls in a run, one after the other.
const CALLS: [usize; 2] = [1, 10];

/// Calls at once.
const CONCURRENCY: [usize; 2] = [1, 64];

/// How calls are measured.
#[derive(Args)]
pub struct Options {
    /// Seconds for each figure.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where journals are put that survive a power cut; the disk matters.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Where journals are put that need not survive it: a file system in memory.
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// Share the limits over a private Redis, started for this command alone, instead of keeping them in the process.
    #[arg(long)]
    redis: bool,
}

/// Measures direct calls, then calls through a server whose journal is in memory, then through one whose journal is on
/// disk: runs of one call each, where a request to the server, the run's creation and its end are in the figure, and the
/// share of one call in a run of ten, one after the other. Limits are on, if far away, and every call is in the ledger.
pub async fn run(options: &Options) -> Result<()> {
    let time = Duration::from_secs(options.seconds);
    // It keeps few requests: they are not looked at.
    let claude = MockClaude::builder().keep(16).start()?;
    println!(
        "{:<42} {:>9} {:>9} {:>10} {:>13}",
        "one call of a model at 0 ms", "p50 ms", "p99 ms", "calls/s", "added p50 ms"
    );
    let mut direct = Vec::new();
    for at_once in CONCURRENCY {
        let summary = load(at_once, time, time / 5, direct_call(&claude, at_once)?).await?;
        print("direct", at_once, &summary, None);
        direct.push(summary.p50);
    }
    for (name, dir) in [("journal in memory", &options.memory), ("journal on disk", &options.dir)] {
        for calls in CALLS {
            for (at_once, direct) in CONCURRENCY.into_iter().zip(&direct) {
                let place = Place::start(&claude, dir, options.redis).await?;
                let summary = load(at_once, time, time / 5, run_calls(&place.url, calls, at_once)?).await?;
                place.stop().await;
                let name =
                    if calls == 1 { format!("run of one, {name}") } else { format!("of {calls} in a run, {name}") };
                print(&name, at_once, &summary.shared(calls), Some(*direct));
            }
        }
    }
    Ok(())
}

fn print(name: &str, at_once: usize, summary: &Summary, direct: Option<f64>) {
    let name = format!("  {name}, {at_once} at once");
    let Summary { per_second, p50, p99 } = summary;
    let added = direct.map_or_else(|| "-".to_owned(), |direct| format!("{:.2}", p50 - direct));
    println!("{name:<42} {p50:>9.2} {p99:>9.2} {per_second:>10.0} {added:>13}");
}

fn client(at_once: usize) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().pool_max_idle_per_host(at_once).tcp_nodelay(true).build()
}

/// Gives what sends one request to the provider.
fn direct_call(claude: &MockClaude, at_once: usize) -> Result<impl Fn() -> Answered + Clone + Send + 'static> {
    let (client, url, key) = (client(at_once)?, format!("{}/v1/messages", claude.base_url()), claude.key());
    let body =
        json!({"model": MODEL, "max_tokens": 16, "messages": [{"role": "user", "content": "What is a journal?"}]});
    let body = body.to_string();
    Ok(move || {
        let request = client.post(&url).header("x-api-key", key).header("anthropic-version", "2023-06-01");
        answered(request, body.clone(), "\"end_turn\"")
    })
}

/// Gives what creates a run at a server that asks so often, and waits for its end.
fn run_calls(url: &str, calls: usize, at_once: usize) -> Result<impl Fn() -> Answered + Clone + Send + 'static> {
    let (client, url) = (client(at_once)?, format!("{url}/v1/runs?wait=30s"));
    let body = json!({"workflow": workflow_id(calls), "input": {"prompt": "What is a journal?"}}).to_string();
    Ok(move || answered(client.post(&url), body.clone(), "\"succeeded\""))
}

type Answered = BoxFuture<'static, std::result::Result<(), Failed>>;

/// An answer that says so.
fn answered(request: reqwest::RequestBuilder, body: String, expected: &'static str) -> Answered {
    Box::pin(async move {
        let answer = request.header("content-type", "application/json").body(body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() || !text.contains(expected) {
            return Err(format!("{status}: {text}").into());
        }
        Ok(())
    })
}

fn workflow_id(calls: usize) -> String {
    format!("ask_{calls}")
}

/// The workflow of so many questions, each asked when the one before is answered.
fn workflow(calls: usize) -> Value {
    let params = json!({"adapter": "claude", "model": MODEL, "max_tokens": 16, "prompt": "{{ input.prompt }}"});
    let step = |n: usize| {
        let needs: Vec<_> = n.checked_sub(1).map(|before| format!("ask_{before}")).into_iter().collect();
        json!({"id": format!("ask_{n}"), "skill": "llm_invoke", "params": params, "needs": needs})
    };
    json!({
        "id": workflow_id(calls),
        "steps": (0..calls).map(step).collect::<Vec<_>>(),
        "output": format!("{{{{ steps.ask_{}.output.text }}}}", calls - 1)
    })
}
