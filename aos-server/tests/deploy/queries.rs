//! The queries of rules, alerts and dashboards, and the names in them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{root, yaml};

pub const RULES: &str = "aos-server/deploy/prometheus/rules";
pub const DASHBOARDS: &str = "aos-server/deploy/grafana/dashboards";

/// A query, and where it stands.
#[derive(Clone, Debug)]
pub struct Query {
    pub place: String,
    pub text: String,
}

fn files(folder: &str, extension: &str) -> Vec<String> {
    let files = std::fs::read_dir(root(folder)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> =
        files.filter(|file| file.ends_with(extension)).map(|file| format!("{folder}/{file}")).collect();
    files.sort();
    assert_ne!(files, Vec::<String>::new(), "{folder}");
    files
}

/// The files with rules.
pub fn rule_files() -> Vec<String> {
    files(RULES, ".yml")
}

/// All rules, those that record and those that alert.
pub fn rules() -> Vec<Value> {
    let groups = rule_files().into_iter().flat_map(|file| yaml(&file)["groups"].as_array().unwrap().clone());
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// All dashboards, by the names of their files.
pub fn dashboards() -> Vec<(String, Value)> {
    files(DASHBOARDS, ".json").into_iter().map(|file| (file.clone(), yaml(&file))).collect()
}

/// Every query: of each rule that records; of each alert without its thresholds, since that has no data when all is well;
/// and of each panel, with its variables filled in.
pub fn all() -> Vec<Query> {
    let mut queries = Vec::new();
    for rule in rules() {
        let text = rule["expr"].as_str().unwrap();
        if let Some(name) = rule["record"].as_str() {
            queries.push(Query { place: name.to_owned(), text: text.to_owned() });
            continue;
        }
        let name = rule["alert"].as_str().unwrap();
        let operands = operands(text).into_iter();
        queries.extend(operands.map(|text| Query { place: format!("alert {name}"), text }));
    }
    for (file, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place =
                    format!("{file}: {} ({})", panel["title"].as_str().unwrap(), target["refId"].as_str().unwrap());
                queries.push(Query { place, text: filled(target["expr"].as_str().unwrap(), &dashboard) });
            }
        }
    }
    queries
}

/// As Grafana asks it: with everything selected.
fn filled(text: &str, dashboard: &Value) -> String {
    let mut text = text.replace("$__rate_interval", "10s").replace("$__range", "1m");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        text =
            text.replace(&format!("${}", variable["name"].as_str().unwrap()), variable["allValue"].as_str().unwrap());
    }
    assert!(!text.contains('$'), "{text}: no such variable");
    text
}

/// What an alert compares with its thresholds.
fn operands(text: &str) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts = split(&text, &[" and ", " or "]);
    if parts.len() > 1 {
        return parts.iter().flat_map(|part| operands(part)).collect();
    }
    if let [left, _threshold] = split(&text, &[" > ", " == "])[..] {
        return operands(left);
    }
    let inner = text.strip_prefix("absent(").or_else(|| text.strip_prefix('(')).and_then(|rest| rest.strip_suffix(')'));
    match inner {
        Some(inner) => operands(inner),
        None => vec![text],
    }
}

/// Splits at these words, where they are in no parentheses.
fn split<'a>(text: &'a str, words: &[&str]) -> Vec<&'a str> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, character) in text.char_indices() {
        depth += i32::from(character == '(') - i32::from(character == ')');
        let Some(word) = words.iter().find(|word| depth == 0 && text[at..].starts_with(**word)) else { continue };
        parts.push(&text[begin..at]);
        begin = at + word.len();
    }
    parts.push(&text[begin..]);
    parts
}

/// The names of series in a query that are this program's or recorded from them.
pub fn names(query: &str) -> BTreeSet<String> {
    // What is quoted are values of labels.
    let outside = query.split('"').step_by(2);
    let words = outside.flat_map(|text| text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')));
    words.filter(|word| word.starts_with("aos_") || word.starts_with("aos:")).map(str::to_owned).collect()
}

#[test]
fn an_alert_is_taken_apart() {
    for (alert, parts) in [
        ("a > 1", vec!["a"]),
        ("sum(a{b=\"c\"} == 1) > 0", vec!["sum(a{b=\"c\"} == 1)"]),
        ("absent(up{a=\"b\"} == 1)", vec!["up{a=\"b\"}"]),
        ("(a > 1 and\n b > 2 * 3)\nor\n(c > 4 and d > 5)", vec!["a", "b", "c", "d"]),
        ("sum(a unless a offset 1h) > 0", vec!["sum(a unless a offset 1h)"]),
    ] {
        assert_eq!(operands(alert), parts, "{alert}");
    }
    let query = "sum by (aos) (rate(aos_a_total{b=\"aos_c\"}[5m])) / aos:d:e";
    assert_eq!(names(query), ["aos:d:e", "aos_a_total"].map(str::to_owned).into());
}
