//! `docker-compose.yml`, and what is put on top of it.

use std::collections::BTreeSet;
use std::time::Duration;

use aos_server::config::table;
use aos_server::server::{LEAVE_AFTER, Role};
use serde_json::{Map, Value, json};

use crate::support::{self, Environment, config, faults, longest_end, read, role, root, schema, seconds, text, yaml};

const FILES: [&str; 3] = ["docker-compose.yml", "docker-compose.scale.yml", "docker-compose.observe.yml"];

/// Keys that an operator sets in the shell.
const OPERATORS: [&str; 6] = [
    "DISABLE_LIVE_ADAPTERS",
    "FORCE_STUB_ADAPTER",
    "CLAUDE_RATE_LIMIT_RPM",
    "CLAUDE_RATE_LIMIT_TPM",
    "LOG_LEVEL",
    "LOG_SKILL_PARAMS",
];

fn services(file: &str) -> Map<String, Value> {
    yaml(file)["services"].as_object().unwrap().clone()
}

/// The services that are this program, with the role of each.
fn processes() -> Vec<(String, Role, Value)> {
    let ours = services(FILES[0]).into_iter().filter(|(_, service)| service["image"] == "aos-server:local");
    ours.map(|(name, service)| {
        let role = role(&support::strings(&service["command"])).unwrap();
        (name, role, service)
    })
    .collect()
}

/// `${NAME}` and `${NAME:-default}` replaced, as compose does it.
fn interpolate(text: &str, shell: &[(&str, &str)]) -> String {
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (inner, behind) = after.split_once('}').unwrap();
        let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
        let set = shell.iter().find(|(key, value)| *key == name && !value.is_empty());
        done = format!("{done}{before}{}", set.map_or(default, |(_, value)| value));
        rest = behind;
    }
    done + rest
}

fn environment(service: &Value, shell: &[(&str, &str)]) -> Environment {
    let pairs = service["environment"].as_object().unwrap().iter();
    pairs.map(|(key, value)| (key.clone(), interpolate(&text(value), shell))).collect()
}

#[test]
fn the_files_are_compose_files() {
    let schema = schema("compose-spec.json");
    for file in FILES {
        assert_eq!(faults(&schema, &yaml(file)), Vec::<String>::new(), "{file}");
    }
    for (pointer, wrong) in [
        ("/services/backend/stop_grace_period", json!(45.5)),
        ("/services/backend/depends_on/db/condition", json!("healthy")),
        ("/services/db/ports", json!({"5433": 5432})),
        ("/services/redis/healthcheck", json!({"tset": []})),
    ] {
        let mut file = yaml(FILES[0]);
        *file.pointer_mut(pointer).unwrap() = wrong;
        assert_ne!(faults(&schema, &file), Vec::<String>::new(), "{pointer} is not looked at");
    }
}

#[test]
fn every_process_starts_with_nothing_set() {
    let processes = processes();
    let names: Vec<_> = processes.iter().map(|(name, role, _)| (name.as_str(), *role)).collect();
    assert_eq!(names, [("backend", Role::Serve), ("worker", Role::Worker)]);
    for (name, role, service) in processes {
        let config = config(role, &environment(&service, &[]));
        assert_eq!(config.worker.concurrency == 0, role == Role::Serve, "{name}");
        let file = format!("/var/log/aos/{name}.log");
        assert_eq!(config.log.file.unwrap().to_str().unwrap(), file, "where the runbook looks");
    }
}

#[test]
fn what_an_operator_exports_reaches_every_process() {
    for (name, role, service) in processes() {
        for key in OPERATORS {
            let setting = table::find(key).unwrap();
            let default = environment(&service, &[]).remove(key).unwrap_or_else(|| panic!("{name} is not told {key}"));
            assert_eq!(Some(&*default), setting.default, "{name}: {key}");
            let given = environment(&service, &[(key, setting.example)]);
            assert_eq!(given[key], setting.example, "{name}: {key}");
            config(role, &given);
        }
    }
}

#[test]
fn a_password_is_everybody_s() {
    let shell = [("POSTGRES_PASSWORD", "secret"), ("POSTGRES_HOST_AUTH_METHOD", "scram-sha-256")];
    for (name, _, service) in processes() {
        let url = &environment(&service, &shell)["DATABASE_URL"];
        assert_eq!(url, "postgres://nova:secret@db:5432/nova_aos", "{name}");
    }
    let db = environment(&services(FILES[0])["db"], &shell);
    assert_eq!((&*db["POSTGRES_USER"], &*db["POSTGRES_DB"]), ("nova", "nova_aos"));
    assert_eq!((&*db["POSTGRES_PASSWORD"], &*db["POSTGRES_HOST_AUTH_METHOD"]), ("secret", "scram-sha-256"));
}

#[test]
fn the_ports_are_those_of_the_runbook_on_this_machine_alone() {
    let ports = |file: &str| -> BTreeSet<String> {
        let services = services(file);
        services
            .values()
            .flat_map(|service| support::strings(&service["ports"]).into_iter().map(str::to_owned))
            .collect()
    };
    let published = |ports: &[&str]| ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    assert_eq!(ports(FILES[0]), published(&["8000:8000", "5433:5432", "6379:6379"]));
    // The balancer's, which has the port of the backend; that one's is taken away.
    assert_eq!(ports(FILES[1]), published(&["8000:8000", "8404:8404"]));
    assert!(read(FILES[1]).contains("ports: !reset []"));
    assert_eq!(ports(FILES[2]), published(&["9090:9090", "9093:9093", "3000:3000"]));
}

#[test]
fn what_services_name_is_there() {
    let whole = yaml(FILES[0]);
    let services = services(FILES[0]);
    for (name, service) in &services {
        for needed in service["depends_on"].as_object().into_iter().flat_map(Map::keys) {
            assert!(services.contains_key(needed), "{name} depends on {needed}");
        }
        for volume in support::strings(&service["volumes"]) {
            let volume = interpolate(volume, &[]);
            let source = volume.split_once(':').unwrap().0;
            assert!(whole["volumes"].as_object().unwrap().contains_key(source), "{name} mounts {source}");
        }
    }
    for (name, _, service) in processes() {
        for key in ["DATABASE_URL", "REDIS_URL"] {
            let url = url::Url::parse(&environment(&service, &[])[key]).unwrap();
            assert!(services.contains_key(url.host_str().unwrap()), "{name}: {key} is {url}");
        }
    }
}

#[test]
fn nothing_is_killed_before_it_has_ended_in_order() {
    for (name, role, service) in processes() {
        let config = config(role, &environment(&service, &[]));
        let (grace, end) = (seconds(service["stop_grace_period"].as_str().unwrap()), longest_end(&config, LEAVE_AFTER));
        assert!(grace > end, "{name}: {grace:?} is not more than {end:?}");
    }
    let balancer = &services(FILES[1])["balancer"];
    assert!(seconds(balancer["stop_grace_period"].as_str().unwrap()) > Duration::from_secs(30));
}

#[test]
fn three_backends_have_a_balancer_before_them() {
    let scaled = services(FILES[1]);
    assert_eq!(scaled["backend"]["deploy"]["replicas"], 3);
    let base = services(FILES[0]);
    let added: Vec<_> = scaled.keys().filter(|name| !base.contains_key(*name)).collect();
    assert_eq!(added, ["balancer"]);
    let mount = support::strings(&scaled["balancer"]["volumes"])[0].to_owned();
    let (file, rest) = mount.split_once(':').unwrap();
    assert_eq!(
        root(file).canonicalize().unwrap(),
        root("aos-server/deploy/haproxy/haproxy.cfg").canonicalize().unwrap()
    );
    assert_eq!(rest, "/usr/local/etc/haproxy/haproxy.cfg:ro", "where the image looks");
    let configuration = read("aos-server/deploy/haproxy/haproxy.cfg");
    let template = configuration.lines().find_map(|line| line.trim().strip_prefix("server-template ")).unwrap();
    let words: Vec<_> = template.split(' ').collect();
    assert!(words[1].parse::<u64>().unwrap() >= 2 * 3, "room for as many new ones beside them");
    assert_eq!(words[2], "backend:8000");
    for port in ["bind :8000", "bind :8404"] {
        assert!(configuration.contains(port), "{port}");
    }
}
