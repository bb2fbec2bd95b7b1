//! The rules of Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use aos_testkit::service::Prometheus;
use serde_json::Value;

use crate::queries::{rule_files, rules};
use crate::support::{read, root, yaml};

const TESTS: &str = "aos-server/deploy/prometheus/tests";
const RUNBOOK: &str = "docs/src/runbook.md";

fn promtool(check: &str, files: &[String]) -> std::io::Result<String> {
    let files: Vec<_> = files.iter().map(|file| root(file).into_os_string().into_string().unwrap()).collect();
    Prometheus::promtool(
        &[&check.split(' ').collect::<Vec<_>>(), &files.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat(),
    )
}

fn tests() -> Vec<String> {
    let files = std::fs::read_dir(root(TESTS)).unwrap();
    files.map(|file| format!("{TESTS}/{}", file.unwrap().file_name().into_string().unwrap())).collect()
}

fn alerts() -> BTreeMap<String, Value> {
    let alerts = rules().into_iter().filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule)));
    alerts.collect()
}

#[test]
fn prometheus_takes_rules_and_configuration() {
    promtool("check rules", &rule_files()).unwrap();
    promtool("check config", &["aos-server/deploy/prometheus/prometheus.yml".into()]).unwrap();
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    promtool("test rules", &tests()).unwrap();
}

#[test]
fn every_alert_is_tested_both_ways() {
    let (mut firing, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for file in tests() {
        for test in yaml(&file)["tests"].as_array().unwrap() {
            for case in test["alert_rule_test"].as_array().into_iter().flatten() {
                let of = if case["exp_alerts"].as_array().unwrap().is_empty() { &mut silent } else { &mut firing };
                of.insert(case["alertname"].as_str().unwrap().to_owned());
            }
        }
    }
    let all: BTreeSet<_> = alerts().into_keys().collect();
    assert_eq!((&firing, &silent), (&all, &all));
}

#[test]
fn every_alert_says_what_is_wrong_and_what_to_do() {
    let page = format!("{}/blob/main/{RUNBOOK}#", env!("CARGO_PKG_REPOSITORY"));
    // The runbook belongs to the same release.
    let anchors = root(RUNBOOK).exists().then(|| anchors(&read(RUNBOOK)));
    for (name, alert) in alerts() {
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity:?}");
        for annotation in ["summary", "description"] {
            assert!(!alert["annotations"][annotation].as_str().unwrap_or_default().is_empty(), "{name}: {annotation}");
        }
        let link = alert["annotations"]["runbook_url"].as_str().unwrap_or_default();
        let anchor = link.strip_prefix(&page).unwrap_or_else(|| panic!("{name}: {link} is not in {page}"));
        if let Some(anchors) = &anchors {
            assert!(anchors.contains(anchor), "{name}: {RUNBOOK} has no heading for #{anchor}");
        }
    }
}

/// The anchors of a page's headings: `## Queue age` is `#queue-age`.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    headings.map(anchor).collect()
}

/// Thresholds of the operations runbook.
#[test]
fn the_runbook_s_table_is_watched() {
    let alerts = alerts();
    for (name, expr) in [
        ("AosLlmLatencyHigh", "aos_llm_latency_p99 > 30"),
        ("AosLlmErrorRateHigh", "aos_llm_error_rate > 0.05"),
        ("AosSkillSlow", r#"aos_skill_execution_time_p99{skill!="llm_invoke"} > 10"#),
        ("AosRegistryLarge", "max by (kind) (aos_registry_size) > 10000"),
        ("AosDeterminismDrift", "max by (instance) (max_over_time(aos_determinism_drift[1h])) > 0"),
    ] {
        assert_eq!(alerts[name]["expr"], expr, "{name}");
    }
}

#[test]
fn the_page_on_monitoring_has_every_alert() {
    let page = read("docs/src/monitoring.md");
    let rows = page.lines().filter(|line| line.starts_with("| `Aos"));
    let rows: BTreeMap<_, _> =
        rows.map(|row| (row.split('`').nth(1).unwrap(), row.split(" | ").nth(1).unwrap())).collect();
    let alerts = alerts();
    let severity = |alert: &Value| alert["labels"]["severity"].as_str().unwrap().to_owned();
    let expected: BTreeMap<_, _> = alerts.iter().map(|(name, alert)| (name.as_str(), severity(alert))).collect();
    assert_eq!(rows, expected.iter().map(|(name, severity)| (*name, severity.as_str())).collect());
}
