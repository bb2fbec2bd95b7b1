//! A real Prometheus looks at a server under load: every query of rules, alerts and dashboards has data then, and every
//! name in them is one of the server's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aos_testkit::service::Prometheus;
use aos_testkit::service::claude::{ApiError, MockClaude, Model, Reply, Rule};
use serde_json::{Value, json};
use url::Url;

use crate::operator_support::{Api, Process};
use crate::queries::{self, Query};
use crate::support::{read, root, yaml};

const MODEL: &str = "claude-haiku-4-5";
/// A model of which nobody knows the price.
const UNPRICED: &str = "claude-of-tomorrow";
/// How long a query may have no data.
const PATIENCE: Duration = Duration::from_secs(90);

/// Workflows that do all that is counted.
fn workflows() -> [Value; 6] {
    let ask = |id: &str, adapter: &str, model: &str, prompt: &str| {
        json!({"id": id, "steps": [{"id": "ask", "skill": "llm_invoke", "retry": {"max_attempts": 1}, "params": {
            "adapter": adapter, "model": model, "max_tokens": 32, "prompt": prompt, "cache": {"ttl_s": 60}
        }}]})
    };
    [
        json!({"id": "greeting", "steps": [{"id": "greet", "skill": "echo", "params": "{{ input.n }}"}]}),
        // Nobody may call this address.
        json!({"id": "broken", "steps": [{"id": "call", "skill": "http_call", "params": {"url": "http://127.0.0.1:1/"}}]}),
        ask("question", "claude", MODEL, "Question {{ input.n // 2 }}"),
        ask("refused", "claude", MODEL, "Refuse {{ input.n }}"),
        ask("tomorrow", "claude", UNPRICED, "Question {{ input.n }}"),
        ask("stub", "stub", "stub", "{{ input.n }}"),
    ]
}

/// Begins runs until it is dropped.
fn load(api: Api) -> tokio::task::JoinSet<()> {
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        for n in 0_u64.. {
            // A refusal holds up the calls after it for a second.
            for workflow in workflows().iter().filter(|workflow| n % 8 == 0 || workflow["id"] != "refused") {
                api.begin(&workflow["id"], &json!({"n": n})).await;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    tasks
}

/// The deployed configuration, for this server and every second.
fn configuration(server: &str) -> String {
    let mut configuration = yaml("aos-server/deploy/prometheus/prometheus.yml");
    configuration["global"] = json!({"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"});
    configuration["rule_files"] = json!([root(queries::RULES).join("*.yml")]);
    configuration["alerting"] = json!({});
    let target = server.strip_prefix("http://").unwrap();
    configuration["scrape_configs"] =
        json!([{"job_name": "aos", "static_configs": [{"targets": [target], "labels": {"service": "backend"}}]}]);
    configuration.to_string()
}

/// Whether a query has a sample that is a number.
async fn has_data(http: &reqwest::Client, prometheus: &Prometheus, query: &Query) -> bool {
    let url = format!("{}/api/v1/query", prometheus.url());
    let answer = http.get(Url::parse_with_params(&url, [("query", &query.text)]).unwrap()).send().await.unwrap();
    let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
    // It answers so until it is ready.
    if status == 503 {
        return false;
    }
    assert!(status.is_success(), "{query:?}: {answer}");
    let samples = answer["data"]["result"].as_array().unwrap();
    samples.iter().any(|sample| sample["value"][1].as_str().unwrap().parse::<f64>().unwrap().is_finite())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_has_data() {
    let tomorrow = Model { id: UNPRICED.into(), ..Model::known().remove(0) };
    let claude = MockClaude::builder().model(tomorrow).start().unwrap();
    // Whoever calls next has to wait.
    claude.on(Rule::new(Reply::error(ApiError::rate_limit(Duration::from_secs(1)))).when_text("Refuse"));
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", directory.path().join("aos.db").display());
    let base_url = claude.base_url();
    let server = Process::serve(&[
        ("DATABASE_URL", database.as_str()),
        ("ANTHROPIC_BASE_URL", &base_url),
        ("ANTHROPIC_API_KEY", claude.key()),
        ("CLAUDE_RATE_LIMIT_RPM", "1000000"),
        ("CLAUDE_RATE_LIMIT_TPM", "1000000000"),
        ("LOG_LEVEL", "error,aos_server::command=info"),
    ]);
    let api = server.api();
    for workflow in workflows() {
        api.post("/v1/workflows", &workflow).await;
    }
    let _load = load(api.clone());
    let prometheus = Prometheus::start(&configuration(&server.url)).unwrap();

    let http = reqwest::Client::new();
    let mut missing = queries::all();
    assert!(missing.len() > 100, "{missing:#?}");
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !missing.is_empty() {
        assert!(tokio::time::Instant::now() < patience, "no data:\n{missing:#?}\n{}", page(&api).await);
        let mut still = Vec::new();
        for query in missing {
            if !has_data(&http, &prometheus, &query).await {
                still.push(query);
            }
        }
        missing = still;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    let rules =
        http.get(format!("{}/api/v1/rules", prometheus.url())).send().await.unwrap().json::<Value>().await.unwrap();
    let rules = rules["data"]["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let ill: Vec<_> = rules.filter(|rule| rule["health"] != "ok").collect();
    assert!(ill.is_empty(), "{ill:#?}");

    let page = page(&api).await;
    let series: BTreeSet<_> = page.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let recorded: BTreeSet<_> =
        queries::rules().iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned())).collect();
    for query in queries::all() {
        for name in queries::names(&query.text) {
            assert!(series.contains(&*name) || recorded.contains(&name), "{}: there is no {name}", query.place);
        }
    }
    described(&page);
}

async fn page(api: &Api) -> String {
    api.http.get(format!("{}/metrics", api.url)).send().await.unwrap().text().await.unwrap()
}

/// The page on monitoring has a row for every metric, with its labels, and for no other.
fn described(page: &str) {
    let text = read("docs/src/monitoring.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Metrics\n")).unwrap();
    let code = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = section.lines().filter(|line| line.starts_with("| `")).map(|row| {
        let mut cells = row.trim_start_matches("| ").split('|');
        (code(cells.next().unwrap()).pop_first().unwrap(), code(cells.next().unwrap()))
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), labels(page), "the table in docs/src/monitoring.md");
}

/// Every metric of a page with the labels that its series have.
fn labels(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (mut metrics, mut last) = (BTreeMap::<_, BTreeSet<_>>::new(), String::new());
    for line in page.lines() {
        // The series of a metric follow its type.
        if let Some(metric) = line.strip_prefix("# TYPE ") {
            last = metric.split(' ').next().unwrap().to_owned();
            metrics.entry(last.clone()).or_default();
        } else if let Some((_, labels)) = line.split_once('{') {
            let names = labels.split("=\"").map(|text| text.rsplit(['"', ',']).next().unwrap().to_owned());
            let names: Vec<_> = names.collect();
            // What stands behind the last label is a value.
            let names = names[..names.len() - 1].iter().filter(|name| *name != "le").cloned();
            metrics.get_mut(&last).unwrap().extend(names);
        }
    }
    metrics
}
