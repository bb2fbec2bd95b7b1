//! What the metrics page has, and how many series it may have.

use super::*;

#[test]
fn names_on_the_page_are_those_of_the_dashboards_from_the_start() {
    let metrics = Metrics::new().unwrap();
    let at_start = metrics.page().unwrap();
    for name in [
        "aos_runs_total",
        "aos_replays_total",
        "aos_determinism_drift",
        "aos_llm_calls_total",
        "aos_llm_errors_total",
        "aos_llm_tokens_total",
        "aos_llm_cost_cents_total",
        "aos_llm_unpriced_calls_total",
        "aos_skill_errors_total",
        "aos_registry_operations_total",
        "aos_registry_size",
        "aos_queue_depth",
        "aos_queue_oldest_seconds",
        "aos_workers",
        "aos_leases_rescued_total",
        "aos_fenced_writes_total",
        "aos_rate_limiter_degraded",
    ] {
        assert!(has(&at_start, name), "{name} is not on the page:\n{at_start}");
    }
    metrics.run("w", "succeeded", Duration::from_millis(3), Money::from_cents(2));
    metrics.skill("s", "1.0.0", Duration::from_millis(3), Some("ERR_X"));
    metrics.llm("stub", "m", Duration::from_millis(3), Money::ZERO, None);
    metrics.append(Duration::from_millis(1));
    metrics.batch(3);
    metrics.rate_limit_wait("claude", Duration::from_millis(1));
    let page = metrics.page().unwrap();
    for name in [
        "aos_run_duration_seconds_bucket",
        "aos_skill_duration_seconds_bucket",
        "aos_llm_latency_seconds_bucket",
        "aos_journal_append_seconds_bucket",
        "aos_journal_batch_size_bucket",
        "aos_rate_limit_waits_seconds_bucket",
    ] {
        assert!(has(&page, name), "{name} is not on the page:\n{page}");
    }
    assert!(page.contains(r#"aos_runs_total{status="succeeded",workflow="w"} 1"#), "{page}");
    assert!(!page.contains("otel_scope"), "{page}");
}

fn has(page: &str, name: &str) -> bool {
    page.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
}

/// Routes of the API, each asked with two outcomes.
const ROUTES: usize = 70;

#[test]
fn a_page_stays_small_whatever_was_used() {
    let metrics = Metrics::new().unwrap();
    let took = Duration::from_millis(1);
    for n in 0..ROUTES {
        for status in [200, 404] {
            metrics.http("GET", &format!("/v1/route-{n}"), status, took);
        }
    }
    for state in RunState::ALL {
        metrics.queue_depth(state, 1);
    }
    metrics.append(took);
    metrics.batch(1);
    for n in 0..1_000 {
        for status in ["succeeded", "failed", "cancelled"] {
            metrics.run(&format!("workflow-{n}"), status, took, Money::from_cents(1));
        }
        for version in ["1.0.0", "2.0.0"] {
            metrics.skill(&format!("skill-{n}"), version, took, None);
            metrics.skill("skill-0", version, took, Some(&format!("ERR_{n}")));
            metrics.skill(&format!("skill-{n}"), version, took, Some("ERR_SKILL_FAILED"));
        }
        for adapter in ["claude", "openai", "stub"] {
            let model = format!("model-{n}");
            metrics.llm(adapter, &model, took, Money::from_cents(1), Some(&format!("ERR_LLM_{n}")));
            metrics.llm_unpriced(adapter, &model);
            metrics.rate_limit_wait(adapter, took);
            for kind in ["input", "output", "cache_read", "cache_write"] {
                metrics.llm_tokens(adapter, &model, kind, 1);
            }
            for hit in [true, false] {
                metrics.llm_cache(adapter, &model, hit);
            }
        }
    }
    let page = metrics.page().unwrap();
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= 2_000, "{series} series");
    // Nothing is lost by that.
    let of = |name: &str| {
        let lines = page.lines().filter(|line| has(line, name));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum::<f64>()
    };
    for (name, total) in [
        ("aos_runs_total", 3_000.0),
        ("aos_run_duration_seconds_count", 3_000.0),
        ("aos_run_cost_cents_total", 3_000.0),
        ("aos_skill_duration_seconds_count", 6_000.0),
        ("aos_skill_errors_total", 4_000.0),
        ("aos_llm_calls_total", 3_000.0),
        ("aos_llm_errors_total", 3_000.0),
        ("aos_llm_tokens_total", 12_000.0),
    ] {
        assert_eq!(of(name), total, "{name}");
    }
    for named in [
        r#"aos_runs_total{status="failed",workflow="workflow-0"} 1"#,
        r#"aos_skill_errors_total{code="ERR_0",skill="skill-0",version="1.0.0"} 1"#,
        r#"aos_llm_calls_total{adapter="claude",model="model-0"} 1"#,
    ] {
        assert!(page.lines().any(|line| line == named), "{named}");
    }
}
