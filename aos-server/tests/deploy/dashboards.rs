//! Grafana's dashboards, and how the services around Prometheus are wired.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::queries::dashboards;
use crate::support::{root, strings, yaml};

const COMPOSE: &str = "docker-compose.observe.yml";
const PROVISIONING: &str = "aos-server/deploy/grafana/provisioning";

#[test]
fn the_dashboards_are_those_of_the_runbook() {
    let titles: BTreeSet<_> =
        dashboards().into_iter().map(|(_, board)| board["title"].as_str().unwrap().to_owned()).collect();
    assert_eq!(titles, ["AOS Overview", "Determinism", "LLM Costs", "Skills Performance"].map(str::to_owned).into());
}

#[test]
fn panels_are_complete() {
    let sources = yaml(&format!("{PROVISIONING}/datasources/aos.yml"));
    let sources = sources["datasources"].as_array().unwrap();
    let prometheus = sources.iter().find(|source| source["type"] == "prometheus").unwrap();
    for (file, board) in dashboards() {
        assert_eq!(file.rsplit('/').next().unwrap(), format!("{}.json", board["uid"].as_str().unwrap()));
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in board["panels"].as_array().unwrap() {
            let place = format!("{file}: {}", panel["title"].as_str().unwrap());
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{place}: its id is another one's");
            for cell in cells_of(&panel["gridPos"]) {
                assert!(cell.0 < 24 && cells.insert(cell), "{place}: it lies on another one");
            }
            if panel["type"] == "text" {
                continue;
            }
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{place}: no query");
            for source in targets.iter().map(|target| &target["datasource"]).chain([&panel["datasource"]]) {
                assert_eq!(source["uid"], prometheus["uid"], "{place}");
            }
        }
    }
}

/// The cells of the grid that a panel covers.
fn cells_of(position: &Value) -> Vec<(u64, u64)> {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| position[key].as_u64().unwrap());
    (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))).collect()
}

/// What a service mounts: the path in the repository, and the path in the container.
fn mounts(service: &str) -> Vec<(String, String)> {
    let compose = yaml(COMPOSE);
    let mounts = strings(&compose["services"][service]["volumes"]).into_iter().filter_map(|volume| {
        let mut parts = volume.strip_prefix("./")?.split(':');
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    });
    mounts.collect()
}

#[test]
fn services_find_their_files_and_each_other() {
    let compose = yaml(COMPOSE);
    let services = compose["services"].as_object().unwrap();
    for service in services.keys() {
        for (source, _) in mounts(service) {
            assert!(root(&source).exists(), "{service}: there is no {source}");
        }
    }
    // Prometheus.
    let prometheus = yaml("aos-server/deploy/prometheus/prometheus.yml");
    let mounted = mounts("prometheus");
    let at = |source: &str| mounted.iter().find(|(from, _)| from.ends_with(source)).unwrap().1.clone();
    let command = strings(&compose["services"]["prometheus"]["command"]);
    assert!(command.contains(&&*format!("--config.file={}", at("prometheus.yml"))), "{command:?}");
    assert_eq!(prometheus["rule_files"], serde_json::json!(["rules/*.yml"]));
    assert_eq!(at("prometheus/rules"), "/etc/prometheus/rules", "beside the configuration");
    let base = yaml("docker-compose.yml");
    let asked = &prometheus["scrape_configs"][0]["dns_sd_configs"][0];
    for name in strings(&asked["names"]) {
        let service = &base["services"][name];
        assert_eq!(service["image"], "aos-server:local", "{name}");
        let port = service["environment"]["PORT"].as_u64().unwrap_or(8_000);
        assert_eq!(asked["port"], port, "{name}");
    }
    let alertmanagers = &prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"];
    assert_eq!(*alertmanagers, serde_json::json!(["alertmanager:9093"]));
    // Alertmanager.
    let command = strings(&compose["services"]["alertmanager"]["command"]);
    assert!(command.contains(&&*format!("--config.file={}", mounts("alertmanager")[0].1)), "{command:?}");
    let configuration = crate::support::read("aos-server/deploy/alertmanager/alertmanager.yml");
    for secret in strings(&compose["services"]["alertmanager"]["secrets"]) {
        assert!(configuration.contains(&format!("/run/secrets/{secret}")), "{secret}");
        let file = compose["secrets"][secret]["file"].as_str().unwrap();
        let default = file.split_once(":-./").unwrap().1.trim_end_matches('}');
        assert!(root(default).exists(), "{secret}: there is no {default}");
    }
    // Grafana.
    let sources = yaml(&format!("{PROVISIONING}/datasources/aos.yml"));
    for source in sources["datasources"].as_array().unwrap() {
        let url = url::Url::parse(source["url"].as_str().unwrap()).unwrap();
        assert!(services.contains_key(url.host_str().unwrap()), "{url}");
    }
    let step = &prometheus["global"]["scrape_interval"];
    assert_eq!(sources["datasources"][0]["jsonData"]["timeInterval"], *step);
    let providers = yaml(&format!("{PROVISIONING}/dashboards/aos.yml"));
    let grafana = mounts("grafana");
    let mounted = grafana.iter().find(|(source, _)| source.ends_with("grafana/dashboards")).unwrap();
    assert_eq!(providers["providers"][0]["options"]["path"], mounted.1);
    assert!(grafana.iter().any(|(source, at)| source.ends_with("provisioning") && at == "/etc/grafana/provisioning"));
    let home =
        compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    let home = home.strip_prefix(&format!("{}/", mounted.1)).unwrap();
    assert!(root(&mounted.0).join(home).exists(), "{home}");
}
