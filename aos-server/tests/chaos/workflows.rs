//! What the runs do: one workflow of each kind that a crash can hurt.

use serde_json::{Value, json};

/// Inputs of each workflow: `n` below this.
pub const VARIANTS: u64 = 3;

/// Of what `http_call` gives, the last steps take the body only: how long it took differs from run to run.
const OUTPUT: &str = "{{ steps.end.output }}";

/// A workflow, and how many requests a run of it that ends well sends to which path, each under a key of its own.
pub struct Kind {
    pub id: &'static str,
    pub definition: Value,
    pub note: fn(n: u64) -> usize,
    pub down: usize,
    pub once: usize,
}

/// All of them, each after those it needs.
pub fn kinds() -> Vec<Kind> {
    let kind = |id, note, steps: Value| Kind {
        id,
        definition: json!({"id": id, "steps": steps, "output": OUTPUT}),
        note,
        down: 0,
        once: 0,
    };
    vec![
        kind(
            "in_sequence",
            |_| 2,
            json!([
                call("first", "http_call", "/note"),
                {"id": "ask", "skill": "llm_invoke", "needs": ["first"], "params": {
                    "model": "stub", "max_tokens": 64, "messages": [{"role": "user", "content": "Say {{ input.n }}"}]}},
                with(call("second", "http_call", "/note"), json!({"needs": ["ask"]})),
                {"id": "end", "skill": "echo", "params": ["{{ steps.ask.output }}", "{{ steps.second.output.body }}"]},
            ]),
        ),
        kind(
            "side_by_side",
            |_| 4,
            json!([
                call("a", "http_call", "/note"),
                call("b", "http_call", "/note"),
                call("c", "http_call", "/note"),
                call("d", "http_call", "/note"),
                {"id": "end", "skill": "echo", "needs": ["a", "b", "c", "d"], "params": "{{ input.n }}"},
            ]),
        ),
        kind(
            "for_each_item",
            |n| 3 + n as usize,
            json!([
                {"id": "items", "set": "{{ range(input.n + 3) | list }}"},
                with(call("each", "http_call", "/note"), json!({"for_each": "steps.items.output", "concurrency": 2})),
                {"id": "end", "set": "{{ steps.each.output | map(attribute='body') | list }}"},
            ]),
        ),
        kind(
            "with_timers",
            |_| 1,
            json!([
                {"id": "nap", "sleep": "60ms"},
                with(call("between", "http_call", "/note"), json!({"needs": ["nap"]})),
                // Long enough for the run to be parked.
                {"id": "rest", "sleep": "1300ms", "needs": ["between"]},
                {"id": "end", "skill": "echo", "needs": ["rest"], "params": "{{ input.n }}"},
            ]),
        ),
        kind(
            "with_children",
            |_| 4,
            json!([
                {"id": "children", "workflow": "in_sequence", "for_each": "[input.n, 7]",
                 "params": {"n": "{{ item }}", "ledger": "{{ input.ledger }}"}},
                {"id": "end", "skill": "echo", "params": "{{ steps.children.output }}"},
            ]),
        ),
        Kind {
            down: 1,
            ..kind(
                "retries_and_gives_up",
                |_| 1,
                json!([
                    with(
                        call("try", "http_call", "/down"),
                        json!({
                        "retry": {"max_attempts": 3, "initial_ms": 40, "factor": 2},
                        "on_error": {"fallback": "{{ error.code }}"}})
                    ),
                    with(call("note", "http_call", "/note"), json!({"needs": ["try"]})),
                    {"id": "end", "set": ["{{ steps.try.output }}", "{{ steps.note.output.body }}"]},
                ]),
            )
        },
        Kind {
            once: 1,
            ..kind(
                "acts_once",
                |_| 2,
                json!([
                    call("before", "http_call", "/note"),
                    with(call("act", "http_call_once", "/once"), json!({"needs": ["before"]})),
                    with(call("after", "http_call", "/note"), json!({"needs": ["act"]})),
                    {"id": "end", "set": ["{{ steps.act.output.body }}", "{{ steps.after.output.body }}"]},
                ]),
            )
        },
    ]
}

/// A workflow with an effect that takes until it is let go.
pub fn held() -> Value {
    let steps = json!([
        call("hold", "http_call", "/held"),
        {"id": "end", "set": "{{ steps.hold.output.body }}"},
    ]);
    json!({"id": "held", "steps": steps, "output": OUTPUT})
}

/// How many requests to `/note` one run of every workflow with every input makes.
pub fn notes(kinds: &[Kind]) -> usize {
    kinds.iter().flat_map(|kind| (0..VARIANTS).map(kind.note)).sum()
}

/// The input of a run.
pub fn input(n: u64, ledger: std::net::SocketAddr) -> Value {
    json!({"n": n, "ledger": format!("http://{ledger}")})
}

fn call(id: &str, skill: &str, path: &str) -> Value {
    let params =
        json!({"method": "POST", "url": format!("{{{{ input.ledger }}}}{path}"), "body": {"n": "{{ input.n }}"}});
    json!({"id": id, "skill": skill, "params": params})
}

fn with(mut step: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    step.as_object_mut().unwrap().extend(more);
    step
}
