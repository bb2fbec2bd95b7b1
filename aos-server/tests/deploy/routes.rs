//! Alertmanager: who hears of what.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos_testkit::service::Alertmanager;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};

use crate::queries::rules;
use crate::support::{read, root};

const FILE: &str = "aos-server/deploy/alertmanager/alertmanager.yml";

#[test]
fn alertmanager_takes_the_configuration() {
    let file = root(FILE).into_os_string().into_string().unwrap();
    Alertmanager::amtool(&["check-config", &file]).unwrap();
}

#[test]
fn critical_alerts_go_to_the_pager_and_all_to_the_chat() {
    let file = format!("--config.file={}", root(FILE).display());
    for alert in rules().into_iter().filter(|rule| rule["alert"].is_string()) {
        let (name, severity) = (alert["alert"].as_str().unwrap(), alert["labels"]["severity"].as_str().unwrap());
        let labels = [format!("alertname={name}"), format!("severity={severity}")];
        let routes = Alertmanager::amtool(&["config", "routes", "test", &file, &labels[0], &labels[1]]).unwrap();
        let expected = if severity == "critical" { "pager,chat" } else { "chat" };
        assert_eq!(routes.trim(), expected, "{name}");
    }
}

/// Alerts that a rule says to mute, or that mute, are there.
#[test]
fn what_is_muted_is_an_alert() {
    let text = read(FILE);
    let named = text.split("alertname = ").skip(1).map(|rest| rest.split([']', ',']).next().unwrap());
    for name in named {
        assert!(rules().iter().any(|rule| rule["alert"] == name), "{name}");
    }
}

type Heard = Arc<Mutex<Vec<(&'static str, Value)>>>;

/// A pager and a chat that keep what they are told; gives the port.
async fn listeners(heard: Heard) -> u16 {
    let keep = |who: &'static str| {
        post(async move |State(heard): State<Heard>, body: axum::body::Bytes| {
            heard.lock().unwrap().push((who, serde_json::from_slice(&body).unwrap()));
            "ok"
        })
    };
    let router = Router::new().route("/pager", keep("pager")).route("/chat", keep("chat")).with_state(heard);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

#[tokio::test]
async fn pager_and_chat_are_told() {
    let heard = Heard::default();
    let port = listeners(Arc::clone(&heard)).await;
    let files = tempfile::tempdir().unwrap();
    let (key, url) = (files.path().join("key"), files.path().join("url"));
    std::fs::write(&key, "routing-key").unwrap();
    std::fs::write(&url, format!("http://127.0.0.1:{port}/chat")).unwrap();
    let mut configuration = format!("global: {{pagerduty_url: \"http://127.0.0.1:{port}/pager\"}}\n{}", read(FILE));
    for (deployed, here) in [
        ("/run/secrets/pager_key", key.to_str().unwrap()),
        ("/run/secrets/chat_url", url.to_str().unwrap()),
        ("group_wait: 10s", "group_wait: 100ms"),
        ("group_wait: 30s", "group_wait: 100ms"),
    ] {
        assert_eq!(configuration.matches(deployed).count(), 1, "{deployed}");
        configuration = configuration.replace(deployed, here);
    }
    let alertmanager = Alertmanager::start(&configuration).unwrap();
    let alert = |name: &str, severity: &str| {
        json!({
            "labels": {"alertname": name, "severity": severity},
            "annotations": {"summary": format!("{name} summed up"), "description": "What to do.", "runbook_url": "http://runbook/#it"},
        })
    };
    let alerts = json!([alert("AosQueueOld", "critical"), alert("AosDeadLetters", "warning")]);
    let posted =
        reqwest::Client::new().post(format!("{}/api/v2/alerts", alertmanager.url())).json(&alerts).send().await;
    assert_eq!(posted.unwrap().status(), 200);
    for _ in 0..1_500 {
        if heard.lock().unwrap().len() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let heard = heard.lock().unwrap().clone();
    let told = |who: &str, name: &str| {
        let told: Vec<_> = heard.iter().filter(|(to, body)| *to == who && body.to_string().contains(name)).collect();
        assert!(told.len() <= 1, "{told:?}");
        told.first().map(|(_, body)| body.clone())
    };
    let page = told("pager", "AosQueueOld").unwrap_or_else(|| panic!("{heard:?}"));
    assert_eq!((&page["routing_key"], &page["payload"]["severity"]), (&json!("routing-key"), &json!("critical")));
    assert_eq!(page["payload"]["summary"], "AosQueueOld: AosQueueOld summed up");
    assert_eq!(page["payload"]["custom_details"]["runbook"], "http://runbook/#it");
    assert_eq!(told("pager", "AosDeadLetters"), None);
    for (name, color) in [("AosQueueOld", "danger"), ("AosDeadLetters", "warning")] {
        let message = told("chat", name).unwrap_or_else(|| panic!("{name}: {heard:?}"))["attachments"][0].clone();
        assert_eq!(message["title"], format!("{name} (1)"));
        assert_eq!((&message["title_link"], &message["color"]), (&json!("http://runbook/#it"), &json!(color)));
        assert!(message["text"].as_str().unwrap().contains(&format!("{name} summed up. What to do.")), "{message}");
    }
}
