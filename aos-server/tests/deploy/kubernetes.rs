//! The manifests for Kubernetes.

use std::collections::BTreeMap;
use std::time::Duration;

use aos_server::server::Role;
use serde_json::{Value, json};

use crate::operator_support::Process;
use crate::support::{Environment, config, faults, longest_end, role, root, schema, strings, text, yaml};

const FOLDER: &str = "aos-server/deploy/kubernetes";

/// Every manifest, by the name of its file.
fn manifests() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(root(FOLDER)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files = files.filter(|file| file != "kustomization.yaml");
    files.map(|file| (file.clone(), yaml(&format!("{FOLDER}/{file}")))).collect()
}

fn of_kind(kind: &str) -> Vec<Value> {
    manifests().into_values().filter(|manifest| manifest["kind"] == kind).collect()
}

/// Containers with the template that they are in.
fn containers() -> Vec<(Value, Value)> {
    let templates = of_kind("Deployment").into_iter().chain(of_kind("Job")).map(|m| m["spec"]["template"].clone());
    let containers = templates.flat_map(|template| {
        let containers = template["spec"]["containers"].as_array().unwrap().clone();
        containers.into_iter().map(move |container| (template.clone(), container))
    });
    containers.collect()
}

/// What a container is told: from the config map, from the secret, and by itself.
fn environment(container: &Value) -> Environment {
    let data = |kind: &str, key: &str| of_kind(kind)[0][key].as_object().unwrap().clone();
    assert_eq!(container["envFrom"], json!([{"configMapRef": {"name": "aos"}}, {"secretRef": {"name": "aos"}}]));
    let shared = data("ConfigMap", "data").into_iter().chain(data("Secret", "stringData"));
    let mut environment: Environment = shared.map(|(key, value)| (key, text(&value))).collect();
    let own = container["env"].as_array().cloned().unwrap_or_default();
    environment.extend(own.iter().map(|pair| (text(&pair["name"]), text(&pair["value"]))));
    environment
}

fn faults_of(manifest: &Value) -> Vec<String> {
    let definitions = schema("kubernetes-1.30.json");
    let kind = manifest["kind"].as_str().unwrap();
    assert!(definitions["$defs"][kind].is_object(), "no schema of {kind}");
    let missing = ["apiVersion", "kind", "metadata"].into_iter().filter(|key| manifest[key].is_null());
    let schema = json!({"$ref": format!("#/$defs/{kind}"), "$defs": definitions["$defs"]});
    missing.map(|key| format!("no {key}")).chain(faults(&schema, manifest)).collect()
}

#[test]
fn the_manifests_are_what_kubernetes_takes() {
    for (file, manifest) in manifests() {
        assert_eq!(faults_of(&manifest), Vec::<String>::new(), "{file}");
    }
    let container = "/spec/template/spec/containers/0";
    for (pointer, wrong) in [
        ("/apiVersion".to_owned(), json!("apps/v2")),
        ("/spec/replicas".to_owned(), json!("three")),
        (format!("{container}/readinessProbe"), json!({"httpget": {"port": 8000}})),
        (format!("{container}/lifecycle/preStop/sleep/seconds"), json!("5s")),
        (format!("{container}/ports/0/containerPort"), json!("http")),
    ] {
        let mut backend = manifests().remove("backend.yaml").unwrap();
        *backend.pointer_mut(&pointer).unwrap() = wrong;
        assert_ne!(faults_of(&backend), Vec::<String>::new(), "{pointer} is not looked at");
    }
}

#[test]
fn all_but_the_secret_are_applied_together() {
    let kustomization = yaml(&format!("{FOLDER}/kustomization.yaml"));
    let mut applied = strings(&kustomization["resources"]);
    applied.sort_unstable();
    let manifests = manifests();
    let files: Vec<_> = manifests.keys().filter(|file| *file != "secret.example.yaml").collect();
    assert_eq!(applied, files);
    assert_eq!(kustomization["namespace"], of_kind("Namespace")[0]["metadata"]["name"]);
    assert_eq!(kustomization["namespace"], of_kind("Secret")[0]["metadata"]["namespace"]);
    for (_, container) in containers() {
        assert_eq!(container["image"], kustomization["images"][0]["name"]);
    }
}

#[test]
fn every_container_starts() {
    let mut roles = Vec::new();
    for (template, container) in containers() {
        let role = role(&strings(&container["args"]));
        let config = config(role.unwrap_or(Role::Serve), &environment(&container));
        let pod = &template["spec"]["securityContext"];
        assert_eq!((&pod["runAsNonRoot"], &pod["runAsUser"]), (&json!(true), &json!(10001)));
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let Some(role) = role else { continue };
        roles.push(role);
        assert_eq!(config.worker.concurrency == 0, role == Role::Serve);
        assert_eq!(container["ports"], json!([{"name": "http", "containerPort": config.listen.port}]));
        let before = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap_or(0);
        let end = Duration::from_secs(before) + longest_end(&config, Duration::ZERO);
        let grace = Duration::from_secs(template["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap());
        assert!(grace > end, "{role:?}: {grace:?} is not more than {end:?}");
    }
    assert_eq!(roles, [Role::Serve, Role::Worker]);
}

#[tokio::test]
async fn probes_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", directory.path().join("aos.db").display());
    for (_, container) in containers() {
        let args = strings(&container["args"]);
        if role(&args).is_none() {
            continue;
        }
        let process = Process::start(&args, &[("DATABASE_URL", &database), ("PORT", "0")]);
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let asked = &container[probe]["httpGet"];
            assert_eq!(asked["port"], "http", "{args:?}: {probe}");
            process.api().get(asked["path"].as_str().unwrap()).await;
        }
    }
}

#[test]
fn selectors_find_their_pods() {
    let deployments = of_kind("Deployment");
    let labels = |name: &Value| {
        let deployment = deployments.iter().find(|deployment| deployment["metadata"]["name"] == *name);
        deployment.unwrap_or_else(|| panic!("no deployment {name}"))["spec"]["template"]["metadata"]["labels"].clone()
    };
    for deployment in &deployments {
        let (name, spec) = (&deployment["metadata"]["name"], &deployment["spec"]);
        assert_eq!(spec["selector"]["matchLabels"], labels(name), "{name}");
        let spread = &spec["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"];
        assert_eq!(*spread, labels(name), "{name}");
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0, "{name}");
    }
    for service in of_kind("Service") {
        let name = &service["metadata"]["name"];
        assert_eq!(
            (&service["spec"]["selector"], &service["spec"]["ports"][0]["targetPort"]),
            (&labels(name), &json!("http"))
        );
    }
    let budgets = of_kind("PodDisruptionBudget");
    assert_eq!(budgets.len(), deployments.len());
    for budget in budgets {
        let name = &budget["metadata"]["name"];
        assert_eq!(budget["spec"]["selector"]["matchLabels"], labels(name), "{name}");
        let replicas =
            deployments.iter().find(|d| d["metadata"]["name"] == *name).unwrap()["spec"]["replicas"].as_u64();
        let stay = budget["spec"]["minAvailable"].as_u64().unwrap_or(0);
        assert!(Some(stay) < replicas, "{name}: no node could ever be emptied");
    }
}
