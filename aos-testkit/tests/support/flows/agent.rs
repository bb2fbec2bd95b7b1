//! Agents: a model with skills as tools, bounded by turns and an allow-list. One is made by hand, one by the context.

use aos_core::Failure;
use aos_core::agent::{Agent, AgentAnswer, AgentTool};
use aos_core::flow::Ctx;
use aos_core::money::Money;
use aos_core::retry::RetryPolicy;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const MAX_TURNS: usize = 8;

/// What the model may call. Whatever else it asks for is answered with an error that it can read.
const TOOLS: [&str; 2] = ["http_call", "store"];

#[derive(Deserialize)]
pub struct Task {
    goal: String,
}

/// What the research agent is asked.
#[derive(Deserialize)]
pub struct Question {
    topic: String,
    question: String,
}

#[derive(Serialize)]
pub struct Done {
    answer: String,
    turns: usize,
    tools: Vec<String>,
}

/// Asks the model, carries out the tools it asks for (all of one turn at once), and goes on until it answers in words.
pub async fn support_agent(ctx: Ctx, task: Task) -> Result<Done, Failure> {
    let mut messages = vec![json!({"role": "user", "content": task.goal})];
    let mut called = Vec::new();
    for turn in 1..=MAX_TURNS {
        let tools: Vec<_> =
            TOOLS.iter().map(|name| json!({"name": name, "input_schema": {"type": "object"}})).collect();
        let request = json!({"model": "claude-sonnet-4-5", "max_tokens": 1_024, "messages": messages, "tools": tools});
        let answer = ctx.call("llm_invoke@^1", &request).name(&format!("turn:{turn}")).await?;
        let content = answer.value()["content"].as_array().cloned().unwrap_or_default();
        let uses: Vec<Value> = content.iter().filter(|block| block["type"] == "tool_use").cloned().collect();
        if uses.is_empty() {
            let answer = content.iter().filter_map(|block| block["text"].as_str()).collect();
            return Ok(Done { answer, turns: turn, tools: called });
        }
        called.extend(uses.iter().filter_map(|used| used["name"].as_str().map(str::to_owned)));
        let results = ctx.map(uses, |ctx, used| async move { use_tool(&ctx, &used).await }).await;
        messages.push(json!({"role": "assistant", "content": content}));
        messages.push(json!({"role": "user", "content": results}));
    }
    Err(Failure::new(aos_core::codes::LIMIT_EXCEEDED, format!("the agent did not come to an end in {MAX_TURNS} turns")))
}

async fn use_tool(ctx: &Ctx, used: &Value) -> Value {
    let name = used["name"].as_str().unwrap_or_default();
    let result = match TOOLS.iter().find(|tool| **tool == name) {
        Some(tool) => ctx.call(tool, &used["input"]).await.map_err(|failure| failure.to_string()),
        None => Err(format!("there is no tool {name:?}")),
    };
    let (text, is_error) = match result {
        Ok(output) => (output.as_str().chars().take(2_000).collect(), false),
        Err(error) => (error, true),
    };
    json!({"type": "tool_result", "tool_use_id": used["id"], "content": text, "is_error": is_error})
}

/// The agent of fixtures/workflows/research_agent.yaml: the same effects in the same order.
pub async fn research_agent(ctx: Ctx, task: Question) -> Result<AgentAnswer, Failure> {
    let publish = AgentTool::new("store@^1")
        .name("publish")
        .description("Publishes the answer that customers read. A person looks at it first.")
        .params(json!({"key": format!("answers/{}", task.topic)}))
        .approve();
    let agent = Agent::new(format!("Answer for customers, with sources: {}", task.question), "claude-sonnet-5-5")
        .system("You answer from the pages you have read, and from nothing else.")
        .max_tokens(1_024)
        .tool("search@^1")
        .tool(AgentTool::new("http_call@^1").name("fetch").description("Reads a page."))
        .tool(publish)
        .max_turns(12)
        .max_tool_calls(20)
        .budget(Money::from_cents(50))
        .answer_schema(json!({
            "type": "object",
            "required": ["answer", "sources"],
            "additionalProperties": false,
            "properties": {
                "answer": {"type": "string"},
                "sources": {"type": "array", "minItems": 1, "maxItems": 5, "items": {"type": "string"}},
            },
        }))
        .retry(RetryPolicy::never());
    ctx.agent(agent).name("research").await
}
